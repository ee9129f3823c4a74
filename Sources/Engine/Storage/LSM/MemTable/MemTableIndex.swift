// The hash sidecar of a memtable: from a key to the node of its newest version in one or two cache misses, where the
// skip list needs a dozen. Open addressing in raw memory, 8 bytes a slot: `tag u32 << 32 | node u32`, 0 when empty. The
// slot where a search begins is made of the tag's top bits, so that doubling copies slots in order and never hashes a
// key again. One thread inserts, any number reads without a lock. It must never miss a key that was inserted: when it
// can't hold one it says so for good, and readers search the list.
internal import Memory
internal import Synchronization

struct MemTableIndex: ~Copyable, @unchecked Sendable {
    // @unchecked: one writer by contract; readers see slots and tables by acquire loads of what it released.

    /// Slots of the smallest index.
    static let slotsMin = 1 << 10
    /// Memtable bytes for each slot to begin with: about one entry of a small record.
    private static let bytesPerSlot = 512
    /// A longer run of taken slots means colliding hashes, which growing may not cure.
    private static let probesMax = 512

    /// Byte offsets inside `state`.
    private enum Field {
        /// Address of the table that counts; 0: there is none, search the list.
        static let current = 0
        /// Address of the table that was made last, also after the index gave up.
        static let newest = 8
        static let count = 64
        static let bytes = 128
    }

    /// Byte offsets inside a table's head, which stands in front of its slots.
    private enum Head {
        /// Address of the table before this one, kept for readers that are still in it.
        static let older = 0
        static let allocated = 8
        /// How far a tag is shifted to give the slot where its search begins.
        static let shift = 16
        static let bytes = 64
    }

    private let state: UnsafeMutableRawPointer
    private let source: PageSource

    /// - Parameter memtableBytes: of the memtable that it serves; nil: an index that is off and takes no memory.
    init(memtableBytes: Int?, source: PageSource) throws(MemoryError) {
        self.source = source
        let first: UnsafeMutableRawPointer? =
            if let memtableBytes {
                try Self.makeTable(
                    slotBits: Self.slotBits(for: memtableBytes), older: nil, source: source)
            } else {
                nil
            }
        state = .allocate(byteCount: Field.bytes, alignment: 64)
        state.initializeMemory(as: UInt8.self, repeating: 0, count: Field.bytes)
        current.pointee.store(UInt(bitPattern: first), ordering: .relaxed)
        state.storeBytes(of: UInt(bitPattern: first), toByteOffset: Field.newest, as: UInt.self)
    }

    deinit {
        // Also the tables of an index that gave up.
        var table = UnsafeMutableRawPointer(
            bitPattern: state.load(fromByteOffset: Field.newest, as: UInt.self))
        while let this = table {
            table = UnsafeMutableRawPointer(bitPattern: this.load(fromByteOffset: Head.older, as: UInt.self))
            source.release(this, bytes: this.load(fromByteOffset: Head.allocated, as: Int.self))
        }
        state.deallocate()
    }

    private static func slotBits(for memtableBytes: Int) -> Int {
        let wanted = max(slotsMin, memtableBytes / bytesPerSlot)
        return min(30, Int.bitWidth - 1 - wanted.leadingZeroBitCount)
    }

    private static func makeTable(
        slotBits: Int, older: UnsafeMutableRawPointer?, source: PageSource
    ) throws(MemoryError) -> UnsafeMutableRawPointer {
        let bytes = Head.bytes + 8 << slotBits
        let table = try source.allocateZeroed(bytes: bytes)
        table.storeBytes(of: UInt(bitPattern: older), toByteOffset: Head.older, as: UInt.self)
        table.storeBytes(of: bytes, toByteOffset: Head.allocated, as: Int.self)
        table.storeBytes(of: UInt32(32 - slotBits), toByteOffset: Head.shift, as: UInt32.self)
        return table
    }

    @inline(__always)
    private var current: UnsafeMutablePointer<Atomic<UInt>> {
        (state + Field.current).assumingMemoryBound(to: Atomic<UInt>.self)
    }

    /// False when there is none, or no longer.
    @inline(__always)
    var isOn: Bool { current.pointee.load(ordering: .relaxed) != 0 }

    /// Keys in it.
    var count: Int { state.load(fromByteOffset: Field.count, as: Int.self) }

    /// Bytes of all its tables. Not while somebody inserts.
    var memoryBytes: Int {
        var bytes = 0
        var table = UnsafeRawPointer(bitPattern: state.load(fromByteOffset: Field.newest, as: UInt.self))
        while let this = table {
            bytes += this.load(fromByteOffset: Head.allocated, as: Int.self)
            table = UnsafeRawPointer(bitPattern: this.load(fromByteOffset: Head.older, as: UInt.self))
        }
        return bytes
    }

