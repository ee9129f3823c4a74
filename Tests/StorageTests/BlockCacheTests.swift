// The block cache under several threads: what is pinned never changes, what is found is what was put in, and the budget
// holds.
import Synchronization
import Testing

@testable import Storage

@Suite struct BlockCacheTests {
    /// Memory whose every byte follows from its place, handed over to a cache or a pin.
    private static func block(_ table: UInt64, _ offset: UInt64, size: Int) -> UnsafeRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
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
