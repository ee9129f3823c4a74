// Where a reading stream stands, so that a broken one can go on; and the line between the consumer's own errors, which
// end the reading, and the connection's, which don't.
internal import Synchronization

final class ConsumePosition: Sendable {
    private let current: Mutex<ConsumeStart>

    init(_ start: ConsumeStart) {
        current = Mutex(start)
    }

    var start: ConsumeStart { current.withLock { $0 } }

    func advance(to offset: UInt64) {
        current.withLock { $0 = .offset(offset) }
    }

    /// Runs the consumer's code and marks what it throws as its own.
    func call<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch {
            throw ConsumerBodyError(underlying: error)
        }
    }
}

/// Something that the consumer's own code threw.
struct ConsumerBodyError: Error {
    var underlying: any Error
}
