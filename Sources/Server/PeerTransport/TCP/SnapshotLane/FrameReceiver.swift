// The receiving end of the snapshot lane: a thread that reads whole frames to where they stay and posts them to the
// host. It lives as long as the connection; the listener ends it with the node, or when the same peer has a newer one.
import NIOCore
import Synchronization

final class FrameReceiver: Sendable {
    private let socket: FrameSocket
    private let hasStopped = Atomic<Bool>(false)

    /// - Parameters:
    ///   - rest: what the event loop had read behind the hello.
    ///   - ended: called once, on the thread, with what went wrong or nil when the peer has closed; not after
    ///     ``stop()``.
    init(
        _ socket: FrameSocket, rest: ByteBuffer, name: String,
        received: @escaping @Sendable (FrameSource.Frame) -> Void,
        ended: @escaping @Sendable (FrameSocket.Failure?) -> Void
    ) {
        self.socket = socket
        _ = WorkerThread(name: name, niceness: WorkerThread.bulkNiceness) { [self] in
            var source = FrameSource(rest: rest) { room throws(FrameSocket.Failure) in
                try self.socket.read(into: room)
            }
            var failure: FrameSocket.Failure?
            do throws(FrameSocket.Failure) {
                while let frame = try source.next() { received(frame) }
            } catch {
                failure = error
            }
            if !hasStopped.load(ordering: .acquiring) { ended(failure) }
        }
    }

    /// Ends the connection and with it the thread.
    func stop() {
        hasStopped.store(true, ordering: .releasing)
        socket.end()
    }
}
