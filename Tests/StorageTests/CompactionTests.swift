// Compaction, snapshots and iterators against plain maps: whatever is rewritten, moved or dropped underneath, every
// moment that somebody holds reads as it was.
import FileIO
import SimulatedIO
import Synchronization
import Testing

@testable import Storage

@Suite struct CompactionTests {
    /// So small that every level is used.
    static func options(_ change: (inout LSMOptions) -> Void = { _ in }) -> LSMOptions {
        LSMStoreTests.options { options in
            options.memtableBytes = 16 << 10
            options.memoryBudgetBytes = 64 << 10
            options.levelBaseBytes = 24 << 10
            options.tableBytes = 4 << 10
            // Some tables get an index in parts, some don't.
            options.indexBytes = 500
            options.level0Trigger = 2
            options.level0Slow = 6
            options.level0Stop = 12
            change(&options)
        }
    }

    /// A history with everything in it, checked against maps all the way.
    struct History {
        var random: SplitMix
        var store: LSMStore
        var model = Model()
        var held: [(Snapshot, Model)] = []
        var index: UInt64
        let note: String

        init(seed: UInt64, store: LSMStore) {
            random = SplitMix(seed)
            self.store = store
            index = store.applied.index
            note = "seed \(seed)"
        }

        mutating func write() throws {
            var batch = WriteBatch()
            for _ in 0..<1 + random.below(30) {
                if random.below(40) == 0 {
                    let start = random.below(300)
                    try batch.deleteRange(from: paddedKey(start), to: paddedKey(start + random.below(60)))
                } else if random.below(5) == 0 {
                    try batch.delete(key: paddedKey(random.below(300)))
                } else {
                    try batch.put(
                        key: random.below(10) == 0 ? random.key() : paddedKey(random.below(300)), value: random.value())
                }
            }
            index += 1
            _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
            model.apply(batch)
        }

        mutating func maintain(_ limit: Int) throws {
            for _ in 0..<limit where try !store.performMaintenance() { return }
        }

        mutating func step() throws {
            try write()
            switch random.below(12) {
            case 0: try store.flush()
            case 1, 2, 3: try maintain(1 + random.below(8))
            case 4: held.append((store.snapshot(), model))
            case 5 where !held.isEmpty: held.remove(at: random.below(held.count))
            case 6: if random.below(8) == 0 { try store.compact(from: paddedKey(random.below(300)), to: nil) }
            case 7, 8: try check(model, nil)
            case 9 where !held.isEmpty:
                let (snapshot, model) = held[random.below(held.count)]
                try check(model, snapshot)
            default: break
            }
        }

        mutating func check(_ model: Model, _ snapshot: Snapshot?) throws {
            let key = paddedKey(random.below(300))
            let found = try snapshot.map { try store.get(key, at: $0) } ?? store.get(key)
            #expect(found == model.values[key], "\(note), entry \(index)")
            #expect(try store.multiGet([key, [9]], at: snapshot) == [model.values[key], model.values[[9]]])
            let bounds: (from: [UInt8], to: [UInt8]?) =
                random.below(2) == 0 ? ([], nil) : (random.key(), random.below(2) == 0 ? nil : random.key())
            let expected = model.scan(from: bounds.from, to: bounds.to, limit: .max)
            try walk(expected, IteratorOptions(lower: bounds.from, upper: bounds.to, snapshot: snapshot))
        }

        /// A random walk over an iterator beside the same walk over a sorted array.
        private mutating func walk(_ expected: [KeyValue], _ options: IteratorOptions) throws {
            var entries = store.makeIterator(options)
            var place = 0
            try entries.seekToFirst()
            for _ in 0..<60 {
                let isValid = expected.indices.contains(place)
                try #require(entries.isValid == isValid, "\(note), entry \(index), place \(place)")
                if isValid {
                    try #require([UInt8](entries.key) == expected[place].key, "\(note), entry \(index)")
                    try #require([UInt8](entries.value) == expected[place].value, "\(note), entry \(index)")
                }
                switch isValid ? random.below(8) : 7 {
                case 0...3:
                    try entries.next()
                    place += 1
                case 4, 5:
                    try entries.previous()
                    place -= 1
                case 6:
                    try entries.seekToLast()
                    place = expected.count - 1
                default:
                    let key = paddedKey(random.below(300))
                    if random.below(2) == 0 {
                        try entries.seek(key)
                        place = expected.partitioningIndex { !$0.key.lexicographicallyPrecedes(key) }
                    } else {
                        try entries.seekBefore(key)
                        place = expected.partitioningIndex { !$0.key.lexicographicallyPrecedes(key) } - 1
                    }
                }
            }
        }

