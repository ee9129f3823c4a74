// A plain thread with a result: the load loops run on these, away from Swift's shared pool, which the clients of the
// same process may be using.
import Glibc

/// A started thread. `join` must be called exactly once.
struct WorkerThread<Result: Sendable>: ~Copyable {
    private final class Box: Sendable {
        let body: @Sendable () -> Result
        /// Written by the thread before it ends, read after the join: pthread_join orders the two.
        nonisolated(unsafe) var result: Result?

        init(_ body: @escaping @Sendable () -> Result) {
            self.body = body
        }

        func run() {
            result = body()
        }
    }

    private let box: Box
    private let thread: pthread_t

    init(_ body: @escaping @Sendable () -> Result) {
        let box = Box(body)
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(ThreadStart { box.run() }).toOpaque()
        let code = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, argument)
        precondition(code == 0, "the system has no room for one more thread; raise the limit of processes (ulimit -u)")
        self.box = box
        self.thread = thread
    }

    /// Waits for the thread's end.
    consuming func join() -> Result {
        pthread_join(thread, nil)
        guard let result = box.result else {
            preconditionFailure("a joined thread has run its body to the end")
        }
        return result
    }
}

/// Carries a closure across pthread_create; not generic, so that the C callback needs no captured type.
private final class ThreadStart {
    let body: () -> Void

    init(_ body: @escaping () -> Void) {
        self.body = body
    }
}
