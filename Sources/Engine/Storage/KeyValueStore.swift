// What a key-value state machine needs from a storage engine, and nothing about how the engine does it. The log that
// feeds it is elsewhere (the Raft log is the write-ahead log), so the store never syncs on apply.

/// A place in the replicated log.
public struct LogPosition: Hashable, Sendable {
    public var index: UInt64
    public var term: UInt64

    public init(index: UInt64, term: UInt64) {
        self.index = index
        self.term = term
    }

    /// Before the first entry.
    public static let zero = LogPosition(index: 0, term: 0)
}

/// One key with its value.
public typealias KeyValue = (key: [UInt8], value: [UInt8])

/// What ``KeyValueStore/export(to:)`` has made.
public struct StoreExport: Hashable, Sendable {
    /// A file whose checksum is known without reading it.
    public struct File: Hashable, Sendable {
        public var name: String
        public var byteCount: UInt64
        /// CRC-32C of the whole file.
        public var checksum: UInt32
    }
    /// The newest log entry that it covers.
    public var position: LogPosition
    /// Not all files; the folder says which there are.
    public var knownFiles: [File]
}

/// An ordered map of byte strings, fed by a log that it doesn't own.
///
/// After a restart the owner replays its log from `flushed.index + 1`: the same entries give the same sequences and the
/// same content. Keys are ordered as unsigned bytes.
public protocol KeyValueStore: AnyObject, Sendable {
    /// Applies one log entry. One thread at a time; durable only once ``flushed`` covers it.
    /// - Returns: the sequence of the batch's first operation. Sequences count operations from 1; an empty batch takes
    ///   none and returns the one that comes next.
    /// - Throws: ``StorageError/staleEntry(index:applied:)`` unless `position.index` is above ``applied``.
    func apply(_ batch: WriteBatch, at position: LogPosition) throws(StorageError) -> UInt64

    /// The newest value of a key, or nil. Any thread, also while another applies. Sees whole batches only.
    func get(_ key: [UInt8]) throws(StorageError) -> [UInt8]?

    /// As ``get(_:)-([UInt8])`` without an array for the key.
    func get(_ key: UnsafeRawBufferPointer) throws(StorageError) -> [UInt8]?

    /// Up to `limit` live keys from `from` (included) to `to` (excluded; nil: to the end), ascending, as of one moment.
    func scan(from: [UInt8], to: [UInt8]?, limit: Int) throws(StorageError) -> [KeyValue]

    /// The newest applied entry.
    var applied: LogPosition { get }

    /// The newest entry that the files cover: the log is needed from the one after it.
    var flushed: LogPosition { get }

    /// The sequence of the newest applied operation; 0 when there was none.
    var lastSequence: UInt64 { get }

    /// True when memory fills faster than it is written out: the owner should slow its writers down.
    var needsBackpressure: Bool { get }

    /// What its memory is used for at the moment. Any thread.
    var memory: StoreMemory { get }

    /// How long the owner should hold its writers back after applying a batch of this many bytes; 0 as long as the
    /// background work keeps up.
    func writeDelayNanoseconds(bytes: Int) -> UInt64

    /// Writes everything applied so far to files; durable on return.
    func flush() throws(StorageError)

    /// Makes `target`, a folder on the same file system that does not exist yet, a store of the same engine with the
    /// content of this moment; durable on return. Costs little more than a flush: files that no longer change are
    /// linked.
    func export(to target: String) throws(StorageError) -> StoreExport

    /// Does one unit of background work. Call it from a background thread (or from the simulator) until it answers
    /// false: nothing left to do.
    func performMaintenance() throws(StorageError) -> Bool

    /// Whether rewriting of files that are already written should wait, for whoever needs the disk more at the moment.
    /// It goes on all the same where writers would be slowed down by it. Any thread; returns at once.
    func putOffCompaction(_ isPutOff: Bool)

    /// A hash of all live keys and values in key order: equal on replicas that applied the same entries, whatever
    /// their files look like. Reads everything.
    func stateHash() throws(StorageError) -> UInt64

    /// Pins what is applied now, for the thread that applies: whole entries are in it. Quick; the hash log copies its
    /// index.
    func freeze() -> any FrozenStore

    /// Lets go of the folder without writing anything. Nothing may be called after it.
    func close()
}