        /// The shape that readers and compactions rely on.
        func checkShape() throws {
            let version = store.currentView().version
            for tables in version.levels[1...] {
                for (one, next) in zip(tables, tables.dropFirst()) {
                    let isBefore = next.metadata.smallest.withUnsafeBytes { one.metadata.lies(before: $0) }
                    #expect(isBefore, "\(note)")
                }
            }
        }
    }

    @Test(arguments: 1...2 as ClosedRange<UInt64>) func agreesWithAMap(seed: UInt64) throws {
        let system = SimulatedFileSystem(seed: seed)
        var history = History(seed: seed, store: try LSMStoreTests.open(system, Self.options()))
        for step in 0..<150 {
            try history.step()
            if step % 50 == 49 {
                try history.checkShape()
                try history.store.flush()
                history.held = []
                history.store.close()
                history.store = try LSMStoreTests.open(system, Self.options())
                try LSMStoreTests.checkAll(history.store, history.model, "seed \(seed), step \(step), reopened")
            }
        }
        history.held = []
        try history.store.compact()
        try history.checkShape()
        try LSMStoreTests.checkAll(history.store, history.model, "seed \(seed), compacted")
        let version = history.store.currentView().version
        #expect(version.levels.dropLast().allSatisfy { $0.isEmpty })
        #expect(version.levels.last?.allSatisfy { $0.metadata.deletes == 0 && $0.rangeDeletes == nil } ?? false)
        #expect(try history.store.verify().entries == UInt64(history.model.values.count), "nothing dead is left")
        let files = try system.files(in: LSMStoreTests.folder, suffix: ".sst")
        #expect(files.count == version.tableCount, "no file is left behind")
    }

    /// Who sends files to another node has the disk for itself, until level 0 is twice as full as it need be.
    @Test func whatIsPutOffWaitsAndIsNotForgotten() throws {
        let store = try LSMStoreTests.open(SimulatedFileSystem(seed: 1), Self.options())
        var index: UInt64 = 0
        func addTable() throws -> Int {
            for number in 0..<20 {
                var batch = WriteBatch()
                try batch.put(key: paddedKey(number), value: bytes("v"))
                index += 1
                _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
            }
            try store.flush()
            while try store.performMaintenance() {}
            return store.currentView().version.levels[0].count
        }
        store.putOffCompaction(true)
        #expect(try (0..<3).map { _ in try addTable() } == [1, 2, 3], "2 make a compaction due")
        #expect(try addTable() < 2, "4 make it urgent")
        #expect(try (0..<2).map { _ in try addTable() }.last == 2)
        store.putOffCompaction(false)
        while try store.performMaintenance() {}
        #expect(store.currentView().version.levels[0].isEmpty)
    }

