// The hash log behind KeyValueStore: append-only data files and an index in memory of where each key's newest version
// is (the Bitcask form). One disk access per read, however large the store; the keys must fit into memory as 32 bytes
// each. Like the LSM store it has no log of its own and starts no threads. It must never call anything flushed that the
// checkpoint does not cover.
internal import FileIO
internal import Memory
internal import Synchronization

/// See ``KeyValueStore`` for the contract.
///
/// `scan` and `stateHash` read every key and sort: O(n log n), because a hash index has no order.
/// Locks, in the order in which they may be taken: maintenance, state.
public final class HashLogStore: KeyValueStore {
    let directory: String
    let fileSystem: any FileSystem
    let options: HashLogOptions
    let store: UInt64
    let state: Mutex<State>
    let maintenance: Mutex<Maintenance>
    let isMergePutOff = Atomic(false)

    /// What the index and the accounting say; guarded as one.
    struct State: ~Copyable, Sendable {
        var index: KeyIndex
        /// Every file that the index may point to, by number.
        var files: [UInt32: FileState] = [:]
        /// The file being appended to; 0 when the next write makes one.
        var active: UInt32 = 0
        /// Bytes of the active file that are not written yet, and where they belong.
        var buffer: [UInt8] = []
        var bufferStart: UInt64 = 0
        var nextNumber: UInt32
        var sequence: UInt64
        var applied: LogPosition
        var flushed: LogPosition
        /// Why writing stopped for good.
        var failure: String?

        init(index: consuming KeyIndex, checkpoint: HashLogCheckpoint) {
            self.index = index
            nextNumber = checkpoint.nextNumber
            sequence = checkpoint.lastSequence
            applied = checkpoint.applied
            flushed = checkpoint.applied
        }
    }

    /// What is known of one data file.
    struct FileState: Sendable {
        var data: DataFile
        /// Bytes including those that still wait in the buffer.
        var bytes: UInt64
        var sequenceMax: UInt64
        /// Of records that the index points to.
        var liveBytes: UInt64 = 0
        var tombstoneBytes: UInt64 = 0
        var isSealed = false
        /// Sealed and in the checkpoint as such; only these are merged.
        var isSettled = false
        /// Output of a merge that is not published.
        var isDraft = false
        /// Durable bytes.
        var syncedBytes: UInt64 = 0
    }

    /// What the one maintaining thread owns.
    struct Maintenance: ~Copyable, Sendable {
        var lock: any DirectoryLock
        var merge: MergeJob?
        var failure: String?

        init(lock: any DirectoryLock) {
            self.lock = lock
        }
    }

    init(
        directory: String, fileSystem: any FileSystem, options: HashLogOptions, store: UInt64,
        state: consuming sending State, lock: any DirectoryLock
    ) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        self.store = store
        self.state = Mutex(state)
        maintenance = Mutex(Maintenance(lock: lock))
    }

    public var applied: LogPosition { state.withLock { $0.applied } }

    public var flushed: LogPosition { state.withLock { $0.flushed } }

    public var lastSequence: UInt64 { state.withLock { $0.sequence } }

    /// It has no debt that grows before ``needsBackpressure``.
    public func writeDelayNanoseconds(bytes: Int) -> UInt64 { 0 }

    public var needsBackpressure: Bool {
        state.withLock { state in
            state.files.values.count { $0.isSealed && !$0.isSettled && !$0.isDraft } >= options.sealedFilesMax
        }
    }

    /// Live keys.
    public var count: Int { state.withLock { $0.index.count } }

    /// Bytes of memory that the index takes.
    public var indexBytes: Int { state.withLock { $0.index.memoryBytes } }

    /// Data files, and the share of their bytes that is dead.
    public var occupancy: (files: Int, deadShare: Double) {
        state.withLock { state in
            let all = state.files.values.reduce(0) { $0 + $1.bytes }
            let live = state.files.values.reduce(0) { $0 + $1.liveBytes }
            return (state.files.count, all == 0 ? 0 : Double(all - live) / Double(all))
        }
    }

    /// Readers that are still at work finish; everything that writes fails from here on.
    public func close() {
        maintenance.withLock { maintenance in
            maintenance.failure = "the store was closed"
            maintenance.merge = nil
            maintenance.lock.release()
        }
        state.withLock { $0.failure = "the store was closed" }
    }

    func path(_ file: HashLogFile) -> String { directory + "/" + file.name }

    /// Ends all writing: what the disk holds is no longer known, and a later success would prove nothing.
    func stop(_ error: StorageError, _ maintenance: inout Maintenance) {
        maintenance.failure = error.description
        state.withLock { $0.failure = error.description }
    }
}

extension StorageError {
    /// True when the call can be made again once there is space: nothing was synced, nothing was lost.
    var isOnlyLackOfSpace: Bool {
        guard case .io(let cause) = self else { return false }
        return cause.reason == .noSpace && cause.operation != .sync && cause.operation != .syncDirectory
    }
}
