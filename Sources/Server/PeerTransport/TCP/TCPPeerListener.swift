// The receiving side of the TCP transport. Its port, chosen by the kernel unless it was given, is told to peers in the
// handshake. A connection says who it is in its first frame and is checked like a handshake; a stranger is cut off and
// logged.
import Cluster
import Logging
import NIOCore
import NIOPosix
import Raft
import ServiceLifecycle
import StrataClient
import StrataProtocol
import SwiftProtobuf

struct TCPPeerListener: Service {
    private let channel: any Channel
    private let snapshots: SnapshotReceivers

    /// The bound port.
    var port: Int { channel.localAddress?.port ?? 0 }

    /// Binds on the host of the node's gRPC address.
    init(
        host: String, port: Int, directory: PeerDirectory, inbox: HostInbox, group: any EventLoopGroup, logger: Logger
    ) async throws {
        let snapshots = SnapshotReceivers(inbox: inbox, logger: logger)
        self.snapshots = snapshots
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer {
                AcceptPause.install(on: $0, listener: "peer", diagnostics: inbox.diagnostics)
            }
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 4096, initial: 65_536, maximum: 1_048_576)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    PeerNetwork.liveness.apply(to: channel)
                    try channel.pipeline.syncOperations.addHandler(
                        PeerFrameReceiver(
                            directory: directory, inbox: inbox, snapshots: snapshots, logger: logger))
                }
            }
        do {
            channel = try await bootstrap.bind(host: host, port: port).get()
        } catch {
            throw ListenAddress(host: host, port: port).unusable(by: "peer", because: error, option: "--peer-port")
        }
    }

    func run() async throws {
        try? await gracefulShutdown()
        try? await channel.close()
        snapshots.stop()
    }
}

/// Frames of one incoming connection on their way to the host. Lives on its event loop; a connection of the snapshot
/// lane leaves it after the hello.
final class PeerFrameReceiver: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let directory: PeerDirectory
    private let inbox: HostInbox
    private let snapshots: SnapshotReceivers
    private let logger: Logger
    private var cutter = PeerFrameCutter(frameBytesMax: PeerLimits.helloBytesMax)
    private var connection: IncomingConnection?
    private var hasLeft = false
    /// Ends a connection that does not say who calls.
    private var helloDeadline: Scheduled<Void>?

    init(directory: PeerDirectory, inbox: HostInbox, snapshots: SnapshotReceivers, logger: Logger) {
        self.directory = directory
        self.inbox = inbox
        self.snapshots = snapshots
        self.logger = logger
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        helloDeadline = context.eventLoop.scheduleTask(in: .seconds(PeerLimits.helloSecondsMax)) {
            channel.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        helloDeadline?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        do {
            while !hasLeft, let frame = try cutter.next(&bytes) {
                guard let connection else {
                    let connection = try admit(frame, context.channel)
                    if connection.lane == .snapshot {
                        hasLeft = true
                        snapshots.receive(
                            from: connection.peer, over: try FrameSocket.take(from: context.channel), rest: bytes)
                    }
                    continue
                }
                connection.note()
                inbox.post(.received(from: connection.peer, messages: frame), lane: connection.lane)
            }
        } catch {
            let from = context.remoteAddress.map { "\($0)" } ?? "?"
            logger.warning("refused a peer's connection", metadata: ["from": "\(from)", "why": "\(error)"])
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let connection, !hasLeft, connection.end() { inbox.post(.disconnected(connection.peer), lane: .control) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// Reads the hello. Throws when its sender may not talk.
    private func admit(_ hello: [UInt8], _ channel: any Channel) throws(Refusal) -> IncomingConnection {
        guard let lane = hello.first.flatMap(PeerLane.init(rawValue:)),
            let identity = try? Strata_V1_PeerIdentity(serializedBytes: Array(hello.dropFirst()))
        else { throw Refusal(description: "it does not speak the peer protocol") }
        if let reason = identity.formRefusal ?? directory.hear(identity.view) {
            throw Refusal(description: reason.why)
        }
        let admitted = directory.arrivals.begin(from: identity.view.member.id, lane: lane) {
            channel.close(promise: nil)
        }
        connection = admitted
        cutter.frameBytesMax = PeerLimits.frameBytesMax
        helloDeadline?.cancel()
        return admitted
    }

    private struct Refusal: Error, CustomStringConvertible {
        var description: String
    }
}