    /// A table for the length of a search.
    private struct Slots {
        private let start: UnsafeMutableRawPointer
        let shift: UInt32

        @inline(__always)
        init(_ table: UnsafeMutableRawPointer) {
            start = table + Head.bytes
            shift = table.load(fromByteOffset: Head.shift, as: UInt32.self)
        }

        @inline(__always)
        var mask: Int { 1 &<< Int(32 &- shift) &- 1 }

        @inline(__always)
        subscript(_ slot: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
            (start + slot &<< 3).assumingMemoryBound(to: Atomic<UInt64>.self)
        }
    }

    /// What the index knows about a key.
    enum Answer {
        /// The newest version's node, or 0 when the key is not in the memtable.
        case node(SkipListNode)
        /// Nothing: search the list.
        case unknown
    }

    /// - Parameter hash: ``keyHash(_:)`` of the key.
    @inline(__always)  // one caller, the point read
    func find(_ key: UnsafeRawBufferPointer, hash: UInt64, in list: borrowing SkipList) -> Answer {
        guard let table = UnsafeMutableRawPointer(bitPattern: current.pointee.load(ordering: .acquiring)) else {
            return .unknown
        }
        let slots = Slots(table)
        let tag = UInt32(truncatingIfNeeded: hash &>> 32)
        var slot = Int(tag &>> slots.shift)
        while true {
            let word = slots[slot].pointee.load(ordering: .acquiring)
            if word == 0 { return .node(0) }
            let node = SkipListNode(truncatingIfNeeded: word)
            if UInt32(truncatingIfNeeded: word &>> 32) == tag, list.holds(node, key) { return .node(node) }
            slot = (slot &+ 1) & slots.mask
        }
    }

    /// Makes a key lead to a node that the list holds already, if the node is the newest version of the key. Before its
    /// sequence is made visible: then whoever may see the version finds it. One thread at a time.
    func insert(
        _ key: UnsafeRawBufferPointer, hash: UInt64, node: SkipListNode, in list: borrowing SkipList
    ) {
        guard let table = UnsafeMutableRawPointer(bitPattern: current.pointee.load(ordering: .relaxed)) else { return }
        let slots = Slots(table)
        let tag = UInt32(truncatingIfNeeded: hash &>> 32)
        let fresh = UInt64(tag) &<< 32 | UInt64(node)
        var slot = Int(tag &>> slots.shift)
        var probes = 0
        while probes < Self.probesMax {
            let word = slots[slot].pointee.load(ordering: .relaxed)
            if word == 0 {
                slots[slot].pointee.store(fresh, ordering: .releasing)
                let count = count &+ 1
                state.storeBytes(of: count, toByteOffset: Field.count, as: Int.self)
                // Five eighths full: a miss looks at four slots on average, one cache line.
                if count &* 8 > slots.mask &* 5 { grow(table) }
                return
            }
            let other = SkipListNode(truncatingIfNeeded: word)
            if UInt32(truncatingIfNeeded: word &>> 32) == tag, list.holds(other, key) {
                if list.trailer(of: node) > list.trailer(of: other) {
                    slots[slot].pointee.store(fresh, ordering: .releasing)
                }
                return
            }
            slot = (slot &+ 1) & slots.mask
            probes &+= 1
        }
        giveUp()
    }

    /// Doubles. Readers that are in the old table miss only what they may not see yet.
    @inline(never)
    private func grow(_ old: UnsafeMutableRawPointer) {
        let from = Slots(old)
        let slotBits = 33 - Int(from.shift)
        // Tags have 32 bits; at 2^31 slots the arena's reach is long used up.
        guard slotBits < 32,
            let table = try? Self.makeTable(slotBits: slotBits, older: old, source: source)
        else { return giveUp() }
        let to = Slots(table)
        for place in 0...from.mask {
            let word = from[place].pointee.load(ordering: .relaxed)
            guard word != 0 else { continue }
            var slot = Int(UInt32(truncatingIfNeeded: word &>> 32) &>> to.shift)
            while to[slot].pointee.load(ordering: .relaxed) != 0 { slot = (slot &+ 1) & to.mask }
            to[slot].pointee.store(word, ordering: .relaxed)
        }
        state.storeBytes(of: UInt(bitPattern: table), toByteOffset: Field.newest, as: UInt.self)
        current.pointee.store(UInt(bitPattern: table), ordering: .releasing)
    }

    /// Out of memory, or hashes that collide on purpose: from now on readers search the list, as without an index.
    @inline(never)
    private func giveUp() {
        current.pointee.store(0, ordering: .releasing)
    }
}
