// Real threads for tests that spin: the task pool has one thread per core, and a spinning reader would starve the
// writer that it waits for.
import Glibc
import Synchronization

/// Runs all bodies at the same time, each on its own thread, and waits for them.
func runThreads(_ bodies: [@Sendable () -> Void]) {
    var threads: [pthread_t] = []
    for body in bodies {
        let box = Unmanaged.passRetained(ThreadBody(body))
        var thread = pthread_t()
        let outcome = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        precondition(outcome == 0, "a test thread starts")
        threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
}

private final class ThreadBody {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// Counts what went wrong on other threads, where `#expect` has no test to report to.
final class Failures: Sendable {
    private let messages = Mutex<[String]>([])
    func add(_ message: String) { messages.withLock { $0.append(message) } }
    func check(_ good: Bool, _ message: @autoclosure () -> String) { if !good { add(message()) } }
    func check(_ message: String, _ body: () throws -> Bool) {
        do { check(try body(), message) } catch { add("\(message): \(error)") }
    }
    var all: [String] { messages.withLock { $0 } }
}
