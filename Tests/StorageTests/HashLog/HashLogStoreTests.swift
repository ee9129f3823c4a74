// The hash log as its owner sees it: against a plain map, through flushes, merges and reopenings, with the log replayed
// from where the store says it must be.
import FileIO
import Memory
import SimulatedIO
import TestSupport
import Testing

@testable import Storage

@Suite struct HashLogStoreTests {
    static let folder = "data/kv"

    static func options(_ change: (inout HashLogOptions) -> Void = { _ in }) -> HashLogOptions {
        var options = HashLogOptions()
        options.fileBytes = 4 << 10
        options.writeBufferBytes = 300
        options.mergeStepBytes = 500
        options.mergeDeadShare = 0.3
        options.allocator = .system
        change(&options)
        return options
    }

    static func open(
        _ system: any FileSystem, _ options: HashLogOptions = options(), at folder: String = folder
    ) throws -> HashLogStore {
        try HashLogStore.open(directory: folder, fileSystem: system, options: options)
    }

    static func randomBatch(_ random: inout SplitMix, withRanges: Bool = true) throws -> WriteBatch {
        var batch = WriteBatch()
        for _ in 0..<random.below(6) {
            switch random.below(24) {
            case 0...5: try batch.delete(key: random.key())
            case 6 where withRanges: try batch.deleteRange(from: random.key(), to: random.key())
            default: try batch.put(key: random.key(), value: random.value())
            }
        }
        return batch
    }

