// Pieces of kilobytes: disjoint, aligned, given back to whom they came from, used again, and counted.
import Testing

@testable import Memory

/// Counters belong to the process, so these tests run one after the other.
@Suite(.serialized) struct MemoryPieceTests {
    @Test(arguments: AllocatorKind.allCases) func piecesAreDisjointAndKeepTheirContent(kind: AllocatorKind) throws {
        _ = try PageSource(kind)
        let before = MemoryCounters.shared.read(kind, .block)
        var pieces: [(address: UnsafeMutableRawPointer, bytes: Int)] = []
        for number in 0..<600 {
            // Every seventh is larger than a slab's pieces; some are freed in between.
            let bytes = number % 7 == 6 ? 40_000 + number * 100 : 1 + number * 37 % 9000
            let address = try MemoryPiece.allocate(bytes: bytes, from: kind)
            #expect(Int(bitPattern: address) % MemoryPiece.alignment == 0)
            #expect(MemoryPiece.heldBytes(address) >= bytes && MemoryPiece.allocator(of: address) == kind)
            address.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: number), count: bytes)
            pieces.append((address, bytes))
            if number % 3 == 2 {
                let gone = pieces.remove(at: number * 31 % pieces.count)
                MemoryPiece.free(gone.address)
            }
        }
        let live = pieces.reduce(0) { $0 + MemoryPiece.heldBytes($1.address) }
        #expect(MemoryCounters.shared.read(kind, .block).live - before.live == live)
        for piece in pieces {
            let first = piece.address.load(as: UInt8.self)
            let isWhole = UnsafeRawBufferPointer(start: piece.address, count: piece.bytes).allSatisfy { $0 == first }
            #expect(isWhole)
            MemoryPiece.free(piece.address)
        }
        #expect(MemoryCounters.shared.read(kind, .block).live == before.live)
        #expect(MemoryStatistics.all.contains { $0.allocator == kind && $0.use == .block })
    }

    @Test func anArenaPieceIsUsedAgain() throws {
        let mapped = MemoryCounters.shared.read(.arena, .block).mapped
        for _ in 0..<2000 {
            let piece = try MemoryPiece.allocate(bytes: 4104, from: .arena)
            MemoryPiece.free(piece)
        }
        #expect(MemoryCounters.shared.read(.arena, .block).mapped - mapped <= PageSource.hugePageBytes)
        // A piece that fits its size well: a block of 4 KiB with its trailer costs 3 % more than itself.
        let piece = try MemoryPiece.allocate(bytes: 4104, from: .arena)
        #expect(MemoryPiece.heldBytes(piece) <= 4224)
        MemoryPiece.free(piece)
    }

    @Test(arguments: AllocatorKind.allCases) func pagesAreCountedByUse(kind: AllocatorKind) throws {
        let source = try PageSource(kind).serving(.memtableIndex)
        let before = MemoryCounters.shared.read(kind, .memtableIndex)
        let address = try source.allocate(bytes: 3 << 20 | 1)
        let during = MemoryCounters.shared.read(kind, .memtableIndex)
        #expect(during.live - before.live == 3 << 20 | 1)
        #expect(during.mapped - before.mapped >= 3 << 20 | 1)
        source.release(address, bytes: 3 << 20 | 1)
        #expect(MemoryCounters.shared.read(kind, .memtableIndex) == before)
    }

    @Test func mallocIsReadable() throws {
        let malloc = try #require(MallocStatistics.read())
        #expect(malloc.allocatedBytes > 0 && malloc.mappedBytes >= malloc.allocatedBytes)
    }
}
