// Pieces of some kilobytes, as a block cache holds by the thousand, from the allocator that was chosen. Each carries in
// front of it who it came from, so that whoever frees it need not know. It must never hand a piece out twice, and never
// take one allocator's memory for another's.
internal import CEngine
internal import CJemalloc
internal import Synchronization

/// A piece of memory that knows its allocator. Any thread may free what another allocated.
public enum MemoryPiece {
    /// Alignment of everything handed out.
    public static let alignment = 64
    /// Stands in front of each piece.
    private static let headerBytes = 64
    private static let heldOffset = 0
    private static let kindOffset = 8

    /// Hands out at least `bytes` bytes of undefined content.
    /// - Throws: ``MemoryError`` when there are none.
    public static func allocate(bytes: Int, from kind: AllocatorKind) throws(MemoryError) -> UnsafeMutableRawPointer {
        let wanted = bytes + headerBytes
        let base: UnsafeMutableRawPointer?
        let held: Int
        switch kind {
        case .arena:
            held = PieceClasses.heldBytes(wanted)
            base = try PieceClasses.take(held)
        case .jemalloc:
            held = nallocx(wanted, PageSource.jemallocPieceFlags)
            base = held == 0 ? nil : mallocx(wanted, PageSource.jemallocPieceFlags)
            MemoryCounters.shared.add(.jemalloc, .block, live: 0, mapped: held)
        case .system:
            // glibc's own header, and what aligning costs in the mean.
            held = (wanted + 16 + alignment / 2 + 15) & ~15
            base = __libc_memalign(alignment, wanted)
            MemoryCounters.shared.add(.system, .block, live: 0, mapped: held)
        }
        guard let base else { throw MemoryError(bytes: bytes, allocator: kind) }
        MemoryCounters.shared.add(kind, .block, live: held, mapped: 0)
        base.storeBytes(of: held, toByteOffset: heldOffset, as: Int.self)
        base.storeBytes(of: number(kind), toByteOffset: kindOffset, as: Int.self)
        return base + headerBytes
    }

    /// Takes back what ``allocate(bytes:from:)`` gave.
    public static func free(_ piece: UnsafeMutableRawPointer) {
        let base = piece - headerBytes
        let held = heldBytes(piece)
        let kind = allocator(of: piece)
        MemoryCounters.shared.add(kind, .block, live: -held, mapped: kind == .arena ? 0 : -held)
        switch kind {
        case .arena: PieceClasses.give(base, held)
        case .jemalloc: dallocx(base, PageSource.jemallocPieceFlags)
        case .system: __libc_free(base)
        }
    }

    /// What a piece takes of its allocator, rounding and header included.
    public static func heldBytes(_ piece: UnsafeRawPointer) -> Int {
        (piece - headerBytes).load(fromByteOffset: heldOffset, as: Int.self)
    }

    public static func allocator(of piece: UnsafeRawPointer) -> AllocatorKind {
        switch (piece - headerBytes).load(fromByteOffset: kindOffset, as: Int.self) {
        case number(.arena): .arena
        case number(.jemalloc): .jemalloc
        case number(.system): .system
        case let other: preconditionFailure("memory that no allocator handed out was taken for a piece: \(other)")
        }
    }

    /// Words that other memory hardly holds, so that a wrong pointer is noticed.
    private static func number(_ kind: AllocatorKind) -> Int {
        switch kind {
        case .arena: 0x5354_5241_4d45_4d01
        case .jemalloc: 0x5354_5241_4d45_4d02
        case .system: 0x5354_5241_4d45_4d03
        }
    }
}

/// The arena's pieces: slabs of huge pages cut into sizes 64 bytes apart, and a list of free pieces for each size. A
/// slab is never given back, as its pieces are soon used again; what is larger than the largest size is a mapping of
/// its own.
private enum PieceClasses {
    private static let step = 64
    private static let pieceBytesMax = 32 << 10

    private struct State: @unchecked Sendable {
        // @unchecked: touched only with the lock held.
        /// First free piece of each size; its first word names the next one.
        var free = [UnsafeMutableRawPointer?](repeating: nil, count: pieceBytesMax / step + 1)
        var slab: UnsafeMutableRawPointer?
        var slabLeft = 0
    }

    private static let state = Mutex(State())

    static func heldBytes(_ wanted: Int) -> Int {
        wanted > pieceBytesMax ? PageSource.mappedBytes(wanted) : (wanted + step - 1) / step * step
    }

    static func take(_ held: Int) throws(MemoryError) -> UnsafeMutableRawPointer? {
        if held > pieceBytesMax {
            guard let mapped = PageSource.map(bytes: held) else { return nil }
            MemoryCounters.shared.add(.arena, .block, live: 0, mapped: held)
            return mapped
        }
        return state.withLock { state -> UInt? in
            let place = held / step
            if let piece = state.free[place] {
                state.free[place] = piece.load(as: UnsafeMutableRawPointer?.self)
                return UInt(bitPattern: piece)
            }
            if state.slabLeft < held {
                // The rest serves as pieces of its own size.
                if let slab = state.slab, state.slabLeft >= step { push(slab, state.slabLeft, &state) }
                guard let slab = PageSource.map(bytes: PageSource.hugePageBytes) else { return nil }
                MemoryCounters.shared.add(.arena, .block, live: 0, mapped: PageSource.hugePageBytes)
                state.slab = slab
                state.slabLeft = PageSource.hugePageBytes
            }
            guard let slab = state.slab else { return nil }
            state.slab = slab + held
            state.slabLeft -= held
            return UInt(bitPattern: slab)
        }.flatMap { UnsafeMutableRawPointer(bitPattern: $0) }
    }

    static func give(_ base: UnsafeMutableRawPointer, _ held: Int) {
        if held > pieceBytesMax {
            MemoryCounters.shared.add(.arena, .block, live: 0, mapped: -held)
            return PageSource.unmap(base, bytes: held)
        }
        // The address crosses into the lock as a number: a pointer may not.
        let address = UInt(bitPattern: base)
        state.withLock { state in
            guard let base = UnsafeMutableRawPointer(bitPattern: address) else { return }
            push(base, held, &state)
        }
    }

    private static func push(_ base: UnsafeMutableRawPointer, _ held: Int, _ state: inout State) {
        base.storeBytes(of: state.free[held / step], as: UnsafeMutableRawPointer?.self)
        state.free[held / step] = base
    }
}
