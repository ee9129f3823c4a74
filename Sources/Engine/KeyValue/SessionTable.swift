// All sessions of the key-value group, in memory for the machine's use and in the store for good. They live in numbered
// slots, lowest first, so that loading them is a bounded number of point reads whatever the engine. It must be the same
// on every replica: no clock of its own, no order of a hash table.
import Storage

struct SessionTable {
    let limits: SessionLimits
    private var slots: [ClientSession?] = []
    private var slotByClient: [UInt64: Int] = [:]

    /// Slots that a store may say it has: each costs a point read when it is opened.
    static let slotsMax: UInt64 = 1 << 16

    init(limits: SessionLimits) {
        self.limits = limits
    }

    /// Reads what the store holds.
    init(limits: SessionLimits, store: any KeyValueStore) throws(StorageError) {
        self.init(limits: limits)
        guard let stored = try store.get(Self.countKey) else { return }
        var reader = CommandReader(stored[...])
        guard let count = reader.word(), count <= Self.slotsMax else {
            throw .invalidBatch("the count of client sessions is damaged; restore this node's data folder from another")
        }
        for slot in 0..<Int(count) {
            guard let bytes = try store.get(Self.key(slot)) else {
                slots.append(nil)
                continue
            }
            guard let session = ClientSession(bytes) else {
                throw .invalidBatch("client session \(slot) is damaged; restore this node's data folder from another")
            }
            slots.append(session)
            slotByClient[session.client] = slot
        }
    }

    var count: Int { slotByClient.count }

    /// The newest time that a session has seen.
    var latestTime: UInt64 { slots.reduce(0) { max($0, $1?.lastTime ?? 0) } }

    /// The slot of a session that is not over at `time`.
    func slot(of client: UInt64, at time: UInt64) -> Int? {
        guard let slot = slotByClient[client], let session = slots[slot], !isOver(session, at: time) else { return nil }
        return slot
    }

    subscript(slot: Int) -> ClientSession? { slots[slot] }

    mutating func update(_ slot: Int, _ body: (inout ClientSession) -> Void) {
        guard var session = slots[slot] else { return }
        // Out of its place while it changes, so that its answers are not copied.
        slots[slot] = nil
        body(&session)
        slots[slot] = session
    }

    /// Makes room and opens a session; its record and what gives way go into `batch`.
    mutating func open(
        client: UInt64, index: UInt64, time: UInt64, into batch: inout WriteBatch
    ) throws(StorageError) {
        let slot = freeSlot(at: time)
        if let old = slots[slot] { slotByClient[old.client] = nil }
        let session = ClientSession(client: client, index: index, time: time)
        slots[slot] = session
        slotByClient[client] = slot
        try batch.put(key: Self.key(slot), value: session.encoded)
    }

    /// Slots in use or used before; the caller stores it when it has grown.
    var slotCount: Int { slots.count }

    static func countRecord(_ count: Int) -> (key: [UInt8], value: [UInt8]) {
        var value: [UInt8] = []
        value.append(littleEndian: UInt64(count))
        return (countKey, value)
    }

    mutating func close(_ client: UInt64, into batch: inout WriteBatch) throws(StorageError) {
        guard let slot = slotByClient.removeValue(forKey: client) else { return }
        slots[slot] = nil
        try batch.delete(key: Self.key(slot))
    }

    /// The lowest slot that is empty or whose session is over; a new one; or the least recently used one's.
    private mutating func freeSlot(at time: UInt64) -> Int {
        if let free = slots.firstIndex(where: { $0.map { isOver($0, at: time) } ?? true }) { return free }
        if slots.count < limits.sessionsMax {
            slots.append(nil)
            return slots.count - 1
        }
        var oldest = 0
        for slot in slots.indices.dropFirst() {
            if let here = slots[slot], let there = slots[oldest], here.lastIndex < there.lastIndex { oldest = slot }
        }
        return oldest
    }

    private func isOver(_ session: ClientSession, at time: UInt64) -> Bool {
        time > session.lastTime && time - session.lastTime > limits.idleMillisecondsMax
    }

    private static let countKey = KeyValueLimits.reservedPrefix + Array("sessions".utf8)

    static func key(_ slot: Int) -> [UInt8] {
        var key = KeyValueLimits.reservedPrefix + Array("session/".utf8)
        // Big endian, so that the slots are in order.
        for shift in stride(from: 24, through: 0, by: -8) { key.append(UInt8(truncatingIfNeeded: slot >> shift)) }
        return key
    }
}
