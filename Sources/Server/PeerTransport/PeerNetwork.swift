// The connections of a node to its peers: for every address one task that connects, shakes hands over gRPC, and then keeps a
// channel of the chosen transport open until it breaks. A broken connection is reported to the host at once, as a hint that
// the peer may be dead, and built anew after a short random pause.
import Cluster
import GRPCCore
import GRPCNIOTransportHTTP2
import Logging
import NIOCore
import Raft
import StrataProtocol
import SwiftProtobuf
import Synchronization

final class PeerNetwork: PeerTransport {
    static let reconnectMilliseconds = 20...80
    static let refusedPause = Duration.seconds(1)
    /// Between two questions of a node that waits to be added.
    static let joiningPause = Duration.milliseconds(200)

    private let kind: PeerTransportKind
    private let group: any EventLoopGroup
    private let directory: PeerDirectory
    private let inbox: HostInbox
    private let logger: Logger
    private let channels = Mutex<[NodeID: any PeerChannel]>([:])
    private let connecting = Mutex<Set<ListenAddress>>([])
    /// Told when a formed cluster refuses this node, which can't heal by waiting.
    private let refused: @Sendable (String) -> Void

    init(
        kind: PeerTransportKind, directory: PeerDirectory, inbox: HostInbox, group: any EventLoopGroup, logger: Logger,
        refused: @escaping @Sendable (String) -> Void
    ) {
        self.kind = kind
        self.group = group
        self.directory = directory
        self.inbox = inbox
        self.logger = logger
        self.refused = refused
    }

    func send(_ messages: [UInt8], lane: PeerLane, to peer: NodeID) {
        channels.withLock { $0[peer] }?.push(messages, lane: lane)
    }

    func canReach(_ peer: NodeID) -> Bool { channels.withLock { $0[peer] != nil } }

    /// Batches dropped on the connections that are open.
    var dropped: UInt64 {
        channels.withLock { $0.values.reduce(0) { $0 + $1.dropped } }
    }

    /// Keeps connections to the given addresses, and to those of the members as they come and go, until cancelled.
    /// - Parameter named: of the given ones, the only ways to the members of these names.
    func run(addresses given: [ListenAddress], named: [String: ListenAddress]) async {
        await withDiscardingTaskGroup { group in
            for await _ in directory.changes() {
                for address in wanted(given, named) where claim(address) {
                    group.addTask {
                        await self.keepConnected(to: address) { self.wanted(given, named).contains(address) }
                        self.connecting.withLock { _ = $0.remove(address) }
                    }
                }
            }
        }
    }

    private func claim(_ address: ListenAddress) -> Bool {
        connecting.withLock { $0.insert(address).inserted }
    }

    /// The addresses that were given, and those that the membership adds. A given one may lead to a member by another
    /// way than its own address; who answers there is checked all the same.
    private func wanted(_ given: [ListenAddress], _ named: [String: ListenAddress]) -> [ListenAddress] {
        var addresses = given
        for (name, text) in directory.addresses where named[name] == nil && text != directory.member.address {
            if let address = try? ListenAddress(parsing: text), !addresses.contains(address) {
                addresses.append(address)
            }
        }
        return addresses
    }

