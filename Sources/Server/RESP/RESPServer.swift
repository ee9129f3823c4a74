// The RESP listener: binds a port, gives each connection its handler, counts them, and ends them in order. It speaks
// the part of Redis's protocol that a key-value store needs; it must never keep a connection open past `close()`.
import Cluster
import KeyValue
import NIOCore
import NIOPosix
import Synchronization

/// A running RESP front end.
///
/// ```
/// let resp = try await RESPServer.start(host: "127.0.0.1", port: 6379, group: group, service: store, status: node)
/// ...
/// await resp.close()
/// ```
final class RESPServer: Sendable {
    /// The connections that are open, so that they can be counted and ended.
    private final class Connections: Sendable {
        private struct State {
            var open: [ObjectIdentifier: any Channel] = [:]
            var isClosing = false
        }

        /// The newest connection's number.
        private let newest = Atomic<UInt64>(0)
        private let state = Mutex(State())
        private let most: Int

        init(most: Int) {
            self.most = most
        }

        /// False when there are too many, or when the server closes.
        func admit(_ channel: any Channel) -> Bool {
            let isAdmitted = state.withLock { state in
                guard !state.isClosing, state.open.count < most else { return false }
                state.open[ObjectIdentifier(channel)] = channel
                return true
            }
            guard isAdmitted else { return false }
            channel.closeFuture.whenComplete { _ in
                _ = self.state.withLock { $0.open.removeValue(forKey: ObjectIdentifier(channel)) }
            }
            return true
        }

        /// The number of one more connection.
        func nextID() -> UInt64 { newest.wrappingAdd(1, ordering: .relaxed).newValue }

        /// Admits no more, and names those that are open.
        func startClosing() -> [any Channel] {
            state.withLock { state in
                state.isClosing = true
                return Array(state.open.values)
            }
        }
    }

    private let listener: any Channel
    private let connections: Connections

    private init(listener: any Channel, connections: Connections) {
        self.listener = listener
        self.connections = connections
    }

    /// The port that is bound, of use when 0 was asked for.
    var port: Int { listener.localAddress?.port ?? 0 }

    /// Binds the listener and serves.
    ///
    /// - Parameters:
    ///   - port: 0 takes a free one.
    ///   - service: answers every call within its own deadlines, and applies the writes that one thread hands over in
    ///     the order in which they were handed over, or as if concurrent where the keys differ.
    ///   - connectionsMax: one more is told so and closed.
    ///   - diagnostics: told when connections can't be accepted.
    /// - Throws: `CommandError` with a sentence that names the address, when it can't be bound.
    static func start(
        host: String, port: Int, group: any EventLoopGroup, service: any KeyValueService,
        status: any NodeStatusService, connectionsMax: Int = RESPLimits.connectionsMax,
        diagnostics: Diagnostics = Diagnostics()
    ) async throws -> RESPServer {
        let connections = Connections(most: connectionsMax)
        var mailboxes: [ObjectIdentifier: CompletionMailbox] = [:]
        for loop in group.makeIterator() {
            mailboxes[ObjectIdentifier(loop)] = CompletionMailbox(eventLoop: loop)
        }
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer {
                AcceptPause.install(on: $0, listener: "RESP", diagnostics: diagnostics)
            }
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(
                .writeBufferWaterMark,
                value: .init(low: RESPLimits.outputBytesMax / 4, high: RESPLimits.outputBytesMax)
            )
            .childChannelInitializer { [mailboxes] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard connections.admit(channel) else {
                        let refusal = LastWords("-ERR max number of clients reached\r\n")
                        return try channel.pipeline.syncOperations.addHandler(refusal)
                    }
                    guard let mailbox = mailboxes[ObjectIdentifier(channel.eventLoop)] else {
                        preconditionFailure("a connection was put on a loop outside the listener's group")
                    }
                    try channel.pipeline.syncOperations.addHandler(
                        RESPConnection(service: service, status: status, mailbox: mailbox, id: connections.nextID()))
                }
            }
        do {
            let listener = try await bootstrap.bind(host: host, port: port).get()
            return RESPServer(listener: listener, connections: connections)
        } catch {
            throw ListenAddress(host: host, port: port).unusable(by: "RESP", because: error, option: "--resp")
        }
    }

    /// Stops listening, lets every connection answer what is in flight, and closes them; those that are not done after
    /// `RESPLimits.shutdownMillisecondsMax` are cut.
    func close() async {
        try? await listener.close().get()
        let open = connections.startClosing()
        for channel in open { channel.pipeline.fireUserInboundEventTriggered(RESPConnection.Drain()) }
        let cut = listener.eventLoop.scheduleTask(in: .milliseconds(RESPLimits.shutdownMillisecondsMax)) {
            for channel in open { channel.close(promise: nil) }
        }
        for channel in open { try? await channel.closeFuture.get() }
        cut.cancel()
    }
}

/// Says one thing to whoever connects and closes. A handler, because nothing leaves a connection before it is active.
final class LastWords: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let words: String

    init(_ words: String) {
        self.words = words
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: words))).whenComplete { _ in
            channel.close(promise: nil)
        }
        context.fireChannelActive()
    }
}
