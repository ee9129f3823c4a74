// The sending side of the gRPC peer transport: for every address of a peer one task that connects, shakes hands, and keeps a
// control and a bulk stream open until either breaks. A broken connection is reported to the host at once, as a hint that
// the peer may be dead, and built anew with a short random pause.
import Cluster
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import Logging
import Raft
import StrataProtocol
import SwiftProtobuf
import Synchronization

final class GRPCPeerTransport: PeerTransport {
    /// Bytes that may wait for one peer; a slow peer loses what exceeds it and catches up later.
    static let bulkBytesMax = 64 * 1024 * 1024
    static let controlBytesMax = 4 * 1024 * 1024
    /// Bytes joined into one gRPC message.
    static let batchBytesMax = 4 * 1024 * 1024
    static let reconnectMilliseconds = 20...80
    static let refusedPause = Duration.seconds(1)

    private struct Peer {
        var control = LaneQueue(bytesMax: GRPCPeerTransport.controlBytesMax)
        var bulk = LaneQueue(bytesMax: GRPCPeerTransport.bulkBytesMax)
        var isConnected = false
    }

    private let directory: PeerDirectory
    private let inbox: HostInbox
    private let logger: Logger
    private let peers = Mutex<[NodeID: Peer]>([:])
    /// Told when a formed cluster refuses this node, which can't heal by waiting.
    private let refused: @Sendable (String) -> Void

    init(
        directory: PeerDirectory, inbox: HostInbox, logger: Logger, refused: @escaping @Sendable (String) -> Void
    ) {
        self.directory = directory
        self.inbox = inbox
        self.logger = logger
        self.refused = refused
    }

    func send(_ messages: [UInt8], lane: PeerLane, to peer: NodeID) {
        guard let found = peers.withLock({ $0[peer] }) else { return }
        (lane == .control ? found.control : found.bulk).push(messages)
    }

    /// Batches dropped so far, over all peers.
    var dropped: UInt64 {
        peers.withLock { peers in
            peers.values.reduce(0) { $0 + $1.control.dropped + $1.bulk.dropped }
        }
    }

    /// Keeps connections to all addresses until cancelled.
    func run(addresses: [ListenAddress]) async {
        await withDiscardingTaskGroup { group in
            for address in addresses {
                group.addTask { await self.keepConnected(to: address) }
            }
            group.addTask { await sleepUntilCancelled() }
        }
    }

    private func keepConnected(to address: ListenAddress) async {
        var lastRefusal: String?
        while !Task.isCancelled {
            do {
                try await connect(to: address)
                lastRefusal = nil
            } catch let refusal as PeerRefusal {
                if refusal.reason != lastRefusal {
                    logger.warning("a peer refuses this node", metadata: ["peer": "\(address)", "why": "\(refusal)"])
                }
                lastRefusal = refusal.reason
                if refusal.isFinal { refused("\(address) refuses this node: \(refusal.reason)") }
                try? await Task.sleep(for: Self.refusedPause)
            } catch {
                logger.debug("connection to a peer ended", metadata: ["peer": "\(address)", "why": "\(error)"])
            }
            try? await Task.sleep(for: .milliseconds(Int.random(in: Self.reconnectMilliseconds)))
        }
    }

    private func connect(to address: ListenAddress) async throws {
        let transport = try HTTP2ClientTransport.Posix(
            target: .dns(host: address.host, port: address.port), transportSecurity: .plaintext,
            config: .defaults { config in
                config.connection.flushCoalescing = nil
                config.backoff.initial = .milliseconds(20)
                config.backoff.max = .milliseconds(200)
            })
        try await withGRPCClient(transport: transport) { client in
            let peer = Strata_V1_Peer.Client(wrapping: client)
            let member = try await shakeHands(with: peer)
            guard let queues = claim(member.id) else {
                // Another address of the same node has the connection.
                try await Task.sleep(for: Self.refusedPause)
                return
            }
            logger.info("connected to a peer", metadata: ["peer": "\(member.name)", "address": "\(address)"])
            inbox.post(.connected(member.id), lane: .control)
            defer {
                release(member.id)
                inbox.post(.disconnected(member.id), lane: .control)
                logger.info("lost a peer", metadata: ["peer": "\(member.name)", "address": "\(address)"])
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.carry(queues.control, by: peer.requestVote) }
                group.addTask { try await self.carry(queues.bulk, by: peer.appendEntries) }
                try await group.next()
                group.cancelAll()
            }
        }
    }

    /// Asks who is there until both belong to one formed cluster.
    private func shakeHands(
        with peer: Strata_V1_Peer.Client<HTTP2ClientTransport.Posix>
    ) async throws -> Member {
        var options = CallOptions.defaults
        options.waitForReady = false
        options.timeout = .seconds(2)
        while true {
            let answer = try await peer.handshake(
                .with { $0.identity = Strata_V1_PeerIdentity(directory.view) }, options: options)
            let view = answer.identity.view
            let wasFormed = view.clusterID != nil
            if let reason = answer.identity.formRefusal ?? (answer.refusal.isEmpty ? nil : answer.refusal) {
                throw PeerRefusal(reason: reason, isFinal: wasFormed && directory.cluster == nil)
            }
            if let reason = directory.hear(view) {
                throw PeerRefusal(reason: reason, isFinal: wasFormed && directory.cluster == nil)
            }
            if directory.cluster != nil, wasFormed { return view.member }
            try await Task.sleep(for: .milliseconds(30))
        }
    }

    private typealias Call =
        @Sendable (
            Metadata, CallOptions, @escaping @Sendable (RPCWriter<Strata_V1_PeerBatch>) async throws -> Void,
            @escaping @Sendable (ClientResponse<Strata_V1_PeerSummary>) async throws -> Strata_V1_PeerSummary
        ) async throws -> Strata_V1_PeerSummary

    /// Sends what comes into a queue over one client-streaming call, which lasts as long as the connection.
    private func carry(_ queue: LaneQueue, by call: Call) async throws {
        var options = CallOptions.defaults
        options.waitForReady = false
        let identity = Strata_V1_PeerIdentity(directory.view)
        _ = try await call([:], options) { writer in
            try await writer.write(.with { $0.identity = identity })
            for await _ in queue.arrivals {
                for batch in queue.take(batchBytesMax: Self.batchBytesMax) {
                    try await writer.write(.with { $0.messages = Data(batch) })
                }
            }
        } _: { response in
            try response.message
        }
    }

    private func claim(_ id: NodeID) -> (control: LaneQueue, bulk: LaneQueue)? {
        peers.withLock { peers in
            guard peers[id]?.isConnected != true else { return nil }
            // Fresh queues: an AsyncStream whose consumer was cancelled is finished for good.
            var peer = Peer()
            peer.isConnected = true
            peer.control.setOpen(true)
            peer.bulk.setOpen(true)
            peers[id] = peer
            return (peer.control, peer.bulk)
        }
    }

    private func release(_ id: NodeID) {
        peers.withLock { peers in
            peers[id]?.isConnected = false
            peers[id]?.control.setOpen(false)
            peers[id]?.bulk.setOpen(false)
        }
    }
}

/// A peer does not want this node, or the other way round.
struct PeerRefusal: Error, CustomStringConvertible {
    var reason: String
    /// A formed cluster has spoken to a node that has none: waiting can't help.
    var isFinal: Bool
    var description: String { reason }
}
