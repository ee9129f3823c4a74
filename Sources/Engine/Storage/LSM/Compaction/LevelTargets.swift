// How large each level should be, and by how much it is too large. Sizes follow from the deepest level upward ("dynamic
// level bytes" of RocksDB), so that at most about a ninth of the space is old versions, however large the store is.

struct LevelTargets {
    /// The level that level 0 is compacted into.
    let base: Int
    /// Target bytes of each level; 0 above the base.
    let bytes: [UInt64]

    /// Each level is this much larger than the one above it.
    static let multiplier: UInt64 = 10

    init(_ version: Version, options: LSMOptions) {
        let last = Version.levelCount - 1
        var bytes = [UInt64](repeating: 0, count: Version.levelCount)
        let firstUsed = (1...last).first { !version.levels[$0].isEmpty }
        guard let firstUsed else {
            bytes[last] = options.levelBaseBytes
            self.bytes = bytes
            base = last
            return
        }
        var size = (1...last).map { version.bytes(of: $0) }.max() ?? 0
        for _ in firstUsed..<last { size /= Self.multiplier }
        var level = firstUsed
        while level > 1, size > options.levelBaseBytes {
            level -= 1
            size /= Self.multiplier
        }
        size = max(min(size, options.levelBaseBytes), options.levelBaseBytes / Self.multiplier + 1)
        base = level
        for level in base...last {
            bytes[level] = size
            size = size.multipliedReportingOverflow(by: Self.multiplier).partialValue
        }
        self.bytes = bytes
    }

    /// How urgent a compaction out of this level is; from 1 on it is due.
    func score(of level: Int, in version: Version, options: LSMOptions) -> Double {
        if level == 0 {
            let count = Double(version.levels[0].count) / Double(options.level0Trigger)
            return max(count, Double(version.bytes(of: 0)) / Double(options.levelBaseBytes))
        }
        guard level < Version.levelCount - 1, bytes[level] > 0 else { return 0 }
        return Double(version.bytes(of: level)) / Double(bytes[level])
    }

    /// Bytes that lie above where they belong.
    func debt(of version: Version) -> UInt64 {
        var debt = version.bytes(of: 0)
        for level in base..<Version.levelCount - 1 {
            let size = version.bytes(of: level)
            if size > bytes[level] { debt += size - bytes[level] }
        }
        return debt
    }
}
