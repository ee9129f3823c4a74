// Allocators and arenas: what they hand out is disjoint, aligned, writable, and ends where it was said to end.
import Testing

@testable import Memory

@Suite struct ArenaTests {
    @Test(arguments: AllocatorKind.allCases) func pagesAreAlignedAndWritable(kind: AllocatorKind) throws {
        let source = try PageSource(kind)
        for bytes in [1, 4096, 4097, 1 << 20, 2 << 20, 3 << 20 | 1] {
            let address = try source.allocate(bytes: bytes)
            #expect(Int(bitPattern: address) % PageSource.alignment == 0)
            address.initializeMemory(as: UInt8.self, repeating: 0xa5, count: bytes)
            #expect(address.load(fromByteOffset: bytes - 1, as: UInt8.self) == 0xa5)
            source.release(address, bytes: bytes)
        }
    }

    @Test func hugePiecesStartOnAHugePage() throws {
        let source = try PageSource(.arena)
        let address = try source.allocate(bytes: 5 << 20)
        #expect(Int(bitPattern: address) % PageSource.hugePageBytes == 0)
        source.release(address, bytes: 5 << 20)
    }

    @Test(arguments: AllocatorKind.allCases) func piecesAreDisjointAndEndAtTheCapacity(kind: AllocatorKind) throws {
        let arena = try Arena(capacity: 64 << 10, source: PageSource(kind))
        var end: UInt32 = 0
        var pieces = 0
        while true {
            let bytes = pieces * 37 % 200
            let offset = arena.allocate(bytes: bytes)
            if offset == 0 { break }
            #expect(offset >= end)
            arena.address(of: offset).initializeMemory(as: UInt8.self, repeating: 1, count: bytes)
            end = offset + UInt32((bytes + 7) / 8)
            pieces += 1
        }
        #expect(pieces > 500)
        #expect(arena.usedBytes + arena.freeBytes == 64 << 10)
        arena.reset()
        #expect(arena.allocate(bytes: 8) != 0)
    }

    @Test func anImpossibleRequestIsAnError() throws {
        let source = try PageSource(.arena)
        #expect(throws: MemoryError.self) { try source.allocate(bytes: 1 << 50) }
        let arena = try Arena(capacity: 4096, source: source)
        #expect(arena.allocate(bytes: .max) == 0)
    }
}
