// Little-endian integers and LEB128 varints into byte arrays: the writing half of every format of this module.

extension [UInt8] {
    mutating func append<Integer: FixedWidthInteger>(littleEndian value: Integer) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    /// LEB128: seven bits a byte, low bits first.
    mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// A byte string with its length as a varint in front.
    mutating func append(lengthPrefixed bytes: UnsafeRawBufferPointer) {
        append(varint: UInt64(bytes.count))
        append(contentsOf: bytes)
    }

    mutating func append(lengthPrefixed bytes: [UInt8]) {
        append(varint: UInt64(bytes.count))
        append(contentsOf: bytes)
    }

    /// Overwrites an integer in place.
    mutating func store<Integer: FixedWidthInteger>(littleEndian value: Integer, at position: Int) {
        precondition(position >= 0 && position + MemoryLayout<Integer>.size <= count, "store outside the array")
        withUnsafeMutableBytes { $0.storeBytes(of: value.littleEndian, toByteOffset: position, as: Integer.self) }
    }
}
