// Data blocks that were read and checked, kept for the next reader. Set-associative with a clock in each set: a hit is
// one compare-and-swap, no lock, no list. It must never give a block's memory back while somebody reads it, and never
// hold more bytes than its budget, but for what readers pin at the moment.
internal import Glibc
internal import Memory
internal import Synchronization

final class BlockCache: @unchecked Sendable {
    // @unchecked: slots are raw memory; who may touch which field when is said at `Slot`.

    /// One place. A thread that moved `state` from 0 to `busy` owns the other fields until it stores `visible`; readers
    /// look at them only after they have counted themselves into `state`, and then see no change until they leave.
    struct Slot {
        static let bytes = 64
        static let state = 0
        static let table = 8
        static let offset = 16
        static let memory = 24
        static let count = 32
    }

    /// `state`: readers in the low 32 bits, the clock above them, then the flags, then the number of the slot's use.
    enum State {
        static let readers: UInt64 = 0xffff_ffff
        /// Rounds of the clock that the block still stays, in two bits.
        static let clock: UInt64 = 3 << 32
        static let clockStep: UInt64 = 1 << 32
        /// Each use winds the clock up by all rounds, not by one.
        static let high: UInt64 = 1 << 39
        static let visible: UInt64 = 1 << 40
        static let busy: UInt64 = 1 << 41
        static let use: UInt64 = 1 << 42
        /// What stays when a slot is given up, so that a late reader's exchange fails.
        static let useMask: UInt64 = ~(use - 1)
    }

    /// Who gives the blocks' memory.
    let allocator: AllocatorKind
    private let slots: UnsafeMutableRawPointer
    private let allocation: UnsafeMutableRawPointer
    private let setMask: Int
    private let capacity: Atomic<Int>
    private let used = Atomic<Int>(0)
    private let hand = Atomic<Int>(0)

    private static let ways = 8
    /// After so many rounds every clock has run down.
    private static let clockRounds = 3
    /// Bytes that a block of the usual size takes besides its own: slot, trailer, the memory's header and rounding.
    private static let overheadBytes = 192

    /// - Parameters:
    ///   - capacity: bytes of blocks and their slots; 0 keeps nothing.
    ///   - blockBytes: the usual size of a block, from which the number of slots follows.
    ///   - allocator: who gives the blocks' memory.
    init(capacity: Int, blockBytes: Int, allocator: AllocatorKind = .system) {
        self.allocator = allocator
        var sets = 1
        while sets * Self.ways * (blockBytes + Self.overheadBytes) < capacity * 3 / 2 { sets *= 2 }
        setMask = sets - 1
        let bytes = sets * Self.ways * Slot.bytes
        // Fresh pages are zeros already, and stay untouched until their slots are used.
        guard let slots = calloc(bytes + Slot.bytes, 1) else {
            preconditionFailure("there is no memory for a block cache of \(capacity) bytes; lower the memory budget")
        }
        allocation = slots
        self.slots = slots.alignedUp(toMultipleOf: Slot.bytes)
        self.capacity = Atomic(capacity)
    }

    deinit {
        for number in 0..<(setMask + 1) * Self.ways {
            let slot = slots + number * Slot.bytes
            if Self.field(slot, Slot.state).pointee.load(ordering: .relaxed) & State.visible != 0 {
                UnsafeRawBufferPointer(Self.memory(slot)).freeBlock()
            }
        }
        free(allocation)
    }

    var capacityBytes: Int { capacity.load(ordering: .relaxed) }

    var usedBytes: Int { used.load(ordering: .relaxed) }

    /// Changes the budget; blocks beyond it go as new ones come.
    func setCapacity(_ bytes: Int) { capacity.store(bytes, ordering: .relaxed) }

    /// Pins the block at this place, or nil when it is not here.
    /// - Complexity: O(1); at most 8 slots in 8 neighbouring cache lines.
    func pin(table: UInt64, offset: UInt64) -> BlockPin? {
        let set = self.set(table, offset)
        for way in 0..<Self.ways {
            let slot = set + way &* Slot.bytes
            // A racy look first: most slots hold other blocks.
            guard Self.field(slot, Slot.offset).pointee.load(ordering: .relaxed) == offset else { continue }
            var seen = Self.field(slot, Slot.state).pointee.load(ordering: .acquiring)
            while seen & State.visible != 0, Self.field(slot, Slot.table).pointee.load(ordering: .relaxed) == table,
                Self.field(slot, Slot.offset).pointee.load(ordering: .relaxed) == offset
            {
                // The exchange fails when the slot was reused in between: the use number is part of the word.
                let result = Self.field(slot, Slot.state).pointee.compareExchange(
                    expected: seen, desired: (seen | Self.wound(seen)) &+ 1, ordering: .acquiringAndReleasing)
                if result.exchanged {
                    return BlockPin(bytes: UnsafeRawBufferPointer(Self.memory(slot)), slot: slot, isKnown: true)
                }
                seen = result.original
            }
        }
        return nil
    }

    /// The clock after a use of a slot in this state.
    private static func wound(_ state: UInt64) -> UInt64 {
        state & State.high != 0 ? State.clock : State.clockStep
    }

