// The command line of `LoadGen storage`: db_bench's option names, with dashes or underscores, flags also as
// `--sync=true`. Everything is checked here, before a file is touched.
import ArgumentParser
import Foundation
import LabKit
import Memory
import Storage
import UringIO

struct StorageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "storage", abstract: "Measures the storage engine in this process, on the real disk.",
        discussion: """
            Verbs, run in the order given: \(StorageVerb.allCases.map(\.rawValue).joined(separator: " ")). Names, keys, \
            values and report lines are those of RocksDB's db_bench; options are taken with underscores too.
            """)

    @Argument(help: "What to run, one verb after the other.")
    var verbs: [StorageVerb]

    @Option(help: "Keys: the range of random keys, and the operations of each thread.")
    var num = 1_000_000

    @Option(help: "Reads of each thread (default: --num).")
    var reads: Int?

    @Option(help: "Writes of each thread (default: --num).")
    var writes: Int?

    @Option(help: "Bytes of a key: an 8-byte big-endian number, then '0' up to this size.")
    var keySize = 16

    @Option(help: "Bytes of a value, half of them compressible.")
    var valueSize = 100

    @Option(help: "Operations of one write batch.")
    var batchSize = 1

    @Option(help: "Threads that do the verb; readwhilewriting adds one that writes.")
    var threads = 1

    @Option(help: "Steps after each seek of seekrandom.")
    var seekNexts = 0

    @Option(help: "Bits of the Bloom filter for each key.")
    var bloomBits = 10

    @Option(help: "Bytes of a data block.")
    var blockSize = 4096

    @Option(help: "Bytes of a memtable.")
    var writeBufferSize = 64 << 20

    @Option(help: "Memtables in memory, the one being filled included.")
    var maxWriteBufferNumber = 3

    @Flag(help: "Keep a hash index beside each memtable.")
    var memtableHashIndex = false

    @Option(help: "Bytes of the block cache, indexes and filters included (default: what the engine's budget leaves).")
    var cacheSize: Int?

    @Option(help: "Bytes that memtables, cache, indexes and filters take together, in place of --cache-size.")
    var memoryBudget: Int?

    @Option(help: "Seconds of mixed (default: --writes operations of each thread).")
    var duration: Double?

    @Option(help: "Operations per second of mixed, all threads together (default: as fast as it goes).")
    var rate: Double?

    @Option(help: "Compression of blocks: none, lz4 or zstd.")
    var compression = "none"

    @Option(help: "Who does disk I/O: posix, uring or auto.", transform: SwitchWord.io)
    var io = IOBackendKind.posix

    @Option(help: "Where the store takes its memory: arena, jemalloc or system.", transform: SwitchWord.allocator)
    var allocator = AllocatorKind.arena

    @Option(help: "The storage engine: lsm or hashlog.", transform: SwitchWord.engine)
    var engine = StorageEngineKind.lsm

    @Option(help: "Seed of keys and choices.")
    var seed: UInt64 = 1

    @Option(help: "Folder of the store; kept after the run (default: one of its own, removed).")
    var db: String?

    @Flag(help: "Work on the store that --db holds.")
    var useExistingDb = false

    @Flag(help: "Make each write durable before the next.")
    var sync = false

    @Flag(help: "Write without a write-ahead log, as under a replicated log.")
    var disableWal = false

    @Flag(help: "Time every operation and print the distribution.")
    var histogram = false

    @Option(help: "Folder for results.")
    var results = "Results"

    @Option(help: "A word to find the run by.")
    var name: String?

    @Flag(help: "Write no result files.")
    var noWrite = false

    @Flag(help: "Run a debug build as it is; the run is marked invalid.")
    var debugOk = false

    private static let flagNames: Set<String> = [
        "use-existing-db", "sync", "disable-wal", "memtable-hash-index", "histogram", "no-write", "debug-ok",
    ]

    /// db_bench's spellings as this command's: underscores become dashes, `--compression_type` is `--compression`, and
    /// a flag may carry `=true`, `=1`, `=false` or `=0`. Other arguments stay as they are.
    /// - Parameter arguments: the command line without the program's name, beginning with `storage`.
    static func normalise(_ arguments: [String]) -> [String] {
        guard arguments.first == configuration.commandName else { return arguments }
        return arguments.compactMap { argument in
            guard argument.hasPrefix("-"), argument.count > 2 else { return argument }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            var name = String(parts[0].drop { $0 == "-" }.map { $0 == "_" ? "-" : $0 })
            if name == "compression-type" { name = "compression" }
            guard parts.count == 2 else { return "--" + name }
            let value = parts[1].lowercased()
            guard flagNames.contains(name) else { return "--" + name + "=" + parts[1] }
            if value == "true" || value == "1" { return "--" + name }
            return value == "false" || value == "0" ? nil : argument
        }
    }

    /// The checked plan.
    func plan() throws(LoadGenError) -> StoragePlan {
        try Self.check("num", num, 1...StoragePlan.operationsMax)
        try Self.check("reads", reads ?? num, 1...StoragePlan.operationsMax)
        try Self.check("writes", writes ?? num, 1...StoragePlan.operationsMax)
        try Self.check("key-size", keySize, StorageKeys.keyBytesMin...StoragePlan.keyBytesMax)
        try Self.check("value-size", valueSize, 0...StoragePlan.valueBytesMax)
        try Self.check("batch-size", batchSize, 1...StoragePlan.batchMax)
        try Self.check("threads", threads, 1...StoragePlan.threadsMax)
        try Self.check("seek-nexts", seekNexts, 0...StoragePlan.operationsMax)
        try Self.check("bloom-bits", bloomBits, 1...32)
        try Self.check("block-size", blockSize, 512...1 << 20)
        try Self.check("write-buffer-size", writeBufferSize, 1 << 20...4 << 30)
        try Self.check("max-write-buffer-number", maxWriteBufferNumber, 2...64)
        if let cacheSize { try Self.check("cache-size", cacheSize, 0...StoragePlan.cacheBytesMax) }
        if let memoryBudget {
            try Self.check(
                "memory-budget", memoryBudget, maxWriteBufferNumber * writeBufferSize...StoragePlan.cacheBytesMax)
            if cacheSize != nil { throw LoadGenError.usage("give --memory-budget or --cache-size, not both") }
        }
        if let duration, !(0.1...86_400).contains(duration) {
            throw LoadGenError.usage("--duration must be between 0.1 and 86400 seconds")
        }
        if let rate, !(1...1e9).contains(rate) { throw LoadGenError.usage("--rate must be between 1 and 1000000000") }
        if duration != nil || rate != nil, !verbs.contains(.mixed) {
            throw LoadGenError.usage("--duration and --rate are for mixed")
        }
        if verbs.isEmpty { throw LoadGenError.usage("name at least one verb, such as fillrandom") }
        if sync, disableWal {
            throw LoadGenError.usage("--sync needs the write-ahead log that --disable-wal leaves out: give one of them")
        }
        if useExistingDb, db == nil {
            throw LoadGenError.usage("--use-existing-db needs --db, the folder of the store")
        }
        let plan = StoragePlan(
            verbs: verbs, keys: num, reads: reads ?? num, writes: writes ?? num, keyBytes: keySize,
            valueBytes: valueSize, batch: batchSize, threads: threads, seekNexts: seekNexts, bloomBits: bloomBits,
            blockBytes: blockSize, memtableBytes: writeBufferSize, memtables: maxWriteBufferNumber,
            hasMemtableIndex: memtableHashIndex, cacheBytes: cacheSize, budgetBytes: memoryBudget, seconds: duration,
            rate: rate, compression: compression, io: io,
            allocator: allocator, engine: engine, seed: seed,
            usesExisting: useExistingDb, isSynced: sync,
            hasLog: !disableWal, isTimed: histogram)
        try StorageSubject.check(plan)
        return plan
    }

    private static func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(LoadGenError) {
        guard range.contains(value) else {
            throw LoadGenError.usage("--\(name) must be between \(range.lowerBound) and \(range.upperBound)")
        }
    }
}

