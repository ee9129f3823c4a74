// A key-value store with a write-ahead log of its own, for use without a cluster: any engine behind KeyValueStore, fed
// by many threads. Writes that meet are logged and synced as one group. It must never acknowledge a write below the
// durability that was asked for, nor apply one that the log does not hold.
public import FileIO
internal import Synchronization

/// How a ``StandaloneStore`` is set up.
public struct StandaloneOptions: Sendable, Hashable {
    public var engine = StorageEngineKind.lsm
    public var store = StoreOptions()
    public var wal = WALOptions()

    public init() {}
}

/// ```swift
/// let store = try StandaloneStore.open(directory: "data", fileSystem: fileSystem, options: StandaloneOptions())
/// try store.write(batch, durability: .power)
/// ```
/// A full disk: what makes room for a write, a log file above all, may be tried again. An error from there on, which
/// includes a hash log that can't take what its log already holds, leaves the store read-only until it is opened again.
///
/// Any thread may write and read. One background thread calls ``performMaintenance()``.
public final class StandaloneStore: Sendable {
    /// The engine, for reads.
    public let engine: any KeyValueStore
    private let options: StandaloneOptions
    private let log: Mutex<WriteAheadLog>
    private let lock: any DirectoryLock
    private let gate = GroupGate()
    private let queue = Queue()
    private let logDirectory: String

    /// Guarded by the gate.
    private final class Queue: @unchecked Sendable {
        // @unchecked: touched only between the gate's lock and unlock.
        var waiting: [Write] = []
        var hasLeader = false
    }

    /// One write on its way. The leader of its group fills in the outcome.
    private final class Write: @unchecked Sendable {
        // @unchecked: the outcome is set and read only with the gate locked.
        let batch: WriteBatch
        let durability: Durability
        var outcome: Result<UInt64, StorageError>?

        init(_ batch: WriteBatch, _ durability: Durability) {
            self.batch = batch
            self.durability = durability
        }
    }

    private init(
        engine: any KeyValueStore, options: StandaloneOptions, log: WriteAheadLog, lock: any DirectoryLock
    ) {
        self.engine = engine
        self.options = options
        logDirectory = log.directory
        self.log = Mutex(log)
        self.lock = lock
    }

    /// Opens or creates the store: the engine in `directory/store`, the log in `directory/wal`. Replays what the engine
    /// has not flushed.
    public static func open(
        directory: String, fileSystem: any FileSystem, options: StandaloneOptions
    ) throws(StorageError) -> StandaloneStore {
        precondition(
            options.wal.fileBytes >= WALFrame.blockBytes && options.wal.groupBytesMax > 0
                && options.wal.waitSecondsMax > 0,
            "a log file of at least 32 KiB, a group of at least a byte, a wait of at least a second")
        let lock = try disk { () throws(FileIOError) in
            try fileSystem.createDirectory(directory)
            return try fileSystem.lock(directory)
        }
        var opened: (any KeyValueStore)?
        do throws(StorageError) {
            let engine = try openStore(
                kind: options.engine, directory: directory + "/store", fileSystem: fileSystem, options: options.store)
            opened = engine
            let log = try WriteAheadLog.recover(
                directory: directory + "/wal", fileSystem: fileSystem, options: options.wal,
                flushed: engine.flushed.index
            ) { (index, payload) throws(StorageError) in
                let batch = try WriteBatch(validating: [UInt8](payload))
                while engine.needsBackpressure { if try !engine.performMaintenance() { break } }
                _ = try engine.apply(batch, at: LogPosition(index: index, term: 0))
            }
            return StandaloneStore(engine: engine, options: options, log: log, lock: lock)
        } catch {
            opened?.close()
            lock.release()
            throw error
        }
    }

    /// Writes a batch; visible to readers and as durable as asked for on return.
    /// - Returns: the sequence of its first operation.
    /// - Throws: after an error of the disk the store is read-only. An error that speaks of an unknown outcome means
    ///   that the write may still happen.
    @discardableResult
    public func write(_ batch: WriteBatch, durability: Durability) throws(StorageError) -> UInt64 {
        gate.lock()
        if !queue.hasLeader, queue.waiting.isEmpty { return try writeAlone(batch, durability) }
        let write = Write(batch, durability)
        queue.waiting.append(write)
        if queue.hasLeader {
            let isOver = gate.wait(seconds: options.wal.waitSecondsMax) { write.outcome != nil || !queue.hasLeader }
            if !isOver {
                let isQueued = queue.waiting.contains { $0 === write }
                queue.waiting.removeAll { $0 === write }
                gate.unlock()
                throw late(isUnknown: !isQueued)
            }
        }
        // A long queue takes several groups.
        while write.outcome == nil { lead() }
        let outcome = write.outcome
        gate.unlock()
        guard let outcome else { preconditionFailure("whoever leads does so until its own write is done") }
        return try outcome.get()
    }

