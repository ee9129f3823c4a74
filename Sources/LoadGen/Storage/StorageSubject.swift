// The engine under measurement, opened in a folder of its own, with the thread that writes its memtables out and the
// brake that writers feel when that thread falls behind. It must never touch a folder that it did not make.
import Foundation
import Glibc
import LabKit
import PosixIO
import Storage
import Synchronization

/// One open store. `put` and the reads may be called by any thread.
final class StorageSubject: Sendable {
    let store: LSMStore
    private let log = Mutex(Log())
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
        if plan.hasLog, plan.verbs.contains(where: \.writes) {
            throw LoadGenError.usage(
                "this build's store has no write-ahead log of its own, so it can only be written with --disable-wal")
        }
        if plan.compression != "none" {
            throw LoadGenError.usage("this build's store compresses nothing: leave --compression out or say none")
        }
        if plan.cacheBytes != nil {
            throw LoadGenError.usage("this build's store has no block cache: leave --cache-size out")
        }
    }

    /// Opens the store in `folder`, made by an earlier call, or a new one.
    init(_ plan: StoragePlan, folder: String, isFresh: Bool) throws(LoadGenError) {
        try Self.prepare(folder, isFresh: isFresh)
        var options = LSMOptions()
        options.memtableBytes = plan.memtableBytes
        options.sealedMemtablesMax = plan.memtables - 1
        options.blockBytes = plan.blockBytes
        options.bloomBitsPerKey = plan.bloomBits
        options.seed = SeededRandom.mix(plan.seed ^ UInt64(getpid()))
        do throws(StorageError) {
            store = try LSMStore.open(directory: folder + "/store", fileSystem: PosixFileSystem(), options: options)
        } catch {
            throw LoadGenError.failed("the store in \(folder) could not be opened: \(error)")
        }
        log.withLock { $0.position = store.applied }
        WorkerThread { [self] in maintain() }.detach()
    }

    /// Writes a batch behind everything before it.
    func write(_ batch: WriteBatch) throws(StorageError) {
        if store.needsBackpressure { try brake() }
        let wait = try log.withLock { (log) throws(StorageError) -> UInt64 in
            log.position = LogPosition(index: log.position.index + 1, term: 1)
            _ = try store.apply(batch, at: log.position)
            log.owedNanoseconds += store.writeDelayNanoseconds(bytes: batch.bytes.count)
            guard log.owedNanoseconds >= Self.sleepNanosecondsMin else { return 0 }
            defer { log.owedNanoseconds = 0 }
            return log.owedNanoseconds
        }
        if wait > 0 { MonotonicClock.sleep(seconds: Double(wait) / 1e9) }
    }

    /// Returns when nothing is left to do in the background.
    func settle() throws(StorageError) {
        while try store.performMaintenance() {}
    }

    /// Writes everything to files and ends the thread: what has no log would be gone otherwise.
    func close() throws(StorageError) {
        defer {
            isClosing.store(true, ordering: .releasing)
            while !finished.load(ordering: .acquiring) { MonotonicClock.sleep(seconds: Self.brakeSeconds) }
            store.close()
        }
        if let failure = failure.withLock({ $0 }) { throw failure }
        try store.flush()
    }

    private func maintain() {
        defer { finished.store(true, ordering: .releasing) }
        while !isClosing.load(ordering: .acquiring) {
            do throws(StorageError) {
                if try store.performMaintenance() { continue }
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
            if isFresh, files.fileExists(atPath: folder + "/store") { try files.removeItem(atPath: folder + "/store") }
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
