// A hash over a stretch of the log, for comparing replicas: a group whose log is its data has no other state. It reads
// the frames as a follower's catch-up does, in bounded pieces, and needs no lock while it reads.

extension SegmentedLog {
    /// Bytes read at a time.
    private static let hashBytes = 1 << 20

    /// Hashes the checksums of the frames `index...through`, headers and payloads: equal on replicas that hold the same
    /// frames. 0 for an empty stretch. Blocks on the disk.
    ///
    /// - Parameter isCancelled: asked between two pieces; true ends the work with
    ///   ``SegmentedLogError/Code/outOfRange``.
    public func hash(
        from index: UInt64, through last: UInt64, unless isCancelled: () -> Bool = { false }
    ) throws(SegmentedLogError) -> UInt64 {
        var hash: UInt64 = 0
        var next = index
        while next <= last {
            if isCancelled() { throw SegmentedLogError(.outOfRange, "the hash was given up before entry \(next)") }
            let batch = try read(from: next, through: last, maxBytes: Self.hashBytes)
            guard !batch.isEmpty else {
                throw SegmentedLogError(.outOfRange, "entry \(next) is not in the log yet; ask for a smaller index")
            }
            for position in batch.positions {
                // The last 8 bytes of a header are the payload's checksum and its own.
                var checksums: UInt64 = 0
                for byte in batch.bytes[position + 40..<position + FrameHeader.byteCount].reversed() {
                    checksums = checksums << 8 | UInt64(byte)
                }
                hash = (hash &* 0x9e37_79b9_7f4a_7c15) ^ (checksums &* 0xa076_1d64_78bd_642f)
                hash ^= hash >> 29
            }
            next = batch.lastIndex + 1
        }
        return hash
    }
}
