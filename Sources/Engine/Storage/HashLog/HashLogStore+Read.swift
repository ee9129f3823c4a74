// Reading: the index says under the lock where a record is, the disk gives it without the lock. Files that a merge
// removed meanwhile stay readable, because the reader holds them open.
internal import FileIO
internal import Synchronization

/// Where a read has to look.
private enum Place {
    case absent
    case value([UInt8])
    /// Records of the same hash on disk, nearly always one.
    case disk(DataFile, KeySlot, others: [(DataFile, KeySlot)])
}

extension HashLogStore {
    public func get(_ key: [UInt8]) throws(StorageError) -> [UInt8]? {
        try key.withRawBytes { (key) throws(StorageError) in try get(key) }
    }

    public func get(_ key: UnsafeRawBufferPointer) throws(StorageError) -> [UInt8]? {
        let hash = keyHash(key)
        switch place(key, hash) {
        case .absent: return nil
        case .value(let value): return value
        case .disk(let data, let slot, let others):
            if let value = try Self.value(of: key, data, slot) { return value }
            for (data, slot) in others {
                if let value = try Self.value(of: key, data, slot) { return value }
            }
            return nil
        }
    }

    private func place(_ key: UnsafeRawBufferPointer, _ hash: UInt64) -> Place {
        state.withLock { state in
            var probe = state.index.probe(hash)
            var found: [(DataFile, KeySlot)] = []
            var first: (DataFile, KeySlot)?
            while let slot = state.index.next(&probe) {
                guard slot.pointee.keyBytes == UInt32(key.count) else { continue }
                if state.isBuffered(slot.pointee) {
                    let value = state.withBuffered(slot.pointee) { found, value in
                        compare(found, key) == 0 ? [UInt8](value) : nil
                    }
                    if let value { return .value(value) }
                } else if let data = state.files[slot.pointee.file]?.data {
                    if first == nil { first = (data, slot.pointee) } else { found.append((data, slot.pointee)) }
                }
            }
            guard let first else { return .absent }
            return .disk(first.0, first.1, others: found)
        }
    }

    private static func value(
        of key: UnsafeRawBufferPointer, _ data: DataFile, _ slot: KeySlot
    ) throws(StorageError) -> [UInt8]? {
        try data.read(slot) { found, value in compare(found, key) == 0 ? [UInt8](value) : nil }
    }

    public func scan(from: [UInt8], to: [UInt8]?, limit: Int) throws(StorageError) -> [KeyValue] {
        var (slots, view) = frozen()
        let keys = try view.sortedKeys(slots) { key in
            !key.lexicographicallyPrecedes(from) && to.map { key.lexicographicallyPrecedes($0) } != false
        }
        var found: [KeyValue] = []
        for (key, slot) in keys.prefix(max(0, limit)) { found.append((key: key, value: try view.value(slot))) }
        return found
    }

    public func stateHash() throws(StorageError) -> UInt64 {
        var (slots, view) = frozen()
        let keys = try view.sortedKeys(slots) { _ in true }
        var hash: UInt64 = 0
        for (key, slot) in keys {
            // The same sum as the other engines make, so that replicas of different engines can be compared.
            let value = try view.value(slot)
            hash = (hash &* 0x9e37_79b9_7f4a_7c15) ^ key.withUnsafeBytes { keyHash($0) }
            hash = (hash &* 0x9e37_79b9_7f4a_7c15) ^ value.withUnsafeBytes { keyHash($0) }
        }
        return hash
    }

    /// All keys as of one moment.
    func frozen() -> (slots: [KeySlot], files: FrozenFiles) {
        state.withLock { ($0.index.liveSlots(), FrozenFiles($0)) }
    }
}

/// The files as they were at one moment, the unwritten end included.
struct FrozenFiles: Sendable {
    let files: [UInt32: DataFile]
    let active: UInt32
    let buffer: [UInt8]
    let bufferStart: UInt64
    private var window: [UInt8] = []
    private var windowFile: UInt32 = 0
    private var windowStart: UInt64 = 0

    private static let windowBytes = 64 << 10

    init(_ state: borrowing HashLogStore.State) {
        files = state.files.mapValues(\.data)
        active = state.active
        buffer = state.buffer
        bufferStart = state.bufferStart
    }

    /// The keys that `isWanted`, ascending, with where their values are.
    mutating func sortedKeys(
        _ slots: [KeySlot], where isWanted: ([UInt8]) -> Bool
    ) throws(StorageError) -> [(key: [UInt8], slot: KeySlot)] {
        var keys: [(key: [UInt8], slot: KeySlot)] = []
        // In the order of the files, so that the disk is read front to back.
        for slot in slots.sorted(by: { $0.place < $1.place }) {
            let key = try key(slot)
            if isWanted(key) { keys.append((key, slot)) }
        }
        keys.sort { one, other in one.key.lexicographicallyPrecedes(other.key) }
        return keys
    }

    private func isBuffered(_ slot: KeySlot) -> Bool {
        slot.file == active && UInt64(slot.offset) >= bufferStart
    }

    /// The key of a slot, proven by its hash. Cheap when slots are asked for in the order of their places.
    mutating func key(_ slot: KeySlot) throws(StorageError) -> [UInt8] {
        let count = Int(slot.keyBytes)
        let position = UInt64(slot.offset) + UInt64(Record.headerBytes)
        if isBuffered(slot) {
            let start = Int(position - bufferStart)
            return Array(buffer[start..<start + count])
        }
        guard let data = files[slot.file] else { preconditionFailure("the index points to files that are open") }
        if windowFile != slot.file || position < windowStart
            || position + UInt64(count) > windowStart + UInt64(window.count)
        {
            window = try disk { () throws(FileIOError) in
                try data.file.read(count: max(count, Self.windowBytes), at: position)
            }
            windowFile = slot.file
            windowStart = position
        }
        let start = Int(position - windowStart)
        guard start + count <= window.count else { throw data.corruption(at: slot.offset, "the file ends early") }
        let key = Array(window[start..<start + count])
        guard key.withUnsafeBytes({ keyHash($0) }) == slot.hash else {
            throw data.corruption(at: slot.offset, "the key is not the one that was written")
        }
        return key
    }

    func value(_ slot: KeySlot) throws(StorageError) -> [UInt8] {
        if isBuffered(slot) {
            let start = Int(UInt64(slot.offset) - bufferStart) + Record.headerBytes + Int(slot.keyBytes)
            return Array(buffer[start..<start + Int(slot.valueBytes)])
        }
        guard let data = files[slot.file] else { preconditionFailure("the index points to files that are open") }
        return try data.read(slot) { _, value in [UInt8](value) }
    }
}
