// The store as its owner sees it: against a plain map, through flushes and reopenings, with the log replayed from where
// the store says it must be.
import FileIO
import Memory
import SimulatedIO
import TestSupport
import Testing

@testable import Storage

@Suite struct LSMStoreTests {
    static let folder = "data/kv"

    static func options(_ change: (inout LSMOptions) -> Void = { _ in }) -> LSMOptions {
        var options = LSMOptions()
        options.memtableBytes = 32 << 10
        options.blockBytes = 256
        // Leaves the cache some 30 KB, so that blocks come and go.
        options.memoryBudgetBytes = 128 << 10
        options.allocator = .system
        change(&options)
        return options
    }

    static func open(
        _ system: any FileSystem, _ options: LSMOptions = options(), at folder: String = folder
    ) throws -> LSMStore {
        try LSMStore.open(directory: folder, fileSystem: system, options: options)
    }

    static func randomBatch(_ random: inout SplitMix) throws -> WriteBatch {
        var batch = WriteBatch()
        for _ in 0..<random.below(6) {
            if random.below(4) == 0 {
                try batch.delete(key: random.key())
            } else {
                try batch.put(key: random.key(), value: random.value())
            }
        }
        return batch
    }

    static func check(_ store: LSMStore, _ model: Model, _ random: inout SplitMix, _ note: String) throws {
        for _ in 0..<30 {
            let key = random.key()
            #expect(try store.get(key) == model.values[key], "\(note), key \(key)")
        }
        let from = random.key()
        let to = random.below(2) == 0 ? random.key() : nil
        let limit = random.below(20)
        #expect(
            same(try store.scan(from: from, to: to, limit: limit), model.scan(from: from, to: to, limit: limit)),
            "\(note), scan \(from) to \(String(describing: to))")
    }

    static func checkAll(_ store: LSMStore, _ model: Model, _ note: String) throws {
        let all = try store.scan(from: [], to: nil, limit: .max)
        #expect(same(all, model.scan(from: [], to: nil, limit: .max)), "\(note)")
        for (key, value) in all { #expect(try store.get(key) == value, "\(note)") }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func agreesWithAMap(seed: UInt64) throws {
        var random = SplitMix(seed)
        let system = SimulatedFileSystem(seed: 1)
        var store = try Self.open(system)
        var model = Model()
        var log: [WriteBatch] = []
        var operations: UInt64 = 0
        for step in 0..<250 {
            let batch = try Self.randomBatch(&random)
            log.append(batch)
            let position = LogPosition(index: UInt64(log.count), term: 3)
            #expect(try store.apply(batch, at: position) == operations + 1, "seed \(seed)")
            operations += UInt64(batch.count)
            model.apply(batch)
            #expect(store.applied == position && store.lastSequence == operations)
            switch random.below(40) {
            case 0: try store.flush()
            case 1, 2, 3: _ = try store.performMaintenance()
            case 4:
                store.close()
                store = try Self.open(system)
                let start = Int(store.flushed.index)
                for (offset, batch) in log[start...].enumerated() {
                    _ = try store.apply(batch, at: LogPosition(index: UInt64(start + offset + 1), term: 3))
                }
                #expect(store.lastSequence == operations, "seed \(seed), step \(step)")
            default: break
            }
            if step % 25 == 0 { try Self.check(store, model, &random, "seed \(seed), step \(step)") }
        }
        try store.flush()
        #expect(store.flushed == store.applied)
        try Self.checkAll(store, model, "seed \(seed)")
        let hash = try store.stateHash()
        store.close()
        let reopened = try Self.open(system)
        try Self.checkAll(reopened, model, "seed \(seed), reopened")
        #expect(try reopened.stateHash() == hash && reopened.lastSequence == operations)
    }

    /// The same history under other options, allocators and flush points gives the same answers.
    @Test func layoutNeverShows() throws {
        var hashes: Set<UInt64> = []
        let variants: [(LSMOptions, Int)] = [
            (Self.options(), 7), (Self.options { $0.blockBytes = 64 }, 50),
            (Self.options { $0.blockBytes = 1 << 16 }, 1000),
            (
                Self.options {
                    $0.allocator = .arena; $0.memtableBytes = 1 << 20
                }, 11
            ),
            (
                Self.options {
                    $0.allocator = .jemalloc; $0.bloomBitsPerKey = 1; $0.seed = 9
                }, 3
            ),
        ]
        for (options, flushEvery) in variants {
            var random = SplitMix(42)
            let store = try Self.open(SimulatedFileSystem(seed: 1), options)
            for index in 1...150 {
                _ = try store.apply(Self.randomBatch(&random), at: LogPosition(index: UInt64(index), term: 1))
                if index % flushEvery == 0 { try store.flush() }
            }
            hashes.insert(try store.stateHash())
        }
        #expect(hashes.count == 1)
    }

    @Test func refusesEntriesThatWereApplied() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try Self.open(system)
        var batch = WriteBatch()
        try batch.put(key: bytes("a"), value: bytes("1"))
        _ = try store.apply(batch, at: LogPosition(index: 5, term: 1))
        #expect(throws: StorageError.staleEntry(index: 5, applied: 5)) {
            try store.apply(batch, at: LogPosition(index: 5, term: 1))
        }
        try store.flush()
        store.close()
        let reopened = try Self.open(system)
        #expect(reopened.applied == LogPosition(index: 5, term: 1) && reopened.flushed == reopened.applied)
        #expect(throws: StorageError.staleEntry(index: 4, applied: 5)) {
            try reopened.apply(batch, at: LogPosition(index: 4, term: 1))
        }
    }

    @Test func entriesWithoutOperationsMoveThePosition() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try Self.open(system)
        #expect(try store.apply(WriteBatch(), at: LogPosition(index: 1, term: 1)) == 1)
        try store.flush()
        #expect(store.flushed.index == 1 && store.tableCount == 0)
        store.close()
        #expect(try Self.open(system).flushed == LogPosition(index: 1, term: 1))
    }

    @Test func saysWhenMemoryFillsFasterThanItIsWritten() throws {
        let store = try Self.open(SimulatedFileSystem(seed: 1))
        var index: UInt64 = 0
        while !store.needsBackpressure {
            index += 1
            var batch = WriteBatch()
            try batch.put(key: paddedKey(Int(index)), value: [UInt8](repeating: 1, count: 1000))
            _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
            try #require(index < 1000)
        }
        while try store.performMaintenance() {}
        #expect(!store.needsBackpressure && store.tableCount == LSMOptions().sealedMemtablesMax)
        #expect(store.flushed.index > 0 && store.flushed.index < store.applied.index)
        for number in 1...Int(index) { #expect(try store.get(paddedKey(number)) != nil) }
    }

    @Test func packedStoresHoldTheSame() throws {
        var hashes: [UInt64] = []
        var sizes: [UInt64] = []
        for compression in BlockCompression.allCases {
            let system = SimulatedFileSystem(seed: 1)
            let options = Self.options {
                $0.compression = compression
                $0.blockBytes = 1024
            }
            let store = try Self.open(system, options)
            var random = SplitMix(7)
            for index in 1...400 {
                var batch = WriteBatch()
                let key = paddedKey(random.below(150))
                try batch.put(key: key, value: bytes(String(repeating: "abc\(index) ", count: 10 + random.below(40))))
                if index % 9 == 0 { try batch.delete(key: paddedKey(random.below(150))) }
                _ = try store.apply(batch, at: LogPosition(index: UInt64(index), term: 1))
                if index % 50 == 0 { while try store.performMaintenance() {} }
            }
            try store.flush()
            try store.compact()
            hashes.append(try store.stateHash())
            sizes.append(store.currentView().version.levels.joined().reduce(0) { $0 + $1.metadata.fileSize })
            store.close()
            // Another position of the switch reads what is there.
            let again = try Self.open(system)
            hashes.append(try again.stateHash())
            again.close()
        }
        #expect(Set(hashes).count == 1)
        #expect(sizes[1] < sizes[0] / 2 && sizes[2] < sizes[0] / 2, "\(sizes)")
    }

    @Test func takesABatchLargerThanAMemtable() throws {
        let store = try Self.open(SimulatedFileSystem(seed: 1))
        var batch = WriteBatch()
        try batch.put(key: bytes("big"), value: [UInt8](repeating: 3, count: 1 << 20))
        _ = try store.apply(batch, at: LogPosition(index: 1, term: 1))
        #expect(try store.get(bytes("big"))?.count == 1 << 20)
        try store.flush()
        #expect(try store.get(bytes("big"))?.count == 1 << 20)
    }

    @Test func oneProcessAtATime() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try Self.open(system)
        #expect(throws: StorageError.self) { try Self.open(system) }
        store.close()
        #expect(throws: StorageError.self) { try store.flush() }
        #expect(throws: StorageError.self) { try store.apply(WriteBatch(), at: LogPosition(index: 9, term: 1)) }
        _ = try Self.open(system)
    }

    /// One thread applies, one maintains, two read: readers see whole batches, in order.
    @Test func readersSeeWholeBatches() throws {
        let store = try Self.open(SimulatedFileSystem(seed: 1), Self.options { $0.memtableBytes = 16 << 10 })
        let rounds: UInt64 = 1500
        let failures = Failures()
        let reader: @Sendable () -> Void = {
            var last = 0
            while store.applied.index < rounds, failures.all.isEmpty {
                failures.check("read") {
                    let floor = Int(store.applied.index)
                    let pair = try store.scan(from: bytes("left"), to: nil, limit: 2)
                    guard pair.count == 2 else { return floor == 0 }
                    let value = try store.get(bytes("right")) ?? []
                    let seen = Int(String(decoding: value, as: UTF8.self)) ?? 0
                    defer { last = seen }
                    return pair[0].value == pair[1].value && seen >= last && seen >= floor
                }
            }
        }
        let writer: @Sendable () -> Void = {
            for round in 1...rounds {
                failures.check("apply") {
                    var batch = WriteBatch()
                    try batch.put(key: bytes("left"), value: bytes("\(round)"))
                    try batch.put(key: paddedKey(Int(round % 97)), value: [UInt8](repeating: 1, count: 50))
                    try batch.put(key: bytes("right"), value: bytes("\(round)"))
                    return try store.apply(batch, at: LogPosition(index: round, term: 1)) == round * 3 - 2
                }
            }
        }
        let maintainer: @Sendable () -> Void = {
            while store.applied.index < rounds, failures.all.isEmpty {
                failures.check("maintain") {
                    _ = try store.performMaintenance()
                    return true
                }
            }
        }
        runThreads([reader, reader, maintainer, writer])
        #expect(failures.all == [])
    }

    @Test func livesOnARealDisk() throws {
        let system = RealDisk.fileSystem
        let folder = TemporaryFolder.make()
        defer { try? system.removeTree(folder) }
        var random = SplitMix(5)
        var model = Model()
        let store = try Self.open(system, at: folder)
        for index in 1...200 {
            let batch = try Self.randomBatch(&random)
            model.apply(batch)
            _ = try store.apply(batch, at: LogPosition(index: UInt64(index), term: 1))
            if index % 60 == 0 { try store.flush() }
        }
        try store.flush()
        store.close()
        try Self.checkAll(try Self.open(system, at: folder), model, "posix")
    }
}
