// The memory of pieces: no two hold the same, what comes back is used again, and what is kept is bounded.
import FileIO
import Memory
import Testing

@testable import Cluster

@Suite struct PiecePoolTests {
    private static func range(_ slot: PiecePool.Slot) -> Range<UInt> {
        let start = UInt(bitPattern: slot.memory.baseAddress)
        return start..<start + UInt(slot.memory.count)
    }

    @Test func noTwoPiecesShareMemory() {
        let pool = PiecePool()
        let counts = [
            4096, 8192, PiecePool.slotBytes, PiecePool.slotBytes + 4096, 3 * PageSource.hugePageBytes, 4096, 4096, 4096,
        ]
        let slots = counts.map { pool.take($0) }
        #expect(slots.map(\.memory.count) == counts)
        for slot in slots {
            #expect(Self.range(slot).lowerBound % UInt(FileCaching.alignmentBytes) == 0)
            #expect(slots.filter { Self.range($0).overlaps(Self.range(slot)) }.count == 1)
        }
    }

    @Test func aPieceLiesInOneHugePage() {
        let pool = PiecePool()
        for slot in (0..<9).map({ _ in pool.take(PiecePool.slotBytes) }) {
            let range = Self.range(slot)
            let page = UInt(PageSource.hugePageBytes)
            #expect(range.lowerBound / page == (range.upperBound - 1) / page)
        }
    }

    /// A piece that fits no slot would meet fresh memory each time.
    @Test func whatMembersSendFits() {
        #expect(SnapshotSettings().chunkBytes <= PiecePool.slotBytes)
    }

    @Test func whatComesBackIsUsedAgain() {
        let pool = PiecePool()
        let first = pool.take(PiecePool.slotBytes)
        let place = Self.range(first).lowerBound
        pool.give(first)
        let second = pool.take(100)
        #expect(Self.range(second) == place..<place + 100)
    }

    @Test func noMoreIsKeptThanItsBound() {
        let pool = PiecePool()
        let many = (0..<4 * PiecePool.keptMax).map { _ in pool.take(4096) }
        let starts = Set(many.map { Self.range($0).lowerBound })
        for slot in many { pool.give(slot) }
        #expect(pool.keptCount == PiecePool.keptMax)
        let again = (0..<PiecePool.keptMax).map { _ in pool.take(4096) }
        #expect(Set(again.map { Self.range($0).lowerBound }).isSubset(of: starts))
        #expect(pool.keptCount == 0)
        pool.give(pool.take(PiecePool.slotBytes + 1))
        #expect(pool.keptCount == 0)
    }

    @Test func itIsCountedAsWhatItIs() {
        let pool = PiecePool()
        let slot = pool.take(4096)
        #expect(MemoryStatistics.all.contains { $0.use == .snapshot && $0.allocator == .arena })
        pool.give(slot)
    }
}