    /// The same history in other shapes gives the same answers.
    /// Sequences go where nobody can ask for them, and stay where a snapshot can.
    @Test func whatEverybodySeesHasNoSequence() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try LSMStoreTests.open(system, Self.options())
        var index: UInt64 = 0
        func write(_ range: Range<Int>, _ text: String) throws {
            for number in range {
                var batch = WriteBatch()
                try batch.put(key: paddedKey(number), value: bytes(text))
                index += 1
                _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
            }
        }
        func sequences() throws -> [UInt64] {
            var found: [UInt64] = []
            for table in store.currentView().version.levels.flatMap({ $0 }) {
                for block in 0..<table.blockCount {
                    try StorageInspection.forEachEntry(of: table, block: block) { _, sequence, _, _ in
                        found.append(sequence)
                    }
                }
            }
            return found
        }
        try write(0..<100, "old")
        try store.flush()
        let snapshot = store.snapshot()
        try write(50..<150, "new")
        try store.flush()
        // Two tables that meet, so that they are merged and not moved.
        try store.compact()
        #expect(try sequences().count { $0 == 0 } == 100, "what the snapshot sees is what all see")
        #expect(try sequences().filter { $0 > 0 } == Array(101...200))
        try #expect(store.get(paddedKey(70), at: snapshot) == bytes("old") && store.get(paddedKey(70)) == bytes("new"))
        #expect(try store.get(paddedKey(120), at: snapshot) == nil)
        withExtendedLifetime(snapshot) {}
    }

    @Test func settledEntriesAreOlderThanWhatComesLater() throws {
        let system = SimulatedFileSystem(seed: 1)
        var store = try LSMStoreTests.open(system, Self.options())
        var model = Model()
        for round in 0..<6 {
            for step in 0..<10 {
                var batch = WriteBatch()
                for number in 0..<20 {
                    try batch.put(key: paddedKey(number * (round + 1)), value: bytes("\(round) \(step)"))
                }
                if step == round { try batch.deleteRange(from: paddedKey(round * 3), to: paddedKey(round * 9)) }
                if step == 9 { try batch.delete(key: paddedKey(round + 1)) }
                model.apply(batch)
                _ = try store.apply(batch, at: LogPosition(index: UInt64(round * 10 + step + 1), term: 1))
                if step % 3 == round % 3 { try store.flush() }
            }
            try LSMStoreTests.checkAll(store, model, "round \(round), before")
            if round % 2 == 0 { try store.compact() } else { while try store.performMaintenance() {} }
            try LSMStoreTests.checkAll(store, model, "round \(round), after")
            try store.flush()
            store.close()
            store = try LSMStoreTests.open(system, Self.options())
            try LSMStoreTests.checkAll(store, model, "round \(round), opened again")
        }
    }

    @Test func shapeNeverShows() throws {
        var hashes: Set<UInt64> = []
        for (memtable, base, table, trigger) in [
            (16 << 10, 24 << 10, 4 << 10, 2), (16 << 10, 8 << 10, 1 << 10, 1), (64 << 10, 1 << 20, 64 << 10, 3),
            (1 << 20, 256 << 20, 64 << 20, 4),
        ] {
            var random = SplitMix(11)
            let store = try LSMStoreTests.open(
                SimulatedFileSystem(seed: 1),
                Self.options {
                    $0.memtableBytes = memtable
                    $0.levelBaseBytes = UInt64(base)
                    $0.tableBytes = UInt64(table)
                    $0.level0Trigger = trigger
                    if trigger == 1 { $0.indexBytes = 0 }
                })
            for index in 1...300 {
                var batch = WriteBatch()
                for _ in 0..<10 {
                    try batch.put(key: paddedKey(random.below(500)), value: random.value())
                    try batch.delete(key: paddedKey(random.below(500)))
                }
                _ = try store.apply(batch, at: LogPosition(index: UInt64(index), term: 1))
                if index % 7 == 0 { _ = try store.performMaintenance() }
            }
            hashes.insert(try store.stateHash())
        }
        #expect(hashes.count == 1)
    }

    @Test func writersAreSlowedBeforeTheyAreStopped() throws {
        let store = try LSMStoreTests.open(SimulatedFileSystem(seed: 1), Self.options())
        var delays: [UInt64] = []
        var index: UInt64 = 0
        while !store.needsBackpressure {
            index += 1
            var batch = WriteBatch()
            try batch.put(key: paddedKey(Int(index) % 50), value: [UInt8](repeating: 1, count: 500))
            _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
            // Flushed but never compacted.
            if index % 10 == 0 { try store.flush() }
            delays.append(store.writeDelayNanoseconds(bytes: 1000))
            try #require(index < 10_000)
        }
        #expect(delays.first == 0 && delays == delays.sorted() && Set(delays).count > 4)
        #expect(delays.last ?? 0 <= 1000 * 512, "at least 2 MB/s")
        for _ in 0..<10_000 where try !store.performMaintenance() { break }
        #expect(!store.needsBackpressure && store.writeDelayNanoseconds(bytes: 1000) == 0)
    }

    @Test func keysInOrderAreMovedNotRewritten() throws {
        let store = try LSMStoreTests.open(SimulatedFileSystem(seed: 1), Self.options())
        for index in 1...400 {
            var batch = WriteBatch()
            try batch.put(key: paddedKey(index), value: [UInt8](repeating: 1, count: 300))
            _ = try store.apply(batch, at: LogPosition(index: UInt64(index), term: 1))
            for _ in 0..<100 where try !store.performMaintenance() { break }
        }
        try store.flush()
        for _ in 0..<100 where try !store.performMaintenance() { break }
        #expect(store.maintenance.withLock { $0.compactedBytes } == 0)
        #expect(store.currentView().version.levels[0].count < 2)
        for index in 1...400 { #expect(try store.get(paddedKey(index)) != nil) }
    }

    @Test func prefixesEndWhereTheyShould() throws {
        let store = try LSMStoreTests.open(SimulatedFileSystem(seed: 1), Self.options())
        var batch = WriteBatch()
        for key in [[1], [1, 255], [1, 255, 0], [1, 255, 255, 7], [2], [255], [255, 255], [255, 255, 3]] as [[UInt8]] {
            try batch.put(key: key, value: key)
        }
        _ = try store.apply(batch, at: LogPosition(index: 1, term: 1))
        for (prefix, count) in [([1], 4), ([1, 255], 3), ([255], 3), ([255, 255], 2), ([], 8), ([3], 0)]
            as [([UInt8], Int)]
        {
            var entries = store.makeIterator(IteratorOptions(prefix: prefix))
            var forward = 0
            try entries.seekToFirst()
            while entries.isValid, forward < 20 {
                forward += 1
                try entries.next()
            }
            var back = 0
            try entries.seekToLast()
            while entries.isValid, back < 20 {
                back += 1
                try entries.previous()
            }
            #expect(forward == count && back == count, "prefix \(prefix)")
        }
    }
}
