// A store whose files can be replaced by others while it is in use: what a received snapshot needs. Whoever holds it
// never notices more than that the state has jumped. Readers that are at work in that moment finish on the old files.
internal import Synchronization

/// Passes every call to the store of the moment. Costs one uncontended lock and one reference count a call.
public final class SwitchableStore: KeyValueStore {
    private struct State: Sendable {
        var current: any KeyValueStore
        var isSwitching = false
    }
    private let state: Mutex<State>

    public init(_ store: any KeyValueStore) {
        state = Mutex(State(current: store))
    }

    /// The store of the moment.
    public var current: any KeyValueStore { state.withLock { $0.current } }

    /// Closes the store and goes on with the one that `open` makes. Until `open` returns reads are answered from the
    /// old state. When it throws the store stays closed: reads go on, writes fail.
    public func replace(_ open: () throws(StorageError) -> any KeyValueStore) throws(StorageError) {
        let old = state.withLock { state in
            state.isSwitching = true
            return state.current
        }
        old.close()
        let new = try open()
        state.withLock { $0 = State(current: new) }
    }

    public func apply(_ batch: WriteBatch, at position: LogPosition) throws(StorageError) -> UInt64 {
        try current.apply(batch, at: position)
    }

    public func get(_ key: [UInt8]) throws(StorageError) -> [UInt8]? { try current.get(key) }

    public func get(_ key: UnsafeRawBufferPointer) throws(StorageError) -> [UInt8]? { try current.get(key) }

    public func scan(from: [UInt8], to: [UInt8]?, limit: Int) throws(StorageError) -> [KeyValue] {
        try current.scan(from: from, to: to, limit: limit)
    }

    public var applied: LogPosition { current.applied }
    public var flushed: LogPosition { current.flushed }
    public var lastSequence: UInt64 { current.lastSequence }
    public var needsBackpressure: Bool { current.needsBackpressure }
    public var memory: StoreMemory { current.memory }

    public func writeDelayNanoseconds(bytes: Int) -> UInt64 { current.writeDelayNanoseconds(bytes: bytes) }

    public func flush() throws(StorageError) { try current.flush() }

    public func export(to target: String) throws(StorageError) -> StoreExport { try current.export(to: target) }

    /// A store that was closed under its maintenance has no work left.
    public func performMaintenance() throws(StorageError) -> Bool {
        let store = current
        do throws(StorageError) {
            return try store.performMaintenance()
        } catch {
            let isGone = state.withLock { $0.isSwitching || $0.current !== store }
            if isGone { return false }
            throw error
        }
    }

    public func putOffCompaction(_ isPutOff: Bool) { current.putOffCompaction(isPutOff) }

    public func stateHash() throws(StorageError) -> UInt64 { try current.stateHash() }

    public func freeze() -> any FrozenStore { current.freeze() }

    public func close() { current.close() }
}
