// The receiving side of the TCP transport. Its port, chosen by the kernel unless it was given, is told to peers in the handshake. A connection
// says who it is in its first frame and is checked like a handshake; a stranger is cut off and logged.
import Cluster
import Logging
import NIOCore
import NIOPosix
import Raft
import ServiceLifecycle
import StrataProtocol
import SwiftProtobuf

struct TCPPeerListener: Service {
    private let channel: any Channel

    /// The bound port.
    var port: Int { channel.localAddress?.port ?? 0 }

    /// Binds on the host of the node's gRPC address.
    init(
        host: String, port: Int, directory: PeerDirectory, inbox: HostInbox, group: any EventLoopGroup, logger: Logger
    ) async throws {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 4096, initial: 65_536, maximum: 1_048_576)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        PeerFrameReceiver(directory: directory, inbox: inbox, logger: logger))
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
    }
}

/// Frames of one incoming connection on their way to the host. Lives on its event loop.
private final class PeerFrameReceiver: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let directory: PeerDirectory
    private let inbox: HostInbox
    private let logger: Logger
    private var cutter = PeerFrameCutter()
    private var sender: (id: NodeID, lane: PeerLane)?

    init(directory: PeerDirectory, inbox: HostInbox, logger: Logger) {
        self.directory = directory
        self.inbox = inbox
        self.logger = logger
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        var refusal: String?
        do throws(PeerFrameCutter.Failure) {
            try cutter.feed(&bytes) { frame in
                guard refusal == nil else { return }
                if let sender {
                    inbox.post(.received(from: sender.id, messages: frame), lane: sender.lane)
                } else {
                    refusal = admit(frame)
                }
            }
        } catch {
            refusal = "\(error)"
        }
        guard let refusal else { return }
        let from = context.remoteAddress.map { "\($0)" } ?? "?"
        logger.warning("refused a peer's connection", metadata: ["from": "\(from)", "why": "\(refusal)"])
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let sender { inbox.post(.disconnected(sender.id), lane: .control) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// Reads the hello. Returns why its sender may not talk.
    private func admit(_ hello: [UInt8]) -> String? {
        guard let lane = hello.first.flatMap(PeerLane.init(rawValue:)),
            let identity = try? Strata_V1_PeerIdentity(serializedBytes: Array(hello.dropFirst()))
        else { return "it does not speak the peer protocol" }
        if let refusal = identity.formRefusal ?? directory.hear(identity.view) { return refusal }
        sender = (identity.view.member.id, lane)
        return nil
    }
}