    private func keepConnected(to address: ListenAddress, while isWanted: () -> Bool) async {
        var lastRefusal: String?
        while !Task.isCancelled, isWanted() {
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
        if kind == .tcp {
            let (member, tcpPort) = try await handshake(at: address)
            if tcpPort != 0 {
                let identity = Strata_V1_PeerIdentity(directory, .itself)
                let channel = try await TCPPeerChannel(
                    host: address.host, port: tcpPort, identity: identity, group: group)
                return try await serve(channel, to: member, at: address)
            }
        }
        try await withGRPCClient(transport: clientTransport(to: address)) { client in
            let peer = Strata_V1_Peer.Client(wrapping: client)
            let (member, _) = try await shakeHands(with: peer)
            let identity = Strata_V1_PeerIdentity(directory, .itself)
            try await withGRPCClient(transport: clientTransport(to: address)) { snapshotClient in
                let channel = GRPCPeerChannel(
                    peer: peer, snapshotPeer: Strata_V1_Peer.Client(wrapping: snapshotClient), identity: identity)
                try await serve(channel, to: member, at: address)
            }
        }
    }

    /// Runs a channel until it breaks; the host hears of its begin and of its end.
    private func serve(_ channel: any PeerChannel, to member: Member, at address: ListenAddress) async throws {
        guard claim(member.id, channel) else {
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
        try await channel.run()
    }

    private func clientTransport(to address: ListenAddress) throws -> HTTP2ClientTransport.Posix {
        try HTTP2ClientTransport.Posix(
            target: .dns(host: address.host, port: address.port), transportSecurity: .plaintext,
            config: .defaults { config in
                config.connection.flushCoalescing = nil
                config.backoff.initial = .milliseconds(20)
                config.backoff.max = .milliseconds(200)
            })
    }

    /// Shakes hands on a client of its own and returns as soon as that is done. The client ends by itself, and nobody waits
    /// for it: its shutdown may never end when its server dies in that moment.
    private func handshake(at address: ListenAddress) async throws -> (member: Member, tcpPort: Int) {
        let answer = HandshakeAnswer()
        let task = Task.detached { [self] in
            do {
                try await withGRPCClient(transport: clientTransport(to: address)) { client in
                    answer.give(.success(try await shakeHands(with: Strata_V1_Peer.Client(wrapping: client))))
                }
            } catch {
                answer.give(.failure(error))
            }
        }
        return try await withTaskCancellationHandler {
            try await answer.wait()
        } onCancel: {
            task.cancel()
        }
    }

    /// Asks who is there until both belong to one formed cluster.
    private func shakeHands(
        with peer: Strata_V1_Peer.Client<HTTP2ClientTransport.Posix>
    ) async throws -> (member: Member, tcpPort: Int) {
        var options = CallOptions.defaults
        options.waitForReady = false
        options.timeout = .seconds(2)
        // Who the others are is said only to one that has shown who it is.
        var disclosure = PeerDisclosure.itself
        while true {
            let answer = try await peer.handshake(
                .with { $0.identity = Strata_V1_PeerIdentity(directory, disclosure) }, options: options)
            let view = answer.identity.view
            let wasFormed = view.clusterID != nil
            if let reason = answer.identity.versionRefusal ?? (answer.refusal.isEmpty ? nil : answer.refusal) {
                throw PeerRefusal(
                    reason: reason, isFinal: wasFormed && directory.cluster == nil || answer.removed)
            }
            if answer.identity.hasName {
                if view.member.id == directory.member.id, view.member.incarnation == directory.member.incarnation {
                    throw PeerRefusal(reason: "this node itself answers there", isFinal: false)
                }
                if let reason = directory.hear(view) {
                    throw PeerRefusal(reason: reason.why, isFinal: wasFormed && directory.cluster == nil)
                }
                if directory.cluster != nil, wasFormed { return (view.member, Int(answer.identity.tcpPort)) }
                disclosure = .everything
            }
            try await Task.sleep(for: directory.isJoining ? Self.joiningPause : .milliseconds(30))
        }
    }

    private func claim(_ id: NodeID, _ channel: any PeerChannel) -> Bool {
        channels.withLock { channels in
            guard channels[id] == nil else { return false }
            channels[id] = channel
            return true
        }
    }

    private func release(_ id: NodeID) {
        channels.withLock { channels in channels[id] = nil }
    }
}

/// A peer does not want this node, or the other way round.
struct PeerRefusal: Error, CustomStringConvertible {
    var reason: String
    /// A formed cluster has spoken to a node that has none: waiting can't help.
    var isFinal: Bool
    var description: String { reason }
}

/// The outcome of one handshake, given once and waited for once.
private final class HandshakeAnswer: Sendable {
    typealias Outcome = Result<(member: Member, tcpPort: Int), any Error>
    private enum State {
        case open
        case waiting(CheckedContinuation<Outcome, Never>)
        case given(Outcome)
        case done
    }
    private let state = Mutex(State.open)

    /// Later outcomes than the first are of no interest.
    func give(_ outcome: Outcome) {
        let continuation = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            switch state {
            case .open:
                state = .given(outcome)
                return nil
            case .waiting(let continuation):
                state = .done
                return continuation
            case .given, .done:
                return nil
            }
        }
        continuation?.resume(returning: outcome)
    }

    func wait() async throws -> (member: Member, tcpPort: Int) {
        let outcome = await withCheckedContinuation { continuation in
            let given = state.withLock { state -> Outcome? in
                if case .given(let outcome) = state {
                    state = .done
                    return outcome
                }
                state = .waiting(continuation)
                return nil
            }
            if let given { continuation.resume(returning: given) }
        }
        return try outcome.get()
    }
}
