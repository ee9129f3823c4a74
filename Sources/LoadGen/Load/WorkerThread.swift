// Plain threads with results: the load loops run on these, away from Swift's shared pool, which the clients of the same
// process may be using.
import Glibc
import Synchronization

/// Starts a thread. Exactly one of `join` and `detach` must be called.
struct WorkerThread: ~Copyable {
    private let thread: pthread_t

    init(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(ThreadStart(body)).toOpaque()
        let code = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, argument)
        precondition(code == 0, "the system has no room for one more thread; raise the limit of processes (ulimit -u)")
        self.thread = thread
    }

    /// Lets the thread run to its end unobserved.
    consuming func detach() {
        pthread_detach(thread)
    }

    /// Waits for the thread's end.
    consuming func join() {
        pthread_join(thread, nil)
    }
}

/// Carries a closure across pthread_create.
private final class ThreadStart {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}

/// Runs one piece of work on several threads and collects what they return.
final class WorkerSlots<Value: Sendable>: Sendable {
    private let values: Mutex<[Value?]>
    private let count: Int

    init(count: Int) {
        self.count = count
        values = Mutex(Array(repeating: nil, count: count))
    }

    /// Calls `body` with each number below the count, each on its own thread, and waits for all.
    func run(_ body: @escaping @Sendable (Int) -> Value) {
        // Recursion, because an array can not hold threads, which can not be copied.
        start(0, body)
    }

    private func start(_ index: Int, _ body: @escaping @Sendable (Int) -> Value) {
        guard index < count else { return }
        let thread = WorkerThread { [self] in
            let value = body(index)
            values.withLock { $0[index] = value }
        }
        start(index + 1, body)
        thread.join()
    }

    /// After `run`: what each call returned, in order.
    var results: [Value] {
        values.withLock { values in
            values.map { value in
                guard let value else { preconditionFailure("results are read after every thread has ended") }
                return value
            }
        }
    }
}
