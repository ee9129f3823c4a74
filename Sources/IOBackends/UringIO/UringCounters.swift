// What the rings of one backend did: without these numbers a figure of io_uring can't be explained. Updated once per
// batch, readable at any time from any thread.
import FileIO
import PosixIO
import Synchronization

/// Totals since the backend was made.
public struct UringStatistics: Sendable, Hashable {
    /// System calls that handed requests over or waited for answers.
    public var enters = 0
    /// Requests handed over.
    public var submitted = 0
    /// Answers taken.
    public var completed = 0
    /// Requests that moved only a part and were submitted again.
    public var shortTransfers = 0
    /// Requests that were interrupted and submitted again.
    public var retries = 0
    /// Batches that went through system calls because their thread got no ring.
    public var fallbacks = 0
    /// Worker threads (`iou-wrk-*`) that the kernel runs for this process now: requests that could not be done at once
    /// were handed to them.
    public var workerThreads = 0

    /// Requests per system call; 0 before the first.
    public var submittedPerEnter: Double { enters == 0 ? 0 : Double(submitted) / Double(enters) }
}

final class UringCounters: Sendable {
    let enters = Atomic<Int>(0)
    let submitted = Atomic<Int>(0)
    let completed = Atomic<Int>(0)
    let shortTransfers = Atomic<Int>(0)
    let retries = Atomic<Int>(0)
    let fallbacks = Atomic<Int>(0)

    var statistics: UringStatistics {
        UringStatistics(
            enters: enters.load(ordering: .relaxed), submitted: submitted.load(ordering: .relaxed),
            completed: completed.load(ordering: .relaxed), shortTransfers: shortTransfers.load(ordering: .relaxed),
            retries: retries.load(ordering: .relaxed), fallbacks: fallbacks.load(ordering: .relaxed),
            workerThreads: Self.workerThreads())
    }

    private static func workerThreads() -> Int {
        // Only a picture for people: what can't be read is not counted.
        let files = PosixFileSystem()
        let tasks = (try? files.list("/proc/self/task")) ?? []
        return tasks.count { task in
            guard let name = try? files.open("/proc/self/task/\(task)/comm", .read).read(count: 16, at: 0) else {
                return false
            }
            return name.starts(with: Array("iou-wrk".utf8))
        }
    }
}
