// The set of tables that make up the store at one moment. Immutable: a flush or compaction makes a new one, readers
// keep theirs as long as they need it.

/// A table and the level it is put into: a move changes the level without touching the table.
struct PlacedTable: Sendable {
    let level: Int
    let table: Table
}

final class Version: Sendable {
    /// Levels of the tree; level 0 overlaps, the others are sorted runs.
    static let levelCount = 7

    /// Level 0 newest first, deeper levels by smallest key.
    let levels: [[Table]]
    private let sizes: [UInt64]
    /// Bytes of all indexes and filters.
    let pinnedBytes: Int
    /// Of the tables that have any.
    let rangeDeletes: [RangeTombstones]

    init(levels: [[Table]]) {
        self.levels = levels
        rangeDeletes = levels.flatMap { $0.compactMap { $0.rangeDeletes } }
        pinnedBytes = levels.reduce(0) { $0 + $1.reduce(0) { $0 + $1.pinnedBytes } }
        sizes = levels.map { tables in tables.reduce(0) { $0 + $1.metadata.fileSize } }
    }

    /// Bytes of the tables of one level.
    func bytes(of level: Int) -> UInt64 { sizes[level] }

    static let empty = Version(levels: Array(repeating: [], count: levelCount))

    /// The sorted runs: each table of level 0, each deeper level as a whole.
    var runs: [[Table]] {
        levels[0].map { [$0] } + levels[1...].filter { !$0.isEmpty }
    }

    var tableCount: Int { levels.reduce(0) { $0 + $1.count } }

    /// This version with tables added and removed by number.
    func applying(adding added: [PlacedTable], removing removed: [UInt64]) -> Version {
        var levels = levels.map { tables in tables.filter { !removed.contains($0.metadata.number) } }
        for placed in added { levels[placed.level].append(placed.table) }
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
        for table in levels[0] where table.metadata.covers(key) {
            let found = try table.find(key, hash: hash, sequence: sequence)
            if case .absent = found { continue }
            return found
        }
        for tables in levels[1...] where !tables.isEmpty {
            let number = tables.partitioningIndex { !$0.metadata.lies(before: key) }
            guard number < tables.count, tables[number].metadata.covers(key) else { continue }
            let found = try tables[number].find(key, hash: hash, sequence: sequence)
            if case .absent = found { continue }
            return found
        }
        return .absent
    }
}
