// What a store's memory is used for, against its budget: for `/metrics` and for whoever sizes a machine.
internal import Synchronization

/// A store's memory at one moment, in bytes.
public struct StoreMemory: Sendable, Hashable {
    /// What everything below may take together; nil for an engine without a budget: its index grows with the keys.
    public var budgetBytes: Int?
    /// Filled parts of memtables and their hash indexes, or the index of all keys.
    public var tableBytes = 0
    /// Cached blocks with their slots.
    public var cacheBytes = 0
    /// What the cache may take.
    public var cacheCapacityBytes = 0
    /// Indexes and filters of open tables.
    public var pinnedBytes = 0
    /// What waits to be written to files.
    public var bufferBytes = 0

    public var usedBytes: Int { tableBytes + cacheBytes + pinnedBytes + bufferBytes }
}

extension LSMStore {
    public var memory: StoreMemory {
        let view = currentView()
        let sealed = view.sealed.reduce(0) { $0 + $1.table.list.usedBytes + $1.table.indexBytes }
        // The active memtable's index may grow meanwhile: it is reckoned with as pacing does.
        let active = view.active.list.usedBytes + memtableIndexBytes.load(ordering: .relaxed)
        return StoreMemory(
            budgetBytes: options.memoryBudgetBytes, tableBytes: sealed + active, cacheBytes: cache.usedBytes,
            cacheCapacityBytes: cache.capacityBytes, pinnedBytes: view.version.pinnedBytes)
    }
}

extension HashLogStore {
    public var memory: StoreMemory {
        state.withLock { StoreMemory(tableBytes: $0.index.memoryBytes, bufferBytes: $0.buffer.capacity) }
    }
}
