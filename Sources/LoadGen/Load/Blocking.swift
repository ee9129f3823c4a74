// The bridge from the main thread, which owns the processes and must stay, to async code such as the gRPC client's.
import Dispatch
import Synchronization

enum Blocking {
    private final class Slot<Value: Sendable>: Sendable {
        let value = Mutex<Result<Value, LoadGenError>?>(nil)
    }

    /// Runs `body` on Swift's pool and waits for it. Only for the main thread, never from inside the pool.
    static func run<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) throws(LoadGenError) -> Value {
        let slot = Slot<Value>()
        let done = DispatchSemaphore(value: 0)
        Task {
            let result: Result<Value, LoadGenError>
            do {
                result = .success(try await body())
            } catch let error as LoadGenError {
                result = .failure(error)
            } catch {
                result = .failure(.cluster("\(error)"))
            }
            slot.value.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        guard let result = slot.value.withLock({ $0 }) else {
            preconditionFailure("the semaphore is signalled after the result is stored")
        }
        return try result.get()
    }
}
