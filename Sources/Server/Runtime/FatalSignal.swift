// The first reason for which the process has to end, from whichever thread finds it. It is logged at once, and from
// then on the end is certain: services have a moment to let clients go with an answer, then the process ends with
// status 1 whatever still waits. A node that can't trust its disk must never live on for as long as its slowest service
// likes.
import Foundation
import Glibc
import Logging
import Synchronization

final class FatalSignal: Sendable {
    /// How long services may take to end in order.
    static let patienceMilliseconds: UInt32 = 600

    private let stream: AsyncStream<ServerError>
    private let continuation: AsyncStream<ServerError>.Continuation
    private let watchdog = Mutex<WorkerThread?>(nil)
    private let logger: Logger
    private let patience: UInt32
    private let end: @Sendable (ServerError) -> Void

    /// - Parameters:
    ///   - patience: milliseconds from the first reason to the end.
    ///   - end: ends the process; on a thread of its own.
    init(
        logger: Logger, patience: UInt32 = FatalSignal.patienceMilliseconds,
        end: @escaping @Sendable (ServerError) -> Void = FatalSignal.endProcess
    ) {
        (stream, continuation) = AsyncStream.makeStream(of: ServerError.self, bufferingPolicy: .bufferingOldest(1))
        self.logger = logger
        self.patience = patience
        self.end = end
    }

    /// Takes a reason; the first one decides. Returns at once.
    func fail(_ error: ServerError) {
        let isFirst = watchdog.withLock { watchdog in
            guard watchdog == nil else { return false }
            watchdog = WorkerThread(name: "strata-end") { [patience, end] in
                // Relative, so no step of the wall clock changes it.
                usleep(patience * 1000)
                end(error)
            }
            return true
        }
        guard isFirst else { return }
        logger.critical("the node ends", metadata: ["why": "\(error)"])
        continuation.yield(error)
    }

    /// The reason, once there is one; nil when the task is cancelled.
    func wait() async -> ServerError? {
        for await error in stream { return error }
        return nil
    }

    /// As Main ends the process, but without waiting for anybody.
    private static let endProcess: @Sendable (ServerError) -> Void = { error in
        FileHandle.standardError.write(Data("Server: \(error.description)\n".utf8))
        _exit(1)
    }
}
