// A few threads for work that waits on the disk: reads of the store, of old log entries, opening of partitions.
import Cluster
import Foundation
import Synchronization

/// Runs closures in the order they come, on a fixed number of threads. What belongs to a request comes
/// by ``offer(_:)``, which has a bound; what comes by ``run(_:)`` belongs to a group, and is one of a few for each.
final class BlockingPool: BlockingExecutor, @unchecked Sendable {
    // Unchecked: `queue`, `head` and `stopped` are touched only while `condition` is locked.
    private let condition = NSCondition()
    /// Nil: taken. What a closure holds must not outlive it by a queue that is never empty.
    private var queue: [(@Sendable () -> Void)?] = []
    private var head = 0
    private var stopped = false
    private let threads: Mutex<[WorkerThread]> = Mutex([])

    /// Closures of requests that may wait; the next is not taken.
    static let queueMax = 65_536

    init(name: String, threads count: Int, niceness: Int32 = 0) {
        let workers = (0..<count).map { number in
            WorkerThread(name: "\(name)-\(number)", niceness: niceness) { [self] in loop() }
        }
        threads.withLock { $0 = workers }
    }

    func run(_ work: @escaping @Sendable () -> Void) {
        condition.lock()
        queue.append(work)
        condition.signal()
        condition.unlock()
    }

    func offer(_ work: @escaping @Sendable () -> Void) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        guard !stopped, queue.count - head < Self.queueMax else { return false }
        queue.append(work)
        condition.signal()
        return true
    }

    /// Finishes what is queued, then ends the threads.
    func stop() {
        condition.lock()
        stopped = true
        condition.broadcast()
        condition.unlock()
        for thread in threads.withLock({ $0 }) { _ = thread.join(seconds: 5) }
    }

    private func loop() {
        while let work = next() { work() }
    }

    private func next() -> (@Sendable () -> Void)? {
        condition.lock()
        defer { condition.unlock() }
        while head == queue.count {
            if stopped { return nil }
            condition.wait()
        }
        let work = queue[head].take()
        head += 1
        if head == queue.count {
            queue.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 1024 {
            queue.removeFirst(head)
            head = 0
        }
        return work
    }
}
