// The connections of a node to its peers: for every address one task that connects, shakes hands over gRPC, and then
// keeps a channel of the chosen transport open until it breaks. A broken connection is reported to the host at once, as
// a hint that the peer may be dead, and built anew after a short random pause. A connection on which nothing is heard
// any more is kept, and a new one dialled beside it until one of them works: a way that heals must not wait for the
// timers of the old one.
import Cluster
import GRPCCore
import GRPCNIOTransportHTTP2
import Logging
import NIOCore
import Raft
import StrataClient
import StrataProtocol
import SwiftProtobuf
import Synchronization

final class PeerNetwork: PeerTransport {
    static let reconnectMilliseconds = 20...80
    static let refusedPause = Duration.seconds(1)
    /// How often a connection is looked at, and how many such times without anything from its peer make it silent: some
    /// heartbeats, whatever was set for these.
    static let silenceCheck = Duration.milliseconds(100)
    static let silentChecks = 5
    /// A peer that takes connections and says nothing (it may be starting) is dialled less and less often.
    static let silentChecksMax = 80
    /// How long, and how often meanwhile, a silent connection is looked at once more when its peer has shaken hands
    /// anew.
    static let graceLook = Duration.milliseconds(10)
    static let graceLooks = 20
    /// Three of these and a pause fit into a second after a cut has healed.
    static let liveness = SocketLiveness(connectTimeout: .milliseconds(500), unacknowledgedMax: .seconds(10))

    private struct Connection {
        var link: PeerLink
        var channel: any PeerChannel
    }

    private let kind: PeerTransportKind
    private let group: any EventLoopGroup
    private let directory: PeerDirectory
    private let handshake: PeerHandshake
    private let inbox: HostInbox
    private let logger: Logger
    private let connections = Mutex<[NodeID: Connection]>([:])
    private let connecting = Mutex<Set<ListenAddress>>([])
    private let sends = Atomic<UInt64>(0)
    private let droppedBefore = Atomic<UInt64>(0)
    /// Told when a formed cluster refuses this node, which can't heal by waiting.
    private let refused: @Sendable (String) -> Void

    init(
        kind: PeerTransportKind, directory: PeerDirectory, inbox: HostInbox, group: any EventLoopGroup, logger: Logger,
        refused: @escaping @Sendable (String) -> Void
    ) {
        self.kind = kind
        self.group = group
        self.directory = directory
        handshake = PeerHandshake(directory: directory, liveness: Self.liveness)
        self.inbox = inbox
        self.logger = logger
        self.refused = refused
    }

