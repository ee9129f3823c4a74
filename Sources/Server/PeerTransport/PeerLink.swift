// One attempt to be connected to a peer, and the connection that came of it: runs on a task of its own, tells what
// becomes of it, and ends when it is told to. It may be replaced by a newer one while it still waits for a peer that
// fell silent.
import Cluster
import Raft
import Synchronization

final class PeerLink: Sendable {
    enum Event: Sendable {
        /// The peer has been let in and batches go this way.
        case established
        /// Nothing has come from the peer for some heartbeats.
        case silent
        /// Something came again.
        case heard
        /// Over; nil when it was not the connection that failed.
        case ended((any Error)?)
    }

    private struct State {
        var task: Task<Void, Never>?
        var isCancelled = false
        var isSilent = false
    }

    let events: AsyncStream<Event>
    private let telling: AsyncStream<Event>.Continuation
    private let state = Mutex(State())

    init() {
        (events, telling) = AsyncStream.makeStream(of: Event.self)
    }

    /// Begins. Unstructured: nobody waits for the end of a connection whose other end is gone.
    func start(_ body: @escaping @Sendable (PeerLink) async throws -> Void) {
        let task = Task { [self] in
            do {
                try await body(self)
                tell(.ended(nil))
            } catch {
                tell(.ended(error))
            }
            telling.finish()
        }
        let isLate = state.withLock { state in
            state.task = task
            return state.isCancelled
        }
        if isLate { task.cancel() }
    }

    func tell(_ event: Event) {
        switch event {
        case .silent: state.withLock { $0.isSilent = true }
        case .heard: state.withLock { $0.isSilent = false }
        case .established, .ended: break
        }
        telling.yield(event)
    }

    /// Nothing comes from the peer: another connection may take this one's place.
    var isSilent: Bool { state.withLock { $0.isSilent } }

    func cancel() {
        let task = state.withLock { state in
            state.isCancelled = true
            return state.task
        }
        task?.cancel()
    }
}
