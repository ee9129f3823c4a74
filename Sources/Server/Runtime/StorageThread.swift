// The log writers: a thread that takes everything queued, writes each group's share with one write and one sync, and
// tells the host. While it syncs, the next share gathers: that is the group commit. A failed write or sync is never
// retried.
import Cluster
import Foundation
import Synchronization

/// One log writer. A group always goes to the same one, so that its works stay in order.
final class StorageThread: @unchecked Sendable {
    // Unchecked: `queue` and `stopped` are touched only while `condition` is locked.
    private let condition = NSCondition()
    private var queue: [StorageWork] = []
    private var stopped = false
    /// When the write under way began; 0 when none is.
    private let busySinceOrZero = Atomic<UInt64>(0)
    private let inbox: HostInbox
    private let batches: Bool
    private let measured: @Sendable (_ nanoseconds: UInt64, _ syncs: Int) -> Void
    private let thread = Mutex<WorkerThread?>(nil)

    /// - Parameters:
    ///   - measured: told how long each write with its syncs took, and how many they were.
    ///   - batches: all groups' writes of a turn go to the disk as one batch; otherwise one after another, each told of
    ///     as soon as it is done.
    init(name: String, inbox: HostInbox, batches: Bool, measured: @escaping @Sendable (UInt64, Int) -> Void) {
        self.inbox = inbox
        self.batches = batches
        self.measured = measured
        let worker = WorkerThread(name: name) { [self] in loop() }
        thread.withLock { $0 = worker }
    }

    /// Since when the write under way has been running.
    var busySince: UInt64? {
        let since = busySinceOrZero.load(ordering: .relaxed)
        return since == 0 ? nil : since
    }

    func submit(_ work: StorageWork) {
        condition.lock()
        queue.append(work)
        condition.signal()
        condition.unlock()
    }

    /// Finishes what is queued, then ends the thread.
    func stop() {
        condition.lock()
        stopped = true
        condition.signal()
        condition.unlock()
        _ = thread.withLock { $0 }?.join(seconds: 10)
    }

    private func loop() {
        while let works = next() {
            for wave in StorageTurn(works).waves {
                // Nobody else's write waits for a store that is being replaced.
                let installs = wave.filter(\.isInstall)
                let writes = wave.filter { !$0.isInstall }
                if batches, writes.count > 1 {
                    time(writes) { StorageTurn.performTogether(writes) }
                } else {
                    for run in writes { time([run]) { [run[0].perform(with: Array(run.dropFirst()))] } }
                }
                for run in installs { time([run]) { [run[0].perform(with: Array(run.dropFirst()))] } }
            }
        }
    }

    /// Does one write and says how long it took, then tells the host what came of it.
    private func time(_ runs: [StorageTurn.Run], _ write: () -> [StorageReceipt]) {
        let start = monotonicNanoseconds()
        // To replace a store takes as long as it takes: that is no stuck disk.
        if !runs.contains(where: \.isInstall) { busySinceOrZero.store(start, ordering: .relaxed) }
        let receipts = write()
        busySinceOrZero.store(0, ordering: .relaxed)
        measured(monotonicNanoseconds() - start, runs.reduce(0) { $0 + $1[0].syncs(with: Array($1.dropFirst())) })
        for receipt in receipts { inbox.post(.stored(receipt), lane: .control) }
    }

    private func next() -> [StorageWork]? {
        condition.lock()
        defer { condition.unlock() }
        while queue.isEmpty {
            if stopped { return nil }
            condition.wait()
        }
        let works = queue
        queue = []
        return works
    }
}
