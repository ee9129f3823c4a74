// The sending side of the TCP transport: one connection for each lane. A batch is written from the host's thread
// straight into the connection's event loop; nothing else stands between. The snapshot lane leaves its event loop after
// the hello; that its peer has closed it shows at the next write, the other lanes show it at once.
import Cluster
import Glibc
import NIOCore
import NIOPosix
import StrataClient
import StrataProtocol
import SwiftProtobuf
import Synchronization

final class TCPPeerChannel: PeerChannel {
    /// The lanes that stay on event loops.
    private let lanes: [any Channel]
    private let control: ControlLane
    private let waitingBulk = Atomic<Int>(0)
    private let snapshots: FrameSender
    private let snapshotsEnded: EventLoopFuture<Void>
    private let droppedCount = Atomic<UInt64>(0)

    /// Connects all lanes and says who calls.
    init(
        host: String, port: Int, identity: Strata_V1_PeerIdentity, group: any EventLoopGroup, liveness: SocketLiveness
    ) async throws {
        var lanes: [any Channel] = []
        do {
            for lane in PeerLane.allCases {
                let channel = try await ClientBootstrap(group: group)
                    .connectTimeout(liveness.connectTimeout)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture { liveness.apply(to: channel) }
                    }
                    .connect(host: host, port: port).get()
                lanes.append(channel)
                let hello = try [lane.rawValue] + identity.serializedBytes()
                try await channel.writeAndFlush(PeerFrames.frame(hello, allocator: channel.allocator))
            }
            let channel = lanes[Int(PeerLane.snapshot.rawValue)]
            let socket = try await channel.eventLoop.submit { try FrameSocket.take(from: channel) }.get()
            let ended = lanes[0].eventLoop.makePromise(of: Void.self)
            snapshotsEnded = ended.futureResult
            snapshots = FrameSender(
                socket, name: "strata-send", waitingBytesMax: PeerLimits.waitingBytesMax(.snapshot)
            ) { ended.succeed() }
        } catch {
            for channel in lanes { channel.close(promise: nil) }
            throw error
        }
        lanes.remove(at: Int(PeerLane.snapshot.rawValue))
        self.lanes = lanes
        control = ControlLane(lanes[Int(PeerLane.control.rawValue)])
    }

    deinit {
        // Also when it never ran: another connection to the same node was first.
        close()
    }

    func push(_ batch: PeerBatch, lane: PeerLane) {
        switch lane {
        case .control: control.push(batch)
        case .bulk: pushBulk(batch)
        case .snapshot: snapshots.push(batch.joined)
        }
    }

    private func pushBulk(_ batch: PeerBatch) {
        let channel = lanes[Int(PeerLane.bulk.rawValue)]
        let count = batch.byteCount
        let waiting = waitingBulk.load(ordering: .relaxed)
        guard waiting + count <= PeerLimits.waitingBytesMax(.bulk), channel.isActive else {
            droppedCount.wrappingAdd(1, ordering: .relaxed)
            return
        }
        waitingBulk.wrappingAdd(count, ordering: .relaxed)
        // Copied there: the host's thread has other things to do.
        channel.eventLoop.execute { [self] in
            channel.writeAndFlush(PeerFrames.frame(batch, allocator: channel.allocator)).whenComplete { [self] _ in
                waitingBulk.wrappingSubtract(count, ordering: .relaxed)
            }
        }
    }

    var dropped: UInt64 { droppedCount.load(ordering: .relaxed) + control.dropped + snapshots.dropped }

    func isStuck() async -> Bool {
        for lane in lanes {
            guard let options = lane as? any SocketOptionProvider else { continue }
            // The first bytes of Linux's `tcp_info`: state, congestion state, retransmissions of what is not
            // acknowledged, …
            let info: UInt64? = try? await options.unsafeGetSocketOption(
                level: SocketOptionLevel(IPPROTO_TCP), name: SocketOptionName(TCP_INFO)
            ).get()
            if let info, info.littleEndian >> 16 & 0xff >= Self.stuckRetransmissions { return true }
        }
        return false
    }

    /// One or two may be a line that loses packets.
    private static let stuckRetransmissions: UInt64 = 3

    func run() async throws {
        let ends = lanes.map(\.closeFuture) + [snapshotsEnded]
        await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                for end in ends { group.addTask { try? await end.get() } }
                await group.next()
                close()
            }
        } onCancel: {
            close()
        }
    }

    private func close() {
        for channel in lanes { channel.close(promise: nil) }
        snapshots.stop()
    }
}
