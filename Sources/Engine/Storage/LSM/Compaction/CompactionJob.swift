// One compaction under way: merges its tables into new ones, a bounded piece at a time, so that a flush never waits for
// more than one piece. Nothing it writes counts before the whole of it is published; until then all of it is garbage
// that recovery removes. One thread at a time, the one that holds the maintenance lock.
internal import FileIO

struct CompactionJob: ~Copyable, @unchecked Sendable {
    // @unchecked: lives inside the maintenance mutex and is touched only there.
    let plan: CompactionPlan
    private let space: TableSpace
    private var merge: RunMerge
    private var rule: GarbageRule
    private var deeper: DeeperLevels
    private var cuts: OutputCuts
    private let deletes: SurvivingDeletes
    private let hasDeletes: Bool
    /// No level below the output holds anything, and no range delete goes by the sequences of what is merged.
    private let isBottom: Bool
    /// Where the output that comes next begins; nil: at the least key.
    private var outputStart: [UInt8]?
    private var builder: TableBuilder?
    private var builderFile: (any File)?
    private var builderNumber: UInt64 = 0
    private(set) var outputs: [Table] = []
    /// Numbers of all files begun, finished or not.
    private(set) var files: [UInt64] = []

    /// Input bytes of one step: some tens of milliseconds.
    static let stepBytes = 4 << 20

    init(_ plan: CompactionPlan, version: Version, snapshots: [UInt64], space: TableSpace) throws(StorageError) {
        self.plan = plan
        self.space = space
        let below = plan.outputLevel + 1
        var runs = plan.level == 0 ? plan.inputs.map { [$0] } : [plan.inputs]
        if !plan.overlapping.isEmpty { runs.append(plan.overlapping) }
        merge = RunMerge(memtables: [], tables: runs, keepsBlocks: false)
        let stripes = SnapshotStripes(snapshots)
        rule = GarbageRule(stripes)
        let deepest = Array(version.levels[below...])
        deeper = DeeperLevels(deepest)
        deletes = SurvivingDeletes((plan.inputs + plan.overlapping).compactMap { $0.rangeDeletes }, stripes) {
            start, end in
            deepest.allSatisfy { $0.allSatisfy { !$0.metadata.overlaps(from: start, to: end) } }
        }
        hasDeletes = !deletes.isEmpty
        isBottom = !hasDeletes && deepest.allSatisfy { $0.isEmpty }
        cuts = OutputCuts(
            grandparents: below < Version.levelCount ? version.levels[below] : [], target: space.options.tableBytes)
        try merge.seekToFirst()
    }

    /// Merges about ``stepBytes`` more.
    /// - Parameter number: gives a fresh file number.
    /// - Returns: true when everything is written and synced, names included.
    mutating func step(_ number: () -> UInt64) throws(StorageError) -> Bool {
        var bytes = 0
        while merge.isValid, bytes < Self.stepBytes {
            let key = merge.key
            let value = merge.value
            bytes += key.count + value.count
            let trailer = merge.trailer
            if !(hasDeletes && deletes.cover(key, sequence: trailer >> 8)),
                rule.keeps(key, trailer: trailer, isBottom: { deeper.lack($0) })
            {
                // What everybody sees and nothing lies below needs no sequence: equal trailers take no bytes in a
                // block.
                let isSettled = isBottom && rule.isSeenByAll(trailer >> 8)
                try add(key, isSettled ? trailer & 0xff : trailer, value, number)
            }
            try merge.advance()
        }
        if merge.isValid { return false }
        try addLastDeletes(number)
        try finishOutput(before: nil)
        try disk { () throws(FileIOError) in try space.fileSystem.syncDirectory(space.directory) }
        return true
    }

    private mutating func add(
        _ key: UnsafeRawBufferPointer, _ trailer: UInt64, _ value: UnsafeRawBufferPointer, _ number: () -> UInt64
    ) throws(StorageError) {
        if let size = builder?.bytesWritten, builder?.startsNewKey(key) == true, cuts.cut(before: key, size: size) {
            try finishOutput(before: [UInt8](key))
        }
        if builderFile == nil {
            builderNumber = number()
            files.append(builderNumber)
            cuts.begin(at: key)
            let file = try space.create(builderNumber)
            builderFile = file
            builder = space.builder(file, builderNumber)
        }
        try builder?.add(key: key, trailer: trailer, value: value)
    }

