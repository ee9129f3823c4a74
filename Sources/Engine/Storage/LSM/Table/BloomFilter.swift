// Says which keys are certainly not in a table. All bits of a key lie in one 64-byte line, so that a look costs one
// cache miss ("Cache-, Hash- and Space-Efficient Bloom Filters", Putze, Sanders, Singler, 2007). It must never say no
// to a key that was added.

/// The layout and arithmetic shared by builder and reader: `lines * 64 bytes | u32 lines | u8 probes | 3 zero bytes`.
enum BloomFilter {
    static let lineBytes = 64
    static let tailBytes = 8
    static let probesMax = 16

    /// Best number of probes: bits per key times ln 2, lowered for the crowding of single lines.
    static func probes(bitsPerKey: Int) -> Int {
        min(max(bitsPerKey * 6 / 10, 1), probesMax)
    }

    @inline(__always)  // shared by the two loops below, both hot
    static func line(_ hash: UInt64, lines: UInt32) -> Int {
        Int(((hash &>> 32) &* UInt64(lines)) &>> 32)
    }

    /// Builds the filter block for these key hashes.
    static func build(_ hashes: KeyHashes, bitsPerKey: Int) -> [UInt8] {
        let lines = UInt32(max(1, (hashes.count * bitsPerKey + lineBytes * 8 - 1) / (lineBytes * 8)))
        let probes = probes(bitsPerKey: bitsPerKey)
        var output = [UInt8](repeating: 0, count: Int(lines) * lineBytes)
        output.withUnsafeMutableBytes { bytes in
            for piece in hashes.pieces {
                for hash in piece {
                    let start = line(hash, lines: lines) &* lineBytes
                    var probe = UInt32(truncatingIfNeeded: hash)
                    for _ in 0..<probes {
                        probe = probe &* 0x9e37_79b9
                        let bit = Int(probe &>> 23)
                        bytes[start &+ bit &>> 3] |= 1 &<< UInt8(bit & 7)
                    }
                }
            }
        }
        output.append(littleEndian: lines)
        output.append(UInt8(probes))
        output.append(contentsOf: [0, 0, 0])
        return output
    }
}

/// A checked, unowned view of a filter block.
struct BloomFilterView {
    private let bytes: UnsafeRawPointer
    private let lines: UInt32
    private let probes: Int

    /// Nil when the tail contradicts the size.
    init?(_ buffer: UnsafeRawBufferPointer) {
        guard buffer.count > BloomFilter.tailBytes, let bytes = buffer.baseAddress else { return nil }
        let tail = buffer.count - BloomFilter.tailBytes
        lines = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: tail, as: UInt32.self))
        probes = Int(buffer[tail + 4])
        self.bytes = bytes
        guard lines > 0, Int(lines) * BloomFilter.lineBytes == tail, 1...BloomFilter.probesMax ~= probes else {
            return nil
        }
    }

    /// False: the key was never added. True: it probably was.
    func mayContain(_ hash: UInt64) -> Bool {
        let start = bytes + BloomFilter.line(hash, lines: lines) &* BloomFilter.lineBytes
        var probe = UInt32(truncatingIfNeeded: hash)
        for _ in 0..<probes {
            probe = probe &* 0x9e37_79b9
            let bit = Int(probe &>> 23)
            if start.load(fromByteOffset: bit &>> 3, as: UInt8.self) & 1 &<< UInt8(bit & 7) == 0 { return false }
        }
        return true
    }
}
