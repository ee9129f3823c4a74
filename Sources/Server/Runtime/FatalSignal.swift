// The first reason for which the process has to end, from whichever thread finds it.
import Synchronization

final class FatalSignal: Sendable {
    private let stream: AsyncStream<ServerError>
    private let continuation: AsyncStream<ServerError>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream(of: ServerError.self, bufferingPolicy: .bufferingOldest(1))
    }

    func fail(_ error: ServerError) {
        continuation.yield(error)
    }

    /// The reason, once there is one; nil when the task is cancelled.
    func wait() async -> ServerError? {
        for await error in stream { return error }
        return nil
    }
}
