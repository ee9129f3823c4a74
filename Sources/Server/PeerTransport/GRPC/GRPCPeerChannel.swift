// A peer over gRPC: a client-streaming call for each lane, which lasts as long as the connection. Snapshots have a
// connection of their own, so that a vote never stands behind a file in a socket.
import Cluster
import Foundation
import GRPCCore
import NIOCore
import NIOPosix
import StrataProtocol
import SwiftProtobuf

final class GRPCPeerChannel<Transport: ClientTransport>: PeerChannel {
    private let control = LaneQueue(.control)
    private let bulk = LaneQueue(.bulk)
    private let snapshot = LaneQueue(.snapshot)
    private let peer: Strata_V1_Peer.Client<Transport>
    private let snapshotPeer: Strata_V1_Peer.Client<Transport>
    private let identity: Strata_V1_PeerIdentity
    /// From here snapshots are queued. Whoever wakes a stream may start a thread of the pool that serves clients, and
    /// Linux would hand it the low priority of the thread that reads snapshots.
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// - Parameter snapshotPeer: a client of its own to the same node.
    init(
        peer: Strata_V1_Peer.Client<Transport>, snapshotPeer: Strata_V1_Peer.Client<Transport>,
        identity: Strata_V1_PeerIdentity
    ) {
        self.peer = peer
        self.snapshotPeer = snapshotPeer
        self.identity = identity
    }

    func push(_ batch: PeerBatch, lane: PeerLane) {
        switch lane {
        case .control: control.push(batch)
        case .bulk: bulk.push(batch)
        case .snapshot: loop.execute { [snapshot] in snapshot.push(batch) }
        }
    }

    func isStuck() async -> Bool { false }

    var dropped: UInt64 { control.dropped + bulk.dropped + snapshot.dropped }

    func run() async throws {
        let (peer, snapshotPeer) = (peer, snapshotPeer)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await self.carry(self.control) { try await peer.requestVote(options: $0, requestProducer: $1) }
            }
            group.addTask {
                try await self.carry(self.bulk) { try await peer.appendEntries(options: $0, requestProducer: $1) }
            }
            group.addTask {
                try await self.carry(self.snapshot) {
                    try await snapshotPeer.installSnapshot(options: $0, requestProducer: $1)
                }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    private typealias Producer = @Sendable (RPCWriter<Strata_V1_PeerBatch>) async throws -> Void

    private func carry(
        _ queue: LaneQueue, by call: (CallOptions, @escaping Producer) async throws -> Strata_V1_PeerSummary
    ) async throws {
        var options = CallOptions.defaults
        options.waitForReady = false
        let identity = identity
        _ = try await call(options) { writer in
            try await writer.write(.with { $0.identity = identity })
            for await _ in queue.arrivals {
                for batch in queue.take(batchBytesMax: PeerLimits.batchBytesMax) {
                    try await writer.write(.with { $0.messages = Data(batch) })
                }
            }
        }
    }
}