/// What a run of `LoadGen storage` does. All bounds were checked.
struct StoragePlan: Sendable {
    var verbs: [StorageVerb]
    /// Distinct keys, and the range of random ones.
    var keys: Int
    /// Of each thread.
    var reads: Int
    /// Of each thread.
    var writes: Int
    var keyBytes: Int
    var valueBytes: Int
    /// Operations of one write batch.
    var batch: Int
    var threads: Int
    var seekNexts: Int
    var bloomBits: Int
    var blockBytes: Int
    var memtableBytes: Int
    var memtables: Int
    var hasMemtableIndex: Bool
    /// Nil: the engine's default.
    var cacheBytes: Int?
    /// Nil: the engine's default, or what follows from `cacheBytes`.
    var budgetBytes: Int?
    /// Of mixed; nil: as many operations as `writes`.
    var seconds: Double?
    /// Operations per second of mixed; nil: no limit.
    var rate: Double?
    var compression: String
    var io: IOBackendKind
    var allocator: AllocatorKind
    var engine: StorageEngineKind
    var seed: UInt64
    var usesExisting: Bool
    var isSynced: Bool
    var hasLog: Bool
    var isTimed: Bool

    static let operationsMax = 1 << 40
    static let keyBytesMax = 4096
    static let valueBytesMax = 512 << 10
    static let batchMax = 1 << 20
    static let threadsMax = 256
    static let cacheBytesMax = 1 << 40
}
