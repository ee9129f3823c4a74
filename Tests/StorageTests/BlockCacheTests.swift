// The block cache under several threads: what is pinned never changes, what is found is what was put in, and the budget
// holds.
import Memory
import SimulatedIO
import Synchronization
import Testing

@testable import Storage

@Suite struct BlockCacheTests {
    /// Memory whose every byte follows from its place, handed over to a cache or a pin.
    private static func block(_ table: UInt64, _ offset: UInt64, size: Int) -> UnsafeRawBufferPointer {
        guard let start = try? MemoryPiece.allocate(bytes: size, from: .arena) else {
            preconditionFailure("a test has memory for a block")
        }
        let memory = UnsafeMutableRawBufferPointer(start: start, count: size)
        memory.initializeMemory(as: UInt8.self, repeating: mark(table, offset))
        return UnsafeRawBufferPointer(memory)
    }

    private static func mark(_ table: UInt64, _ offset: UInt64) -> UInt8 {
        UInt8(truncatingIfNeeded: table &* 31 &+ offset &* 7)
    }

    private func has(_ cache: BlockCache, _ table: UInt64, _ offset: UInt64) -> Bool {
        guard let pin = cache.pin(table: table, offset: offset) else { return false }
        return !pin.bytes.isEmpty
    }

    @Test func findsWhatWasPutIn() {
        let cache = BlockCache(capacity: 1 << 20, blockBytes: 100)
        for number in 0..<50 as Range<UInt64> {
            #expect(!has(cache, number, 8))
            let pin = cache.insert(Self.block(number, 8, size: 100), table: number, offset: 8)
            let (count, isKnown) = (pin.bytes.count, pin.isKnown)
            #expect(count == 100 && !isKnown)
        }
        for number in 0..<50 as Range<UInt64> {
            guard let pin = cache.pin(table: number, offset: 8) else {
                Issue.record("block \(number) is gone")
                continue
            }
            let isRight = pin.bytes.allSatisfy { $0 == Self.mark(number, 8) } && pin.isKnown
            #expect(isRight)
        }
        #expect(!has(cache, 3, 9) && !has(cache, 51, 8))
    }

    @Test func theBudgetHolds() {
        let cache = BlockCache(capacity: 10_000, blockBytes: 100)
        for number in 0..<5000 as Range<UInt64> {
            let pin = cache.insert(Self.block(1, number, size: 50 + Int(number % 300)), table: 1, offset: number)
            let first = pin.bytes.first
            #expect(first == Self.mark(1, number))
            #expect(cache.usedBytes <= 10_000 + 500, "what is pinned comes on top")
        }
        #expect(cache.usedBytes > 5000)
        cache.setCapacity(0)
        let pin = cache.insert(Self.block(2, 2, size: 10), table: 2, offset: 2)
        let count = pin.bytes.count
        #expect(count == 10)
        #expect(!has(cache, 2, 2))
    }

    @Test func pinnedBlocksStay() throws {
        let cache = BlockCache(capacity: 4000, blockBytes: 100)
        let pin = cache.insert(Self.block(7, 7, size: 100), table: 7, offset: 7)
        for number in 0..<2000 as Range<UInt64> {
            _ = cache.insert(Self.block(1, number, size: 100), table: 1, offset: number)
        }
        let isRight = pin.bytes.allSatisfy { $0 == Self.mark(7, 7) }
        #expect(isRight)
        #expect(has(cache, 7, 7))
    }

    @Test func highBlocksOutstayOthers() {
        let cache = BlockCache(capacity: 8000, blockBytes: 100)
        for number in 0..<10 as Range<UInt64> {
            _ = cache.insert(Self.block(9, number, size: 100), table: 9, offset: number, isHigh: true)
        }
        for number in 0..<2000 as Range<UInt64> {
            _ = cache.insert(Self.block(1, number, size: 100), table: 1, offset: number)
            // Used now and then, as a part of an index is.
            if number % 8 == 0 { for high in 0..<10 as Range<UInt64> { _ = has(cache, 9, high) } }
        }
        #expect((0..<10).allSatisfy { has(cache, 9, $0) })
        // Unused they go like all others.
        for number in 2000..<6000 as Range<UInt64> {
            _ = cache.insert(Self.block(1, number, size: 100), table: 1, offset: number)
        }
        #expect(!(0..<10).contains { has(cache, 9, $0) })
    }

