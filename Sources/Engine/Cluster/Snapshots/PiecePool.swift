// Memory of pieces on their way from a socket to a disk, used again: fresh memory for each would cost more than the
// copy that it saves. It comes in huge pages, so that a device is handed one run of memory and not one for every 4 KiB.
// It must never hand out what somebody still holds.
import Memory
import Synchronization

/// Slots for pieces. Any thread.
public final class PiecePool: Sendable {
    /// Bytes of a slot. What a member sends is as large or smaller (``SnapshotSettings/chunkBytes``), unless it was set
    /// up otherwise: a larger piece gets memory of its own.
    static let slotBytes = PageSource.hugePageBytes / 4
    /// Slots that are kept while nothing is received.
    static let keptMax = 8

    /// Memory for one piece; it goes when nobody holds it and no other of its slab.
    struct Slot: Sendable {
        fileprivate let slab: Slab
        fileprivate let start: Int
        fileprivate let count: Int

        /// As many bytes as were asked for.
        var memory: UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(start: slab.base + start, count: count)
        }
    }

    fileprivate final class Slab: @unchecked Sendable {
        // Unchecked: whoever holds a slot has its part of the memory to itself.
        let base: UnsafeMutableRawPointer
        private let byteCount: Int
        private static let source: PageSource = {
            // Not the allocator that was chosen for the engine: this needs the pages, and is counted as what it is.
            do {
                return try PageSource(.arena).serving(.snapshot)
            } catch {
                preconditionFailure("\(error)")
            }
        }()

        init(_ byteCount: Int) {
            self.byteCount = byteCount
            do {
                base = try Self.source.allocate(bytes: byteCount)
            } catch {
                preconditionFailure("\(error)")
            }
        }

        deinit { Self.source.release(base, bytes: byteCount) }
    }

    private let free = Mutex<[(slab: Slab, start: Int)]>([])

    public init() {}

    func take(_ count: Int) -> Slot {
        guard count <= Self.slotBytes else { return Slot(slab: Slab(count), start: 0, count: count) }
        return free.withLock { free in
            if free.isEmpty {
                let slab = Slab(PageSource.hugePageBytes)
                free = stride(from: 0, to: PageSource.hugePageBytes, by: Self.slotBytes).map { (slab, $0) }
            }
            let (slab, start) = free.removeLast()
            return Slot(slab: slab, start: start, count: count)
        }
    }

    func give(_ slot: Slot) {
        guard slot.count <= Self.slotBytes else { return }
        free.withLock { free in
            if free.count < Self.keptMax { free.append((slot.slab, slot.start)) }
        }
    }

    /// Slots that wait for the next piece.
    var keptCount: Int { free.withLock { $0.count } }
}
