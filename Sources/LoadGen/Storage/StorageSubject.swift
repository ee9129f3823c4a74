// The engine under measurement, opened in a folder of its own, with the thread that writes its memtables out and the
// brake that writers feel when that thread falls behind. It must never touch a folder that it did not make.
import Foundation
import Glibc
import LabKit
import Storage
import Synchronization
import UringIO

/// One open store. `put` and the reads may be called by any thread.
final class StorageSubject: Sendable {
    let store: any KeyValueStore
    /// `store`, when it is of the engine that keeps keys in order: its readers are faster than the protocol's.
    let tree: LSMStore?
    /// The store with its write-ahead log around `store`, when the run keeps one.
    private let standalone: StandaloneStore?
    private let log = Mutex(Log())
    private let folder: String
    private let isClosing = Atomic<Bool>(false)
    private let failure = Mutex<StorageError?>(nil)
    private let finished = Atomic<Bool>(false)

    private struct Log {
        var position = LogPosition.zero
        /// What the store asked writers to wait and they have not yet.
        var owedNanoseconds: UInt64 = 0
    }

    /// A sleep shorter than this takes longer than it says.
    private static let sleepNanosecondsMin: UInt64 = 200_000
    /// How often the maintenance thread looks for work, and writers for the brake's release.
    private static let maintenanceSeconds = 0.001
    private static let brakeSeconds = 0.0001
    /// A writer that is held this long is told so instead of hanging.
    private static let brakeSecondsMax = 60.0
    /// Stands in every folder that was made here, so that nothing else is ever removed.
    private static let marker = "loadgen-storage"

    /// Whether the engine can do what the plan asks.
    static func check(_ plan: StoragePlan) throws(LoadGenError) {
        if !plan.hasLog, plan.verbs.contains(.fillsync) {
            throw LoadGenError.usage("fillsync needs the write-ahead log: leave --disable-wal out")
        }
        if plan.engine != .lsm, let verb = plan.verbs.first(where: \.needsOrder) {
            throw LoadGenError.usage("\(verb.rawValue) is for the engine that keeps keys in order: leave --engine out")
        }
        guard BlockCompression(name: plan.compression) != nil else {
            let names = BlockCompression.allCases.map(\.name).joined(separator: ", ")
            throw LoadGenError.usage("'\(plan.compression)' is no position of --compression; take one of \(names)")
        }
    }

    /// Opens the store in `folder`, made by an earlier call, or a new one.
    init(_ plan: StoragePlan, _ backend: IOBackend, folder: String, isFresh: Bool) throws(LoadGenError) {
        try Self.prepare(folder, isFresh: isFresh)
        self.folder = folder
        let other = folder + "/" + Self.name(hasLog: !plan.hasLog)
        if FileManager.default.fileExists(atPath: other) {
            throw LoadGenError.usage(
                "the store in \(folder) was written \(plan.hasLog ? "without" : "with") a write-ahead log: "
                    + "\(plan.hasLog ? "give" : "leave out") --disable-wal")
        }
        var options = LSMOptions()
        options.memtableBytes = plan.memtableBytes
        options.sealedMemtablesMax = plan.memtables - 1
        options.memtableHashIndex = plan.hasMemtableIndex
        // The engine has one budget; db_bench counts memtables and cache apart.
        if let budget = plan.budgetBytes { options.memoryBudgetBytes = budget }
        if let cache = plan.cacheBytes { options.memoryBudgetBytes = plan.memtables * plan.memtableBytes + cache }
        options.allocator = plan.allocator
        options.blockBytes = plan.blockBytes
        options.bloomBitsPerKey = plan.bloomBits
        options.compression = BlockCompression(name: plan.compression) ?? .none
        options.seed = SeededRandom.mix(plan.seed ^ UInt64(getpid()))
        var both = StoreOptions()
        both.lsm = options
        both.hashLog.allocator = plan.allocator
        both.hashLog.seed = options.seed
        do throws(StorageError) {
            let path = folder + "/" + Self.name(hasLog: plan.hasLog)
            if plan.hasLog {
                var settings = StandaloneOptions()
                settings.engine = plan.engine
                settings.store = both
                let opened = try StandaloneStore.open(
                    directory: path, fileSystem: backend.fileSystem, options: settings)
                standalone = opened
                store = opened.engine
            } else {
                standalone = nil
                store = try openStore(
                    kind: plan.engine, directory: path, fileSystem: backend.fileSystem, options: both)
            }
            tree = store as? LSMStore
        } catch {
            throw LoadGenError.failed("the store in \(folder) could not be opened: \(error)")
        }
        log.withLock { $0.position = store.applied }
        WorkerThread { [self] in maintain() }.detach()
    }