    @Test func threadsSeeOnlyWholeBlocks() {
        let cache = BlockCache(capacity: 8000, blockBytes: 100)
        let failures = Failures()
        let hits = Atomic<Int>(0)
        let bodies = (0..<4).map { thread in
            { @Sendable in
                var random = SplitMix(UInt64(thread))
                for _ in 0..<4000 {
                    let table = UInt64(random.below(4))
                    let offset = UInt64(random.below(40))
                    if let pin = cache.pin(table: table, offset: offset) {
                        hits.add(1, ordering: .relaxed)
                        let isRight = pin.bytes.allSatisfy { $0 == Self.mark(table, offset) }
                        failures.check(isRight, "a foreign block")
                    } else {
                        let size = 60 + random.below(80)
                        let pin = cache.insert(Self.block(table, offset, size: size), table: table, offset: offset)
                        let isRight = pin.bytes.allSatisfy { $0 == Self.mark(table, offset) }
                        failures.check(isRight, "a changed block")
                    }
                }
            }
        }
        runThreads(bodies)
        #expect(failures.all == [])
        #expect(hits.load(ordering: .relaxed) > 100 && cache.usedBytes <= 8000)
    }
}

@Suite struct MultiGetTests {
    /// Many keys at once give what single reads give: with room for all blocks, for few and for none, also with keys of
    /// memtables, deleted ones, absent ones and the same one twice.
    @Test(arguments: [0, 6 << 10, 8 << 20]) func givesWhatSingleReadsGive(cacheBytes: Int) throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            var random = SplitMix(seed)
            var options = LSMOptions()
            options.memtableBytes = 32 << 10
            options.memoryBudgetBytes = 3 * options.memtableBytes + cacheBytes
            options.blockBytes = 512
            options.allocator = .system
            let system = SimulatedFileSystem(seed: seed)
            let store = try LSMStore.open(directory: "data", fileSystem: system, options: options)
            for index in 1...900 as ClosedRange<UInt64> {
                var batch = WriteBatch()
                let key = paddedKey(random.below(600))
                if random.below(6) == 0 {
                    try batch.delete(key: key)
                } else {
                    try batch.put(key: key, value: random.value())
                }
                _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
                if index % 200 == 0 { try store.flush() }
            }
            let snapshot = store.snapshot()
            for count in [0, 1, 2, 127, 300] {
                let keys = (0..<count).map { _ in paddedKey(random.below(700)) }
                let single = try keys.map { key throws in try store.get(key) }
                #expect(try store.multiGet(keys) == single, "seed \(seed)")
                #expect(try store.multiGet(keys, at: snapshot) == single, "seed \(seed)")
            }
        }
    }

    /// A block that is damaged is an error of the read that needs it, and only of that.
    @Test func damageIsAnErrorOfTheKeyThatNeedsIt() throws {
        let system = SimulatedFileSystem(seed: 1)
        var options = LSMOptions()
        options.allocator = .system
        options.blockBytes = 512
        var store = try LSMStore.open(directory: "data", fileSystem: system, options: options)
        var batch = WriteBatch()
        for number in 0..<200 { try batch.put(key: paddedKey(number), value: [UInt8](repeating: 7, count: 50)) }
        _ = try store.apply(batch, at: LogPosition(index: 1, term: 1))
        try store.flush()
        store.close()
        let table = try #require(try system.files(in: "data").first { $0.hasSuffix(".sst") })
        try system.damage(table, at: 100, mask: 1)
        store = try LSMStore.open(directory: "data", fileSystem: system, options: options)
        #expect(throws: StorageError.self) { try store.multiGet([paddedKey(0), paddedKey(199)]) }
        #expect(try store.multiGet([paddedKey(198), paddedKey(199)]).allSatisfy { $0 != nil })
    }
}
