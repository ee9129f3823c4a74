// Threads that may block: one class for the loops that a node runs beside the cooperative pool. A loop sleeps
// (``Wakeup``) until somebody has work for it or a deadline passes; it is told to stop and is waited for, never killed.
import Dispatch
import Foundation
import Glibc

/// A thread with a name, and a way to wait for its end.
final class WorkerThread: Sendable {
    private let end = Occurrence()

    /// For threads that move snapshots: whoever answers a client goes first. Linux hands it on to threads that such a
    /// thread starts, so it must start none.
    static let bulkNiceness: Int32 = 10

    /// - Parameter niceness: of this thread alone, as in nice(2): Linux counts it per thread.
    init(name: String, niceness: Int32 = 0, _ body: @escaping @Sendable () -> Void) {
        let end = end
        let thread = Thread {
            // Where it is refused the thread runs like all others.
            if niceness > 0 { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness) }
            body()
            end.happen()
        }
        thread.name = name
        thread.stackSize = 1 << 20
        thread.start()
    }

    /// Waits for the thread's end; false when it has not ended in time.
    func join(seconds: Double) -> Bool {
        end.wait(seconds: seconds)
    }
}

/// Nanoseconds of the monotonic clock, the only clock that hosts and deadlines know.
func monotonicNanoseconds() -> UInt64 {
    DispatchTime.now().uptimeNanoseconds
}