    /// Range deletes that outlive all entries get one entry to live with: the delete of their first key.
    private mutating func addLastDeletes(_ number: () -> UInt64) throws(StorageError) {
        guard builderFile == nil, let first = deletes.output(from: outputStart, to: nil).first else { return }
        try first.start.withRawBytes { (key) throws(StorageError) in
            let trailer = first.sequence << 8 | UInt64(OperationKind.delete.rawValue)
            try add(key, trailer, UnsafeRawBufferPointer(start: nil, count: 0), number)
        }
    }

    private mutating func finishOutput(before next: [UInt8]?) throws(StorageError) {
        builder?.add(rangeDeletes: deletes.output(from: outputStart, to: next))
        outputStart = next
        guard let file = builderFile, let summary = try builder?.finish() else { return }
        let metadata = TableMetadata(number: builderNumber, level: plan.outputLevel, summary: summary)
        outputs.append(try Table(file, metadata: metadata, store: space.store, cache: space.cache))
        builder = nil
        builderFile = nil
    }

    /// Removes what was written. Recovery does it too, so failures change nothing.
    func abandon() {
        for number in files { try? space.fileSystem.remove(space.path(number)) }
    }
}

/// Where new tables go.
struct TableSpace: Sendable {
    let directory: String
    let fileSystem: any FileSystem
    let options: LSMOptions
    /// The store's own number.
    let store: UInt64
    let cache: BlockCache

    func path(_ number: UInt64) -> String { directory + "/" + StoreFile.table(number).name }

    func create(_ number: UInt64) throws(StorageError) -> any File {
        try disk { () throws(FileIOError) in try fileSystem.open(path(number), .create) }
    }

    func builder(_ file: any File, _ number: UInt64) -> TableBuilder {
        TableBuilder(
            file: file, identity: TableIdentity(store: store, number: number),
            options: TableOptions(
                blockBytes: options.blockBytes, bloomBitsPerKey: options.bloomBitsPerKey,
                compression: options.compression, indexBytes: options.indexBytes))
    }
}

/// The levels below a compaction's output, for keys that come in order.
private struct DeeperLevels {
    private let levels: [[Table]]
    /// The first table of each level that does not lie wholly in front of the last key.
    private var positions: [Int]

    init(_ levels: [[Table]]) {
        self.levels = levels.filter { !$0.isEmpty }
        positions = [Int](repeating: 0, count: self.levels.count)
    }

    /// True when none of them can hold `key`.
    mutating func lack(_ key: UnsafeRawBufferPointer) -> Bool {
        for number in levels.indices {
            let tables = levels[number]
            while positions[number] < tables.count, tables[positions[number]].metadata.lies(before: key) {
                positions[number] += 1
            }
            if positions[number] < tables.count, tables[positions[number]].metadata.covers(key) { return false }
        }
        return true
    }
}

/// Where to end an output table: at its target size, or earlier where a table of the next level ends, so that a later
/// compaction of it overlaps fewer tables there.
private struct OutputCuts {
    private let grandparents: [Table]
    private let target: UInt64
    private var position = 0
    /// Tables of the next level that ended within this output.
    private var crossed: UInt64 = 0

    init(grandparents: [Table], target: UInt64) {
        self.grandparents = grandparents
        self.target = target
    }

    mutating func begin(at key: UnsafeRawBufferPointer) {
        _ = pass(key)
        crossed = 0
    }

    private mutating func pass(_ key: UnsafeRawBufferPointer) -> Bool {
        let before = position
        while position < grandparents.count, grandparents[position].metadata.lies(before: key) { position += 1 }
        crossed += UInt64(position - before)
        return position > before
    }

    mutating func cut(before key: UnsafeRawBufferPointer, size: UInt64) -> Bool {
        let atBoundary = pass(key)
        if size >= target { return true }
        // RocksDB's rule: the more boundaries were passed over already, the fuller a table has to be to end at this
        // one.
        return atBoundary && size > target * (50 + 5 * min(crossed, 8)) / 100
    }
}