    /// Writes a batch behind everything before it.
    /// - Parameter isSynced: on the device before this returns; otherwise in the page cache, or without a log in
    ///   memory.
    func write(_ batch: WriteBatch, isSynced: Bool) throws(StorageError) {
        if store.needsBackpressure { try brake() }
        if let standalone { try standalone.write(batch, durability: isSynced ? .power : .process) }
        let wait = try log.withLock { (log) throws(StorageError) -> UInt64 in
            if standalone == nil {
                log.position = LogPosition(index: log.position.index + 1, term: 1)
                _ = try store.apply(batch, at: log.position)
            }
            log.owedNanoseconds += tree?.writeDelayNanoseconds(bytes: batch.bytes.count) ?? 0
            guard log.owedNanoseconds >= Self.sleepNanosecondsMin else { return 0 }
            defer { log.owedNanoseconds = 0 }
            return log.owedNanoseconds
        }
        if wait > 0 { MonotonicClock.sleep(seconds: Double(wait) / 1e9) }
    }

    /// Returns when nothing is left to do in the background.
    func settle() throws(StorageError) {
        while try work() {}
    }

    /// One unit of background work; false when there is none.
    private func work() throws(StorageError) -> Bool {
        if let standalone { return try standalone.performMaintenance() }
        return try store.performMaintenance()
    }

    /// Ends the thread. What has no log is written to files first: it would be gone otherwise.
    func close() throws(StorageError) {
        defer {
            isClosing.store(true, ordering: .releasing)
            while !finished.load(ordering: .acquiring) { MonotonicClock.sleep(seconds: Self.brakeSeconds) }
            if let standalone { standalone.close() } else { store.close() }
        }
        if let failure = failure.withLock({ $0 }) { throw failure }
        if standalone == nil { try store.flush() }
    }

    private func maintain() {
        defer { finished.store(true, ordering: .releasing) }
        while !isClosing.load(ordering: .acquiring) {
            do throws(StorageError) {
                if try work() { continue }
            } catch {
                failure.withLock { $0 = error }
                return
            }
            MonotonicClock.sleep(seconds: Self.maintenanceSeconds)
        }
    }

    private func brake() throws(StorageError) {
        let deadline = MonotonicClock.now() + UInt64(Self.brakeSecondsMax * 1e9)
        while store.needsBackpressure {
            if let failure = failure.withLock({ $0 }) { throw failure }
            guard MonotonicClock.now() < deadline else {
                throw .readOnly("no memtable was written out for \(Int(Self.brakeSecondsMax)) s")
            }
            MonotonicClock.sleep(seconds: Self.brakeSeconds)
        }
    }

    /// Scans give keys in order; an engine without order sorts all of them for each.
    var isOrdered: Bool { tree != nil }

    /// Writes the store's files back and asks the kernel to forget their pages. Only advice, as for fio's own cold
    /// reads.
    func dropPageCache() {
        let files = FileManager.default.enumerator(atPath: folder)
        while let name = files?.nextObject() as? String {
            let descriptor = open(folder + "/" + name, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { continue }
            fdatasync(descriptor)
            posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_DONTNEED))
            Glibc.close(descriptor)
        }
    }

    /// The two kinds of store have different folders, so that one is never opened as the other.
    private static func name(hasLog: Bool) -> String { hasLog ? "standalone" : "store" }

    /// Leaves `folder` with the marker in it, and without a store when it has to be fresh.
    private static func prepare(_ folder: String, isFresh: Bool) throws(LoadGenError) {
        let files = FileManager.default
        let mark = folder + "/" + marker
        do {
            if files.fileExists(atPath: folder), !files.fileExists(atPath: mark) {
                guard try files.contentsOfDirectory(atPath: folder).isEmpty else {
                    throw LoadGenError.usage(
                        "\(folder) holds files that are not of this command; give --db an empty folder or a new one")
                }
            }
            for store in [true, false].map({ folder + "/" + name(hasLog: $0) }) {
                if isFresh, files.fileExists(atPath: store) { try files.removeItem(atPath: store) }
            }
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try Data().write(to: URL(fileURLWithPath: mark))
        } catch let error as LoadGenError {
            throw error
        } catch {
            throw LoadGenError.failed("can't prepare \(folder): \(error.localizedDescription); choose another --db")
        }
    }

    /// Removes a folder that `init` made.
    static func remove(_ folder: String) {
        guard FileManager.default.fileExists(atPath: folder + "/" + marker) else { return }
        // Only space is lost if this fails, and the person sees the folder.
        try? FileManager.default.removeItem(atPath: folder)
    }
}
