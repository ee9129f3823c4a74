// The sending side of the TCP transport: one connection for each lane. A batch is written from the host's thread straight into
// the connection's event loop; nothing else stands between.
import Cluster
import NIOCore
import NIOPosix
import StrataProtocol
import SwiftProtobuf
import Synchronization

final class TCPPeerChannel: PeerChannel {
    static let connectTimeout = TimeAmount.seconds(1)

    /// Snapshots leave on a loop of their own, so that no request queues behind a piece of a file.
    private static let bulkGroup: any EventLoopGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    private let lanes: [any Channel]
    private let waiting: [WaitingBytes]
    private let droppedCount = Atomic<UInt64>(0)

    private final class WaitingBytes: Sendable {
        let count = Atomic<Int>(0)
    }

    /// Connects both lanes and says who calls.
    init(host: String, port: Int, identity: Strata_V1_PeerIdentity, group: any EventLoopGroup) async throws {
        var lanes: [any Channel] = []
        do {
            for lane in PeerLane.allCases {
                let channel = try await ClientBootstrap(group: lane == .snapshot ? Self.bulkGroup : group)
                    .connectTimeout(Self.connectTimeout)
                    .connect(host: host, port: port).get()
                lanes.append(channel)
                let hello = try [lane.rawValue] + identity.serializedBytes()
                try await channel.writeAndFlush(PeerFrames.frame(hello, allocator: channel.allocator))
            }
        } catch {
            for channel in lanes { channel.close(promise: nil) }
            throw error
        }
        self.lanes = lanes
        waiting = lanes.map { _ in WaitingBytes() }
    }

    deinit {
        // Also when it never ran: another connection to the same node was first.
        for channel in lanes { channel.close(promise: nil) }
    }

    func push(_ batch: [UInt8], lane: PeerLane) {
        let number = Int(lane.rawValue)
        let channel = lanes[number]
        let bytes = waiting[number]
        let count = batch.count
        guard bytes.count.load(ordering: .relaxed) + count <= PeerLimits.waitingBytesMax(lane), channel.isActive else {
            droppedCount.wrappingAdd(1, ordering: .relaxed)
            return
        }
        bytes.count.wrappingAdd(count, ordering: .relaxed)
        let written = channel.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { _ in bytes.count.wrappingSubtract(count, ordering: .relaxed) }
        guard lane == .snapshot else {
            channel.writeAndFlush(PeerFrames.frame(batch, allocator: channel.allocator), promise: written)
            return
        }
        // The host's thread has better things to do than to copy pieces of files.
        channel.eventLoop.execute {
            channel.writeAndFlush(PeerFrames.frame(batch, allocator: channel.allocator), promise: written)
        }
    }

    var dropped: UInt64 { droppedCount.load(ordering: .relaxed) }

    func run() async throws {
        let lanes = lanes
        await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                for channel in lanes { group.addTask { try? await channel.closeFuture.get() } }
                await group.next()
                for channel in lanes { channel.close(promise: nil) }
            }
        } onCancel: {
            for channel in lanes { channel.close(promise: nil) }
        }
    }
}