    /// A lone writer's way, without an object, an array or a hand-off; with the gate locked on entry.
    private func writeAlone(_ batch: WriteBatch, _ durability: Durability) throws(StorageError) -> UInt64 {
        queue.hasLeader = true
        gate.unlock()
        defer {
            gate.lock()
            queue.hasLeader = false
            let isAwaited = !queue.waiting.isEmpty
            gate.unlock()
            if isAwaited { gate.wakeAll() }
        }
        return try log.withLock { (log) throws(StorageError) in
            try log.makeRoom(records: 1, bytes: batch.bytes.count + 8, durability: durability)
            let index = batch.bytes.span.bytes.withUnsafeBytes { log.append($0) }
            try log.commit(durability)
            return try apply(batch, index, &log)
        }
    }

    private func apply(
        _ batch: WriteBatch, _ index: UInt64, _ log: inout WriteAheadLog
    ) throws(StorageError) -> UInt64 {
        do throws(StorageError) {
            return try engine.apply(batch, at: LogPosition(index: index, term: 0))
        } catch {
            // The log holds it, so only reopening can make the two agree again.
            log.stop(error.description)
            throw error
        }
    }

    private func late(isUnknown: Bool) -> StorageError {
        let outcome = isUnknown ? "whether the write happens is unknown" : "the write was not made"
        return .io(
            FileIOError(
                operation: .sync, path: logDirectory, reason: .other,
                detail: "the disk took longer than \(options.wal.waitSecondsMax) s; \(outcome)"))
    }

    /// Takes what waits and writes it, with the gate unlocked meanwhile.
    private func lead() {
        queue.hasLeader = true
        let group = takeGroup()
        gate.unlock()
        let outcomes = log.withLock { log in commit(group, &log) }
        gate.lock()
        for (write, outcome) in zip(group, outcomes) { write.outcome = outcome }
        queue.hasLeader = false
        gate.wakeAll()
    }

    private func takeGroup() -> [Write] {
        var bytes = 0
        var count = 0
        while count < queue.waiting.count, count == 0 || bytes < options.wal.groupBytesMax {
            bytes += queue.waiting[count].batch.bytes.count
            count += 1
        }
        let group = Array(queue.waiting.prefix(count))
        queue.waiting.removeFirst(count)
        return group
    }

    private func commit(_ group: [Write], _ log: inout WriteAheadLog) -> [Result<UInt64, StorageError>] {
        let bytes = group.reduce(0) { $0 + $1.batch.bytes.count + 8 }
        var indexes: [UInt64] = []
        do throws(StorageError) {
            let durability = group.reduce(.none) { max($0, $1.durability) }
            try log.makeRoom(records: group.count, bytes: bytes, durability: durability)
            for write in group { indexes.append(write.batch.bytes.withUnsafeBytes { log.append($0) }) }
            try log.commit(durability)
        } catch {
            return Array(repeating: .failure(error), count: group.count)
        }
        var outcomes: [Result<UInt64, StorageError>] = []
        for (write, index) in zip(group, indexes) {
            do throws(StorageError) {
                if let failure = log.failure, outcomes.contains(where: \.isFailure) { throw .readOnly(failure) }
                outcomes.append(.success(try apply(write.batch, index, &log)))
            } catch {
                outcomes.append(.failure(error))
            }
        }
        return outcomes
    }

    public func get(_ key: [UInt8]) throws(StorageError) -> [UInt8]? { try engine.get(key) }

    public func scan(from: [UInt8], to: [UInt8]?, limit: Int) throws(StorageError) -> [KeyValue] {
        try engine.scan(from: from, to: to, limit: limit)
    }

    /// True when writers should slow down; see ``KeyValueStore/needsBackpressure``.
    public var needsBackpressure: Bool { engine.needsBackpressure }

    /// Does one unit of background work of the engine or the log; false when there is nothing to do.
    public func performMaintenance() throws(StorageError) -> Bool {
        let flushed = engine.flushed.index
        // First: the sooner a log goes, the less of it the device gets to see.
        if try log.withLock({ (log) throws(StorageError) in try log.trim(flushed: flushed) }) { return true }
        return try engine.performMaintenance()
    }

    /// Writes everything into the engine's files, so that opening has nothing to replay.
    public func flush() throws(StorageError) {
        try engine.flush()
    }

    /// Lets go of the folder. What was acknowledged at level `none` and not flushed is lost, like in a crash.
    public func close() {
        let flushed = engine.flushed.index
        log.withLock { log in
            // Only takes space otherwise: opening gives back what is left.
            while (try? log.trim(flushed: flushed)) == true {}
            log.stop("the store was closed")
        }
        engine.close()
        lock.release()
    }
}

extension Result {
    fileprivate var isFailure: Bool {
        if case .failure = self { true } else { false }
    }
}
