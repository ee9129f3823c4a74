// The log-structured merge tree behind KeyValueStore, without a log of its own: the Raft log that feeds it is the
// write-ahead log, and each flush records in the manifest how far of it the tables now hold. It starts no threads: the
// caller's threads apply, read and do maintenance. It must never call anything flushed that the manifest does not
// cover.
internal import FileIO
internal import Memory
internal import Synchronization

/// See ``KeyValueStore`` for the contract.
///
/// ```swift
/// let store = try LSMStore.open(directory: "data/kv", fileSystem: fileSystem, options: LSMOptions())
/// for entry in log[(store.flushed.index + 1)...] { try store.apply(entry.batch, at: entry.position) }
/// ```
///
/// A full disk is an error of the call that met it and of nothing else: what was applied stays readable and in memory,
/// and once there is space the same call works and a paused compaction begins again, by themselves. Any other error of
/// a write, and every error of a sync, a lack of space included, makes the store read-only until it is opened again.
///
/// Locks, in the order in which they may be taken: maintenance, writer, views and positions (both leaves). Point reads
/// take none: see ReadViews.
public final class LSMStore: KeyValueStore {
    let directory: String
    let fileSystem: any FileSystem
    let options: LSMOptions
    let pages: PageSource
    let writer: Mutex<Writer>
    let maintenance: Mutex<Maintenance>
    let views: ReadViews
    private let positions: Mutex<Positions>
    private let visibleSequence: Atomic<UInt64>
    let cache: BlockCache
    let snapshots = SnapshotRegistry()
    let sealedCount = Atomic<Int>(0)
    let level0Count = Atomic<Int>(0)
    let isCompactionPutOff = Atomic(false)
    /// Bytes of the hash index of the memtable that was sealed last: what the active one's is reckoned with.
    let memtableIndexBytes = Atomic<Int>(0)
    /// Nanoseconds of delay per byte written, with 10 binary places.
    let delayPerByte = Atomic<UInt64>(0)
    /// The same, for writers that fill the next memtable faster than the last one is written out.
    let overlapDelayPerByte = Atomic<UInt64>(0)
    /// Bytes of the memtable being written out that are in its table already.
    let writtenOut = Atomic<Int>(0)

    /// What the one applying thread owns.
    struct Writer: Sendable {
        var active: MemTable
        var sequence: UInt64
        var applied: LogPosition
        /// Memtables made so far; varies the skip lists' seeds.
        var memtables: UInt64 = 1
        /// Why writing stopped for good.
        var failure: String?
    }

    /// What the one maintaining thread owns.
    struct Maintenance: ~Copyable, Sendable {
        var manifest: Manifest
        var state: ManifestState
        /// The manifest's end is unknown since a failed append for lack of space: begin a new one.
        var manifestIsSuspect = false
        var failure: String?
        /// Tables whose edit failed; removed once a new manifest makes sure that nothing names them.
        var orphans: [UInt64] = []
        /// The compaction under way.
        var job: CompactionJob?
        /// Calls left before compaction is tried again after the disk was full.
        var compactionPause = 0
        /// Bytes that compactions have written since the store was opened.
        var compactedBytes: UInt64 = 0
        var lock: any DirectoryLock

        init(manifest: Manifest, state: ManifestState, lock: any DirectoryLock) {
            self.manifest = manifest
            self.state = state
            self.lock = lock
        }
    }

    private struct Positions: Sendable {
        var applied: LogPosition
        var flushed: LogPosition
    }

    init(
        directory: String, fileSystem: any FileSystem, options: LSMOptions, pages: PageSource, active: MemTable,
        version: Version, cache: BlockCache, maintenance: consuming Maintenance
    ) {
        let state = maintenance.state
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        self.pages = pages
        self.cache = cache
        writer = Mutex(Writer(active: active, sequence: state.lastSequence, applied: state.applied))
        views = ReadViews(ReadView(active: active, sealed: [], version: version))
        positions = Mutex(Positions(applied: state.applied, flushed: state.applied))
        visibleSequence = Atomic(state.lastSequence)
        self.maintenance = Mutex(maintenance)
        updatePacing(currentView())
    }

    public var applied: LogPosition { positions.withLock { $0.applied } }

    public var flushed: LogPosition { positions.withLock { $0.flushed } }

    public var lastSequence: UInt64 { visibleSequence.load(ordering: .acquiring) }

    /// Tables on disk.
    public var tableCount: Int { currentView().version.tableCount }

    /// Readers that are still at work finish; everything that writes fails from here on.
    public func close() {
        maintenance.withLock { state in
            state.failure = "the store was closed"
            state.job.take()?.abandon()
            state.lock.release()
        }
        writer.withLock { $0.failure = "the store was closed" }
    }

    /// The view to read from, for iterators and other long work. Take it before ``lastSequence``.
    func currentView() -> ReadView {
        views.retained()
    }

    func replaceView(_ change: (ReadView) -> ReadView) {
        views.replace { view in
            let next = change(view)
            updatePacing(next)
            return next
        }
    }

    /// Makes an applied batch visible: readers' sequence first, so that whoever sees the position sees the data.
    func publishApplied(_ position: LogPosition, sequence: UInt64) {
        visibleSequence.store(sequence, ordering: .releasing)
        positions.withLock { $0.applied = position }
    }

    func publishFlushed(_ position: LogPosition) {
        positions.withLock { $0.flushed = position }
    }

    func path(_ file: StoreFile) -> String { directory + "/" + file.name }
}
