// The end of a stream that may come while it waits for the engine: its client has gone, or the node is shutting down.
// It must wake the one who waits at once, or a stop would take as long as the longest wait.
import Synchronization

/// Reached once, for good; wakes at most one waiter.
final class StreamEnd: Sendable {
    private struct State {
        var isReached = false
        var wake: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    var isReached: Bool { state.withLock { $0.isReached } }

    /// The stream is over. Any thread.
    func reach() {
        let wake = state.withLock { state in
            state.isReached = true
            defer { state.wake = nil }
            return state.wake
        }
        wake?()
    }

    /// Calls `wake` when the stream is over, at once if it is already; replaces the waiter before it.
    func whenReached(_ wake: @escaping @Sendable () -> Void) {
        let isReached = state.withLock { state in
            if !state.isReached { state.wake = wake }
            return state.isReached
        }
        if isReached { wake() }
    }

    /// Nobody waits any more.
    func forget() {
        state.withLock { $0.wake = nil }
    }
}
