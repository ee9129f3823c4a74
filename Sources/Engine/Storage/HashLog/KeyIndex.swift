// The key directory of the hash log: where on disk the newest version of each key is. Open addressing with linear
// probing in raw memory; it grows while it works, a bounded number of slots per call, so that no write waits for a
// whole rehash. It knows hashes and places, never keys: whoever asks compares the key on disk.
internal import Memory

/// Where a record is. 32 bytes, two to a cache line.
struct KeySlot {
    var hash: UInt64
    var sequence: UInt64
    /// Data file; ``empty`` and ``removed`` are no files.
    var file: UInt32
    var offset: UInt32
    var keyBytes: UInt32
    /// ``Record/tombstone`` for a delete, which the index holds only while a store is opened.
    var valueBytes: UInt32

    static let empty: UInt32 = 0
    static let removed = UInt32.max
    static let bytes = 32

    var isLive: Bool { file != Self.empty && file != Self.removed }
    var isTombstone: Bool { valueBytes == Record.tombstone }
    /// Bytes of the record on disk.
    var recordBytes: Int { Record.bytes(key: Int(keyBytes), value: valueBytes) }

    func lies(at offset: UInt32, in file: UInt32) -> Bool { self.file == file && self.offset == offset }
}

/// One power-of-two array of slots. Its owner releases it; it is no `~Copyable` type because it moves between
/// optionals.
private struct SlotTable {
    let slots: UnsafeMutablePointer<KeySlot>
    let capacity: Int
    private let source: PageSource
    /// Slots that ever held something since the table was cleared.
    var used = 0
    /// Slots in front of this one are cleared.
    private(set) var cleared = 0

    init(capacity: Int, source: PageSource) throws(StorageError) {
        do throws(MemoryError) {
            slots = try source.allocate(bytes: capacity * KeySlot.bytes).bindMemory(
                to: KeySlot.self, capacity: capacity)
        } catch {
            throw StorageError(error)
        }
        self.capacity = capacity
        self.source = source
    }

    func release() {
        source.release(UnsafeMutableRawPointer(slots), bytes: capacity * KeySlot.bytes)
    }

    var isCleared: Bool { cleared == capacity }

    mutating func clear(_ count: Int) {
        let upTo = min(capacity, cleared + count)
        let none = KeySlot(hash: 0, sequence: 0, file: KeySlot.empty, offset: 0, keyBytes: 0, valueBytes: 0)
        (slots + cleared).initialize(repeating: none, count: upTo - cleared)
        cleared = upTo
    }

    func slot(_ position: Int) -> UnsafeMutablePointer<KeySlot> { slots + (position & (capacity - 1)) }

    mutating func insert(_ slot: KeySlot) {
        var position = Int(truncatingIfNeeded: slot.hash)
        while self.slot(position).pointee.isLive { position &+= 1 }
        if self.slot(position).pointee.file == KeySlot.empty { used += 1 }
        self.slot(position).pointee = slot
    }
}

/// A walk over the slots of one hash.
struct KeyProbe {
    fileprivate var hash: UInt64
    fileprivate var position: Int
    fileprivate var isInOld: Bool
    fileprivate var steps = 0
}

/// One thread at a time. Pointers to slots hold until the next ``insert(_:)`` or ``reserve(_:)``.
struct KeyIndex: ~Copyable, @unchecked Sendable {
    // @unchecked: it owns its memory, and the store's lock guards it.
    private var table: SlotTable
    /// Being emptied into `table`.
    private var old: SlotTable?
    private var moved = 0
    /// Being cleared, to take the place of `table`.
    private var next: SlotTable?
    private let source: PageSource
    /// Live keys.
    private(set) var count = 0

    /// Slots moved per step.
    static let moveSlots = 64
    /// Slots cleared per step: a table of twice the size is ready as soon as an old one would be moved.
    static let clearSlots = 256
    static let capacityMin = 1024

    init(source: PageSource) throws(StorageError) {
        table = try SlotTable(capacity: Self.capacityMin, source: source)
        table.clear(Self.capacityMin)
        self.source = source
    }

    deinit {
        table.release()
        old?.release()
        next?.release()
    }

    /// Bytes of memory held.
    var memoryBytes: Int {
        (table.capacity + (old?.capacity ?? 0) + (next?.capacity ?? 0)) * KeySlot.bytes
    }

    /// Makes sure that `added` more keys fit, doing a bounded piece of growing for each.
    mutating func reserve(_ added: Int) throws(StorageError) {
        for _ in 0..<added { try advance() }
        // Only a batch that is large beside the whole table comes to this.
        while (max(table.used, count) + added) * 4 > table.capacity * 3 { try advance(force: true) }
    }

    private mutating func advance(force: Bool = false) throws(StorageError) {
        if old != nil {
            moveSome()
        } else if next != nil {
            next!.clear(Self.clearSlots)
            if next!.isCleared {
                old = table
                table = next!
                next = nil
                moved = 0
            }
        } else if force || table.used * 2 > table.capacity {
            // Mostly removed slots: the same size again sheds them.
            let capacity = force || count * 4 > table.capacity ? table.capacity * 2 : table.capacity
            next = try SlotTable(capacity: capacity, source: source)
        }
    }

    private mutating func moveSome() {
        let end = min(old!.capacity, moved + Self.moveSlots)
        while moved < end {
            let slot = old!.slots + moved
            if slot.pointee.isLive {
                table.insert(slot.pointee)
                slot.pointee.file = KeySlot.removed
            }
            moved += 1
        }
        if moved == old!.capacity {
            old!.release()
            old = nil
        }
    }

    /// Adds a key that is not there.
    mutating func insert(_ slot: KeySlot) {
        precondition(table.used < table.capacity, "growing keeps ahead of inserting")
        table.insert(slot)
        count += 1
    }

    mutating func remove(_ slot: UnsafeMutablePointer<KeySlot>) {
        slot.pointee.file = KeySlot.removed
        count -= 1
    }

    func probe(_ hash: UInt64) -> KeyProbe {
        KeyProbe(hash: hash, position: Int(truncatingIfNeeded: hash), isInOld: false)
    }

    /// The next live slot with the probe's hash, or nil.
    func next(_ probe: inout KeyProbe) -> UnsafeMutablePointer<KeySlot>? {
        if !probe.isInOld {
            if let found = Self.find(table, &probe) { return found }
            probe = KeyProbe(hash: probe.hash, position: Int(truncatingIfNeeded: probe.hash), isInOld: true)
        }
        return old == nil ? nil : Self.find(old!, &probe)
    }

    private static func find(
        _ table: SlotTable, _ probe: inout KeyProbe
    ) -> UnsafeMutablePointer<KeySlot>? {
        while probe.steps < table.capacity {
            let slot = table.slot(probe.position)
            if slot.pointee.file == KeySlot.empty { return nil }
            probe.position &+= 1
            probe.steps += 1
            if slot.pointee.hash == probe.hash, slot.pointee.isLive { return slot }
        }
        return nil
    }

    /// All live slots, in no useful order. O(capacity).
    func liveSlots() -> [KeySlot] {
        var found: [KeySlot] = []
        found.reserveCapacity(count)
        forEach { found.append($0.pointee) }
        return found
    }

    func forEach(_ body: (UnsafeMutablePointer<KeySlot>) -> Void) {
        for position in 0..<table.capacity where table.slots[position].isLive { body(table.slots + position) }
        if old != nil {
            for position in 0..<old!.capacity where old!.slots[position].isLive { body(old!.slots + position) }
        }
    }
}