    func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID) {
        connections.withLock { $0[peer]?.channel }?.push(messages, lane: lane)
        if sends.wrappingAdd(1, ordering: .relaxed).newValue.isMultiple(of: Self.sendsPerLook) { reportDrops() }
    }

    /// Batches sent between two looks at what was dropped: asking each time would cost every send a lock.
    private static let sendsPerLook: UInt64 = 64

    private func reportDrops() {
        let now = dropped
        let before = droppedBefore.exchange(now, ordering: .relaxed)
        guard now > before else { return }
        inbox.diagnostics.report(
            .droppedPeerMessage, "queues to peers were full: \(now - before) batches of messages were dropped")
    }

    func canReach(_ peer: NodeID) -> Bool { connections.withLock { $0[peer] != nil } }

    /// Batches dropped on the connections that are open.
    var dropped: UInt64 {
        connections.withLock { $0.values.reduce(0) { $0 + $1.channel.dropped } }
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

    // MARK: One address

    private func keepConnected(to address: ListenAddress, while isWanted: () -> Bool) async {
        var lastRefusal: String?
        var isSure = true
        while !Task.isCancelled, isWanted() {
            let failure = await follow(dial(address, isSure: isSure), to: address)
            isSure = failure == nil
            if let refusal = failure as? PeerRefusal {
                if refusal.reason != lastRefusal {
                    logger.warning("a peer refuses this node", metadata: ["peer": "\(address)", "why": "\(refusal)"])
                }
                lastRefusal = refusal.reason
                if refusal.isFinal { refused("\(address) refuses this node: \(refusal.reason)") }
                try? await Task.sleep(for: Self.refusedPause)
            } else if let failure {
                logger.debug("connection to a peer ended", metadata: ["peer": "\(address)", "why": "\(failure)"])
            } else {
                lastRefusal = nil
            }
            try? await Task.sleep(for: .milliseconds(Int.random(in: Self.reconnectMilliseconds)))
        }
    }

    /// - Parameter isSure: the last attempt did not fail; after one that did, whether anybody is there is asked first.
    private func dial(_ address: ListenAddress, isSure: Bool) -> PeerLink {
        let link = PeerLink()
        link.start { [self] link in
            if !isSure { try await handshake.probe(address, on: group) }
            try await connect(to: address, as: link)
        }
        return link
    }

    /// Stays with a link, and with those that take its place, until the last one has ended.
    /// - Returns: why it ended.
    private func follow(_ first: PeerLink, to address: ListenAddress) async -> (any Error)? {
        var link = first
        while true {
            let outcome = await next(of: link, at: address)
            link.cancel()
            switch outcome {
            case .ended(let failure): return failure
            case .replaced(let newer): link = newer
            }
        }
    }

    private enum Outcome {
        case ended((any Error)?)
        case replaced(by: PeerLink)
    }

    private func next(of link: PeerLink, at address: ListenAddress) async -> Outcome {
        for await event in link.events {
            switch event {
            case .established, .heard: break
            case .silent: if let newer = await dialBeside(link, at: address) { return .replaced(by: newer) }
            case .ended(let failure): return .ended(failure)
            }
        }
        // Cancelled.
        return .ended(nil)
    }

    /// Tries to connect anew for as long as nothing is heard on `link`.
    private func dialBeside(_ link: PeerLink, at address: ListenAddress) async -> PeerLink? {
        while link.isSilent, !Task.isCancelled {
            let newer = dial(address, isSure: false)
            var events = newer.events.makeAsyncIterator()
            if case .established = await events.next() { return newer }
            newer.cancel()
            try? await Task.sleep(for: .milliseconds(Int.random(in: Self.reconnectMilliseconds)))
        }
        return nil
    }

    private func connect(to address: ListenAddress, as link: PeerLink) async throws {
        if kind == .tcp {
            let (member, tcpPort) = try await handshake.shakeHands(at: address)
            if tcpPort != 0 {
                guard try await mayReplaceConnection(to: member.id) else { return }
                let identity = Strata_V1_PeerIdentity(directory, .itself)
                let channel = try await TCPPeerChannel(
                    host: address.host, port: tcpPort, identity: identity, group: group, liveness: Self.liveness)
                return try await serve(channel, to: member, at: address, as: link)
            }
        }
        try await withGRPCClient(transport: handshake.clientTransport(to: address)) { client in
            let peer = Strata_V1_Peer.Client(wrapping: client)
            let (member, _) = try await handshake.shakeHands(with: peer)
            guard try await mayReplaceConnection(to: member.id) else { return }
            let identity = Strata_V1_PeerIdentity(directory, .itself)
            try await withGRPCClient(transport: handshake.clientTransport(to: address)) { snapshotClient in
                let channel = GRPCPeerChannel(
                    peer: peer, snapshotPeer: Strata_V1_Peer.Client(wrapping: snapshotClient), identity: identity)
                try await serve(channel, to: member, at: address, as: link)
            }
        }
    }

    /// Whether a connection beside the one that is silent is still wanted now that the peer has shaken hands. A peer
    /// that stood still answers on the old connection too, within moments, and what is under way there must not be sent
    /// again.
    private func mayReplaceConnection(to id: NodeID) async throws -> Bool {
        guard let current = connections.withLock({ $0[id] }), current.link.isSilent else { return true }
        if await current.channel.isStuck() { return true }
        let arrivals = directory.arrivals.counter(of: id)
        let heard = arrivals.value
        for _ in 0..<Self.graceLooks {
            try await Task.sleep(for: Self.graceLook)
            if arrivals.value != heard { return false }
        }
        return true
    }

    // MARK: One peer

    /// Runs a channel until it breaks or another takes its place; the host hears of its begin and of its end.
    private func serve(
        _ channel: any PeerChannel, to member: Member, at address: ListenAddress, as link: PeerLink
    ) async throws {
        guard claim(member.id, Connection(link: link, channel: channel)) else {
            // Another address of the same node has the connection.
            try await Task.sleep(for: Self.refusedPause)
            return
        }
        logger.info("connected to a peer", metadata: ["peer": "\(member.name)", "address": "\(address)"])
        inbox.post(.connected(member.id), lane: .control)
        link.tell(.established)
        defer {
            if release(member.id, link) {
                inbox.post(.disconnected(member.id), lane: .control)
                logger.info("lost a peer", metadata: ["peer": "\(member.name)", "address": "\(address)"])
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await channel.run() }
            group.addTask { try await self.listen(for: member.id, on: channel, link) }
            try await group.next()
            group.cancelAll()
        }
    }

    /// Says when nothing comes from a peer any more. Counts looks and no time: a process that stood still has heard
    /// nobody.
    private func listen(for peer: NodeID, on channel: any PeerChannel, _ link: PeerLink) async throws {
        let arrivals = directory.arrivals.counter(of: peer)
        var heard = arrivals.value
        var checks = 0
        let patience = silence.withLock { $0[peer] ?? fewestSilentChecks }
        while true {
            try await Task.sleep(for: Self.silenceCheck)
            let value = arrivals.value
            if value != heard {
                // After a cut the peer's own new connection may be the first that works, and says nothing of this one.
                if checks >= patience, await channel.isStuck() { continue }
                heard = value
                if checks >= patience { link.tell(.heard) }
                checks = 0
                silence.withLock { $0[peer] = nil }
            } else {
                checks += 1
                guard checks == patience else { continue }
                silence.withLock { $0[peer] = min(2 * patience, Self.silentChecksMax) }
                link.tell(.silent)
            }
        }
    }

    /// Longer where messages take longer: twice the time after which a leader is missed.
    private var fewestSilentChecks: Int {
        max(Self.silentChecks, Int(inbox.counters.lossMilliseconds.load(ordering: .relaxed) / 50))
    }

    /// Of peers that were silent on their last connection: looks after which they count as silent on the next.
    private let silence = Mutex<[NodeID: Int]>([:])

    /// Takes the place of no connection, or of one on which nothing is heard.
    private func claim(_ id: NodeID, _ connection: Connection) -> Bool {
        let (isOurs, replaced) = connections.withLock { connections -> (Bool, PeerLink?) in
            let current = connections[id]
            guard current?.link.isSilent ?? true else { return (false, nil) }
            connections[id] = connection
            return (true, current?.link)
        }
        if let replaced {
            // What was under way on it is lost.
            inbox.post(.disconnected(id), lane: .control)
            replaced.cancel()
        }
        return isOurs
    }

    /// False: another connection has taken the place.
    private func release(_ id: NodeID, _ link: PeerLink) -> Bool {
        connections.withLock { connections in
            guard connections[id]?.link === link else { return false }
            connections[id] = nil
            return true
        }
    }
}
