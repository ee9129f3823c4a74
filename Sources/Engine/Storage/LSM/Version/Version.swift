// The set of tables that make up the store at one moment. Immutable: a flush or compaction makes a new one, readers keep
// theirs as long as they need it.

final class Version: Sendable {
    /// Levels of the tree; level 0 overlaps, the others are sorted runs.
    static let levelCount = 7

    /// Level 0 newest first, deeper levels by smallest key.
    let levels: [[Table]]

    init(levels: [[Table]]) {
        self.levels = levels
    }

    static let empty = Version(levels: Array(repeating: [], count: levelCount))

    var tableCount: Int { levels.reduce(0) { $0 + $1.count } }

    /// This version with tables added and removed by number.
    func applying(adding added: [Table], removing removed: [UInt64]) -> Version {
        var levels = levels.map { tables in tables.filter { !removed.contains($0.metadata.number) } }
        for table in added { levels[table.metadata.level].append(table) }
        levels[0].sort { $0.metadata.number > $1.metadata.number }
        for level in 1..<Self.levelCount {
            levels[level].sort { one, other in
                one.metadata.smallest.withUnsafeBytes { one in
                    other.metadata.smallest.withUnsafeBytes { compare(one, $0) }
                } < 0
            }
        }
        return Version(levels: levels)
    }

    /// The newest version of `key` not newer than `sequence`: level by level, newest first.
    func find(
        _ key: UnsafeRawBufferPointer, hash: UInt64, sequence: UInt64
    ) throws(StorageError) -> Lookup {
        for tables in levels {
            for table in tables where table.metadata.covers(key) {
                let found = try table.find(key, hash: hash, sequence: sequence)
                if case .absent = found { continue }
                return found
            }
        }
        return .absent
    }
}
