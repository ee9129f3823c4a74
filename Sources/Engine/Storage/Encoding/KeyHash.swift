// The hash of keys. Filters and block fingerprints on disk are made from it, so it must never change without a new
// table version; Docs/Formats/sstable.md defines it. It resists accidents, not adversaries: a collision only costs a
// read.

/// 64-bit hash of a byte string by folded 128-bit products, eight bytes a step.
@inline(__always)  // once per point read; the call would cost as much as the work
func keyHash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var state = 0x2d35_8dcc_aa6c_78a5 ^ (UInt64(truncatingIfNeeded: bytes.count) &* 0x9e37_79b9_7f4a_7c15)
    var position = 0
    while position &+ 8 <= bytes.count {
        let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
        state = fold(state ^ word, 0x8bb8_4b93_962e_acc9)
        position &+= 8
    }
    if position < bytes.count {
        var word: UInt64 = 0
        var shift: UInt64 = 0
        while position < bytes.count {
            word |= UInt64(bytes[position]) &<< shift
            shift &+= 8
            position &+= 1
        }
        state = fold(state ^ word, 0x4b33_a62e_d433_d4a3)
    }
    return fold(state ^ 0x4d5a_2da5_1de1_aa47, 0xa076_1d64_78bd_642f)
}

@inline(__always)
private func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
    let product = left.multipliedFullWidth(by: right)
    return product.high ^ product.low
}