    /// Takes over a block's memory and pins it; gives it back as an unshared pin when there is no room.
    /// - Parameter isHigh: the block serves many others, as a part of an index does, and stays longer than they do.
    func insert(
        _ bytes: UnsafeRawBufferPointer, table: UInt64, offset: UInt64, isHigh: Bool = false
    ) -> BlockPin {
        let total = bytes.blockHeldBytes + Slot.bytes
        guard total <= capacity.load(ordering: .relaxed), let slot = claim(in: set(table, offset)) else {
            return BlockPin(owning: bytes)
        }
        used.add(total, ordering: .relaxed)
        Self.field(slot, Slot.table).pointee.store(table, ordering: .relaxed)
        Self.field(slot, Slot.offset).pointee.store(offset, ordering: .relaxed)
        slot.storeBytes(of: UInt(bitPattern: bytes.baseAddress), toByteOffset: Slot.memory, as: UInt.self)
        slot.storeBytes(of: bytes.count, toByteOffset: Slot.count, as: Int.self)
        let use = Self.field(slot, Slot.state).pointee.load(ordering: .relaxed) & State.useMask
        let priority = isHigh ? State.high | State.clock : 0
        Self.field(slot, Slot.state).pointee.store(use | State.visible | priority | 1, ordering: .releasing)
        shrink()
        return BlockPin(bytes: bytes, slot: slot, isKnown: false)
    }

    /// A slot of the set, emptied and marked busy, or nil when all are pinned.
    private func claim(in set: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        // First an empty slot, then rounds that wind the clocks down and take whatever stands still.
        for round in 0...Self.clockRounds + 1 {
            for way in 0..<Self.ways {
                let slot = set + way &* Slot.bytes
                let seen = Self.field(slot, Slot.state).pointee.load(ordering: .acquiring)
                if seen & (State.visible | State.busy) == 0 {
                    let busy = (seen & State.useMask) &+ State.use | State.busy
                    if Self.exchange(slot, seen, busy) { return slot }
                } else if round > 0, evict(slot, leaving: State.busy) {
                    return slot
                }
            }
        }
        return nil
    }

    /// Frees blocks until the budget holds, walking over all sets like the hand of a clock.
    private func shrink() {
        var steps = (Self.clockRounds + 1) * (setMask + 1) * Self.ways
        while used.load(ordering: .relaxed) > capacity.load(ordering: .relaxed), steps > 0 {
            let place = hand.add(1, ordering: .relaxed).oldValue & ((setMask + 1) &* Self.ways &- 1)
            _ = evict(slots + place &* Slot.bytes, leaving: 0)
            steps -= 1
        }
    }

    /// Frees an unpinned block on which the clock has run down; winds it down by one otherwise.
    private func evict(_ slot: UnsafeMutableRawPointer, leaving flag: UInt64) -> Bool {
        let seen = Self.field(slot, Slot.state).pointee.load(ordering: .acquiring)
        guard seen & State.visible != 0, seen & State.readers == 0 else { return false }
        if seen & State.clock != 0 {
            _ = Self.exchange(slot, seen, seen &- State.clockStep)
            return false
        }
        guard Self.exchange(slot, seen, (seen & State.useMask) &+ State.use | State.busy) else { return false }
        let memory = UnsafeRawBufferPointer(Self.memory(slot))
        used.subtract(memory.blockHeldBytes + Slot.bytes, ordering: .relaxed)
        memory.freeBlock()
        if flag == 0 {
            Self.field(slot, Slot.state).pointee.store(
                Self.field(slot, Slot.state).pointee.load(ordering: .relaxed) & State.useMask, ordering: .releasing)
        }
        return true
    }

    private func set(_ table: UInt64, _ offset: UInt64) -> UnsafeMutableRawPointer {
        let mixed = (table &* 0x9e37_79b9_7f4a_7c15 ^ offset) &* 0xbf58_476d_1ce4_e5b9
        return slots + (Int(truncatingIfNeeded: mixed &>> 32) & setMask) &* (Self.ways &* Slot.bytes)
    }

    private static func exchange(_ slot: UnsafeMutableRawPointer, _ expected: UInt64, _ desired: UInt64) -> Bool {
        field(slot, Slot.state).pointee.compareExchange(
            expected: expected, desired: desired, ordering: .acquiringAndReleasing
        ).exchanged
    }

    private static func memory(_ slot: UnsafeMutableRawPointer) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: UnsafeMutableRawPointer(bitPattern: slot.load(fromByteOffset: Slot.memory, as: UInt.self)),
            count: slot.load(fromByteOffset: Slot.count, as: Int.self))
    }

    @inline(__always)  // one field access
    fileprivate static func field(_ slot: UnsafeMutableRawPointer, _ offset: Int) -> UnsafeMutablePointer<
        Atomic<UInt64>
    > {
        (slot + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }
}

/// The right to read one block: pinned in the cache, or its own memory. The cache must outlive it.
struct BlockPin: ~Copyable, @unchecked Sendable {
    // @unchecked: the bytes never change while the pin lives.
    let bytes: UnsafeRawBufferPointer
    /// True when the block was in the cache, and so was checked before.
    let isKnown: Bool
    private let slot: UnsafeMutableRawPointer?

    fileprivate init(bytes: UnsafeRawBufferPointer, slot: UnsafeMutableRawPointer, isKnown: Bool) {
        self.bytes = bytes
        self.isKnown = isKnown
        self.slot = slot
    }

    /// A block that is in no cache; its memory goes with the pin.
    init(owning bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        isKnown = false
        slot = nil
    }

    deinit {
        if let slot {
            BlockCache.field(slot, BlockCache.Slot.state).pointee.subtract(1, ordering: .releasing)
        } else {
            bytes.freeBlock()
        }
    }
}
