// Where a reading stream stands, so that a broken one can go on; and the line between the consumer's own errors, which
// end the reading, and the connection's, which don't.
internal import Synchronization

final class ConsumePosition: Sendable {
    private struct State {
        var start: ConsumeStart
        /// Where the stream under way ends when nobody follows: the high watermark that its first message named.
        var goal: UInt64?
        var hasDelivered = false
    }
    private let state: Mutex<State>

    init(_ start: ConsumeStart) {
        state = Mutex(State(start: start))
    }

    var start: ConsumeStart { state.withLock { $0.start } }

    func advance(to offset: UInt64) {
        state.withLock { $0.start = .offset(offset) }
    }

    /// Another stream begins.
    func beginStream() {
        state.withLock { state in
            state.goal = nil
            state.hasDelivered = false
        }
    }

    /// The stream delivered something.
    func noteMessage(highWatermark: UInt64) {
        state.withLock { state in
            if !state.hasDelivered { state.goal = highWatermark }
            state.hasDelivered = true
        }
    }

    var hasDelivered: Bool { state.withLock { $0.hasDelivered } }

    /// Everything that was there when the stream under way began has been delivered.
    var isAtEnd: Bool {
        state.withLock { state in
            guard let goal = state.goal, case .offset(let offset) = state.start else { return true }
            return offset >= goal
        }
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

/// Why a stream ended without an error.
enum StreamOutcome: Sendable {
    /// The consumer has had enough.
    case stopped
    /// The server closed it.
    case closed
}
