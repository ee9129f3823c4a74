// What a listener does when the system has no descriptor or memory left for one more connection: it stops accepting for
// a moment, says so once, and goes on by itself. Without this NIO tries again at once and for ever, because the
// connection that can't be accepted keeps the listening socket readable: an event loop that spins, and takes the
// processor from the requests whose end would free descriptors. Stands in front of a listening channel's pipeline, of
// every front end alike.
import Cluster
import Glibc
import NIOCore

final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = any Channel

    /// How long a listener rests; connections wait in the kernel's queue meanwhile.
    static let milliseconds: Int64 = 100

    private let listener: String
    private let diagnostics: Diagnostics
    /// Said already; over with the next connection that is accepted.
    private var hasReported = false
    private var pause: Scheduled<Void>?

    private init(_ listener: String, _ diagnostics: Diagnostics) {
        self.listener = listener
        self.diagnostics = diagnostics
    }

    /// Puts one in front of a listening channel.
    /// - Parameter listener: its name in the sentence, such as `RESP`.
    static func install(
        on channel: any Channel, listener: String, diagnostics: Diagnostics
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(AcceptPause(listener, diagnostics), position: .first)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasReported = false
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? IOError, Self.isTemporary(error.errnoCode) else {
            context.fireErrorCaught(error)
            return
        }
        guard pause == nil else { return }
        if !hasReported {
            hasReported = true
            let reason = String(cString: strerror(error.errnoCode))
            diagnostics.report(
                .acceptFailed,
                "the \(listener) listener can't accept connections: \(reason); it tries again every \(Self.milliseconds) ms; "
                    + "raise the limit of open files (ulimit -n) or close connections")
        }
        // Turning the option off and on is what takes the socket out of the event loop's selector and puts it back.
        setReading(false, context)
        let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        pause = context.eventLoop.scheduleTask(in: .milliseconds(Self.milliseconds)) {
            let (pause, context) = handler.value
            pause.pause = nil
            pause.setReading(true, context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        pause?.cancel()
        pause = nil
        context.fireChannelInactive()
    }

    private func setReading(_ isReading: Bool, _ context: ChannelHandlerContext) {
        // Fails only on a channel that is closed.
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
    }

    /// What NIO does not close a listener for (`ServerSocketChannel.shouldCloseOnReadError`), but for aborted
    /// connections.
    private static func isTemporary(_ code: CInt) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code)
    }
}
