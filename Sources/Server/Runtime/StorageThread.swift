// The log writers: a thread that takes everything queued, writes each group's share with one write and one sync, and tells
// the host. While it syncs, the next share gathers: that is the group commit. A failed write or sync is never retried.
import Cluster
import Foundation
import Synchronization

/// One log writer. A group always goes to the same one, so that its works stay in order.
final class StorageThread: @unchecked Sendable {
    // Unchecked: `queue` and `stopped` are touched only while `condition` is locked.
    private let condition = NSCondition()
    private var queue: [StorageWork] = []
    private var stopped = false
    private let inbox: HostInbox
    private let measured: @Sendable (_ nanoseconds: UInt64) -> Void
    private let thread = Mutex<WorkerThread?>(nil)

    /// - Parameter measured: told how long each write with its sync took.
    init(name: String, inbox: HostInbox, measured: @escaping @Sendable (UInt64) -> Void) {
        self.inbox = inbox
        self.measured = measured
        let worker = WorkerThread(name: name) { [self] in loop() }
        thread.withLock { $0 = worker }
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
            for run in Self.runs(of: works) {
                let start = monotonicNanoseconds()
                let receipt = run[0].perform(with: Array(run.dropFirst()))
                measured(monotonicNanoseconds() - start)
                inbox.post(.stored(receipt), lane: .control)
            }
        }
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

    /// Works that can share one write, in order within each group.
    static func runs(of works: [StorageWork]) -> [[StorageWork]] {
        var runs: [[StorageWork]] = []
        for work in works {
            if let position = runs.lastIndex(where: { $0[0].group == work.group }), runs[position][0].canAbsorb(work) {
                runs[position].append(work)
            } else {
                runs.append([work])
            }
        }
        return runs
    }
}