    static func checkAll(_ store: any KeyValueStore, _ model: Model, _ note: String) throws {
        let all = try store.scan(from: [], to: nil, limit: .max)
        #expect(same(all, model.scan(from: [], to: nil, limit: .max)), "\(note)")
        for (key, value) in all { #expect(try store.get(key) == value, "\(note)") }
    }

    /// Maintains until nothing is left to do.
    static func settle(_ store: any KeyValueStore) throws {
        var units = 0
        while try store.performMaintenance() {
            units += 1
            try #require(units < 100_000, "maintenance comes to an end")
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>, [false, true])
    func agreesWithAMap(seed: UInt64, withRanges: Bool) throws {
        var random = SplitMix(seed)
        let system = SimulatedFileSystem(seed: 1)
        var store = try Self.open(system)
        var model = Model()
        var log: [WriteBatch] = []
        var operations: UInt64 = 0
        for step in 0..<400 {
            let batch = try Self.randomBatch(&random, withRanges: withRanges)
            log.append(batch)
            let position = LogPosition(index: UInt64(log.count), term: 3)
            #expect(try store.apply(batch, at: position) == operations + 1, "seed \(seed)")
            operations += UInt64(batch.count)
            model.apply(batch)
            #expect(store.applied == position && store.lastSequence == operations)
            switch random.below(40) {
            case 0: try store.flush()
            case 1...8: _ = try store.performMaintenance()
            case 9:
                store.close()
                store = try Self.open(system)
                let flushed = Int(store.flushed.index)
                var past = Model()
                for batch in log[..<flushed] { past.apply(batch) }
                try Self.checkAll(store, past, "seed \(seed), step \(step), as flushed")
                for index in flushed + 1..<log.count + 1 {
                    _ = try store.apply(log[index - 1], at: LogPosition(index: UInt64(index), term: 3))
                }
                #expect(store.lastSequence == operations, "seed \(seed), step \(step)")
            case 10: try Self.settle(store)
            default: break
            }
            for _ in 0..<10 {
                let key = random.key()
                #expect(try store.get(key) == model.values[key], "seed \(seed), step \(step), key \(key)")
            }
            if step % 20 == 0 {
                let from = random.key()
                let to = random.below(2) == 0 ? random.key() : nil
                let limit = random.below(20)
                #expect(
                    same(
                        try store.scan(from: from, to: to, limit: limit), model.scan(from: from, to: to, limit: limit)),
                    "seed \(seed), step \(step)")
            }
            #expect(store.count == model.values.count, "seed \(seed), step \(step)")
        }
        try Self.checkAll(store, model, "seed \(seed), end")
        try store.flush()
        try Self.settle(store)
        // Deletes that may still hide something are not alive and not in the way either.
        #expect(withRanges || store.occupancy.deadShare < 0.6, "seed \(seed): \(store.occupancy)")
        try Self.checkAll(store, model, "seed \(seed), merged")
        store.close()
        let again = try Self.open(system)
        #expect(again.flushed.index == UInt64(log.count))
        try Self.checkAll(again, model, "seed \(seed), reopened")
    }

    @Test func hasTheSameHashAsTheTree() throws {
        var random = SplitMix(7)
        let system = SimulatedFileSystem(seed: 1)
        var options = StoreOptions()
        options.lsm.allocator = .system
        options.lsm.memtableBytes = 64 << 10
        options.hashLog = Self.options()
        let stores = try StorageEngineKind.allCases.map { kind in
            try openStore(kind: kind, directory: "data/\(kind)", fileSystem: system, options: options)
        }
        for index in 1...100 as ClosedRange<UInt64> {
            let batch = try Self.randomBatch(&random)
            for store in stores { _ = try store.apply(batch, at: LogPosition(index: index, term: 1)) }
        }
        try stores[1].flush()
        try Self.settle(stores[1])
        #expect(try stores[0].stateHash() == stores[1].stateHash())
        #expect(throws: StorageError.self) {
            try openStore(kind: .hashlog, directory: "data/lsm", fileSystem: system, options: options)
        }
        #expect(throws: StorageError.self) {
            try openStore(kind: .lsm, directory: "data/hashlog", fileSystem: system, options: options)
        }
        for store in stores { store.close() }
    }

    @Test func deletesAreForgottenOnceNothingOlderIsLeft() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try Self.open(system)
        var index: UInt64 = 0
        for round in 0..<2 {
            for number in 0..<200 {
                var batch = WriteBatch()
                if round == 0 {
                    try batch.put(key: paddedKey(number), value: [UInt8](repeating: 1, count: 50))
                } else {
                    try batch.delete(key: paddedKey(number))
                }
                index += 1
                _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
            }
        }
        try store.flush()
        try Self.settle(store)
        #expect(store.count == 0)
        // The file being appended to is not merged; all others held nothing.
        #expect(try system.files(in: Self.folder, suffix: ".data").count <= 2)
        store.close()
        #expect(try Self.open(system).scan(from: [], to: nil, limit: 10).isEmpty)
    }

    @Test func readsGoOnWhileOthersWriteAndMerge() throws {
        let folder = TemporaryFolder.make()
        let system = RealDisk.fileSystem
        defer { try? system.removeTree(folder) }
        let store = try Self.open(system, Self.options { $0.fileBytes = 16 << 10 }, at: folder + "/kv")
        let failures = Failures()
        // Each key's value begins with the key, so that a wrong record shows.
        @Sendable func value(_ number: Int, _ round: Int) -> [UInt8] { paddedKey(number) + paddedKey(round) }
        let rounds = 30
        runThreads([
            {
                failures.check("writing") {
                    for round in 0..<rounds {
                        var batch = WriteBatch()
                        for number in 0..<100 { try batch.put(key: paddedKey(number), value: value(number, round)) }
                        _ = try store.apply(batch, at: LogPosition(index: UInt64(round + 1), term: 1))
                    }
                    return true
                }
            },
            {
                failures.check("maintaining") {
                    for _ in 0..<300 { if try !store.performMaintenance() { try store.flush() } }
                    return true
                }
            },
            {
                for pass in 0..<40 {
                    for number in 0..<100 {
                        failures.check("pass \(pass), key \(number)") {
                            guard let found = try store.get(paddedKey(number)) else { return store.applied.index <= 1 }
                            return found.starts(with: paddedKey(number)) && found.count == 32
                        }
                    }
                }
            },
        ])
        #expect(failures.all.isEmpty, "\(failures.all.prefix(5))")
        for number in 0..<100 { #expect(try store.get(paddedKey(number)) == value(number, rounds - 1)) }
        store.close()
    }

    @Test func refusesWhatItCantTake() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try Self.open(system)
        var batch = WriteBatch()
        try batch.put(key: bytes("k"), value: bytes("v"))
        _ = try store.apply(batch, at: LogPosition(index: 5, term: 1))
        #expect(throws: StorageError.staleEntry(index: 5, applied: 5)) {
            try store.apply(batch, at: LogPosition(index: 5, term: 1))
        }
        #expect(throws: StorageError.self) { try Self.open(system) }
        store.close()
        #expect(throws: StorageError.self) { try store.apply(batch, at: LogPosition(index: 6, term: 1)) }
        #expect(throws: StorageError.self) { try store.flush() }
    }

    @Test func theIndexGrowsAndShrinksInPieces() throws {
        var index = try KeyIndex(source: PageSource(.system))
        var random = SplitMix(3)
        var model: [UInt64: UInt32] = [:]
        var order: [UInt64] = []
        for step in 0..<40_000 {
            if step % 3 == 2, !order.isEmpty {
                let hash = order.remove(at: random.below(order.count))
                var probe = index.probe(hash)
                let found = index.next(&probe)
                let slot = try #require(found)
                #expect(slot.pointee.offset == model[hash])
                index.remove(slot)
                model[hash] = nil
            } else {
                // Few low bits, so that probes collide.
                let hash = random.next() & 0xffff_ffff_ffff_ff00
                try index.reserve(1)
                index.insert(
                    KeySlot(
                        hash: hash, sequence: 1, file: 1, offset: UInt32(step), keyBytes: 1, valueBytes: 1))
                model[hash] = UInt32(step)
                order.append(hash)
            }
        }
        let count = index.count
        #expect(count == model.count)
        for hash in order {
            var probe = index.probe(hash)
            let found = index.next(&probe)?.pointee.offset
            #expect(found == model[hash])
        }
        let live = index.liveSlots().count
        #expect(live == model.count)
        let before = index.memoryBytes
        try index.reserve(100_000)
        let after = index.memoryBytes
        #expect(after > before)
    }
}
