// Who this node is to its peers, and whom it lets in: the forming cluster at first, then the formed one, whose members
// come and go and move. Shared by both sides of the handshake, on every transport. Must never name the members to a
// caller that has not shown that it is one, or that it forms a cluster with this node.
import Cluster
import Raft
import Synchronization

/// Why a peer and this node don't belong together.
struct PeerRefusalReason: Hashable, Sendable {
    /// For this node's own log.
    var why: String
    /// For the other side: without names and ids, unless it belonged here once.
    var told: String
}

/// How much a node says of itself in a handshake.
enum PeerDisclosure: Hashable, Sendable {
    case nothing
    /// Its own name, incarnation, cluster and address: what a member must show to be let in.
    case itself
    /// The members too.
    case everything
}

final class PeerDirectory: Sendable {
    private enum Phase {
        case forming(Formation)
        case formed(FormedCluster)
    }
    private struct State {
        var phase: Phase
        var waiting: [AsyncStream<FormedCluster>.Continuation] = []
        /// Told whenever the members have changed.
        var watching: [AsyncStream<Void>.Continuation] = []
        /// Nodes that asked to be added, newest last.
        var applicants: [Member] = []
        /// Members that said in a handshake that they are reached elsewhere than the record has it, until it has.
        var moved: [NodeID: String] = [:]
    }

    /// More nodes than this don't wait to be added; the oldest is forgotten.
    static let applicantsMax = 64

    let member: Member
    let expected: Int
    /// This node waits to be added to a formed cluster.
    let isJoining: Bool
    /// Which all members share.
    let timing: PeerTiming
    /// What comes in from peers.
    let arrivals = PeerArrivals()
    private let state: Mutex<State>
    private let boundPort = Atomic<Int>(0)

    init(
        member: Member, expected: Int, isJoining: Bool = false, timing: PeerTiming = PeerTiming(),
        formed: FormedCluster?
    ) {
        self.timing = timing
        self.isJoining = isJoining
        self.member = member
        self.expected = expected
        let phase: Phase =
            formed.map { .formed($0) } ?? .forming(Formation(member: member, expected: expected, isJoining: isJoining))
        state = Mutex(State(phase: phase))
    }

    /// Port of the TCP transport's listener; 0 until it is bound.
    var tcpPort: Int {
        get { boundPort.load(ordering: .relaxed) }
        set { boundPort.store(newValue, ordering: .relaxed) }
    }

    /// What this node says of itself to whoever may hear that much; nil when that is nothing.
    func view(_ disclosure: PeerDisclosure) -> PeerView? {
        if disclosure == .nothing { return nil }
        var view = view
        if disclosure == .itself { (view.members, view.founders) = ([], []) }
        return view
    }

    /// What a caller may hear that was let in, or not: see ``hear(_:mayApply:)``.
    func disclosure(to caller: PeerView, isRefused: Bool) -> PeerDisclosure {
        if isRefused { return .nothing }
        switch state.withLock({ $0.phase }) {
        case .formed(let cluster): return cluster.refusal(of: caller) == nil ? .everything : .nothing
        case .forming:
            // A member of the cluster that this node waits for must recognise it.
            if caller.clusterID != nil { return .itself }
            return isJoining || caller.isJoining ? .nothing : .everything
        }
    }

    /// Where the other members are reached.
    var addresses: [(name: String, address: String)] {
        state.withLock { state in
            guard case .formed(let cluster) = state.phase else { return [] }
            return cluster.members.filter { $0.name != member.name }.map {
                ($0.name, state.moved[$0.id] ?? $0.address)
            }
        }
    }

    /// What this node says of itself.
    var view: PeerView {
        state.withLock { state -> PeerView in
            switch state.phase {
            case .forming(let formation):
                var view = PeerView(member: member, clusterID: nil, members: formation.known, expected: expected)
                view.isJoining = isJoining
                return view
            case .formed(let cluster):
                return PeerView(
                    member: member, clusterID: cluster.id, members: cluster.members, expected: expected,
                    founders: cluster.founders)
            }
        }
    }

    var cluster: FormedCluster? {
        state.withLock { state in
            if case .formed(let cluster) = state.phase { return cluster }
            return nil
        }
    }

    /// Takes newer members of the formed cluster; returns it when that changed something.
    func take(_ membership: ClusterMembership) -> FormedCluster? {
        let (cluster, watching) = state.withLock { state -> (FormedCluster?, [AsyncStream<Void>.Continuation]) in
            guard case .formed(var cluster) = state.phase, cluster.take(membership) else { return (nil, []) }
            state.phase = .formed(cluster)
            for member in cluster.members where state.moved[member.id] == member.address {
                state.moved[member.id] = nil
            }
            state.applicants.removeAll { applicant in cluster.members.contains { $0.id == applicant.id } }
            return (cluster, state.watching)
        }
        for continuation in watching { continuation.yield() }
        return cluster
    }

    /// Ticks now and whenever the members have changed.
    func changes() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        continuation.yield()
        state.withLock { $0.watching.append(continuation) }
        return stream
    }

    /// Nodes that wait to be added, by name.
    var applicants: [Member] {
        state.withLock { $0.applicants.sorted { $0.name < $1.name } }
    }

    /// Takes in what a peer says. Returns why the two don't belong together, nil when they do.
    /// - Parameter mayApply: a node that wants to be added is heard, though it is no member. For handshakes only.
    func hear(_ view: PeerView, mayApply: Bool = false) -> PeerRefusalReason? {
        let (refusal, watching, formed, waiting) = state.withLock { state in
            switch state.phase {
            case .formed(let cluster):
                let (refusal, isMoved) = Self.hear(view, mayApply: mayApply, cluster, &state)
                return (refusal, isMoved ? state.watching : [], FormedCluster?.none, Continuations())
            case .forming(var formation):
                let refusal = formation.hear(view).map {
                    PeerRefusalReason(why: $0, told: formation.told(view))
                }
                guard let cluster = formation.outcome else {
                    state.phase = .forming(formation)
                    return (refusal, [], nil, [])
                }
                state.phase = .formed(cluster)
                let waiting = state.waiting
                state.waiting = []
                return (refusal, state.watching, cluster, waiting)
            }
        }
        for continuation in watching { continuation.yield() }
        if let formed { for continuation in waiting { continuation.yield(formed) } }
        return refusal
    }

    private typealias Continuations = [AsyncStream<FormedCluster>.Continuation]

    /// What a formed cluster makes of a peer's words: a refusal, an applicant, or a member that may have moved.
    private static func hear(
        _ view: PeerView, mayApply: Bool, _ cluster: FormedCluster, _ state: inout State
    ) -> (refusal: PeerRefusalReason?, isMoved: Bool) {
        if mayApply, view.isJoining, cluster.membership.member(named: view.member.name) == nil,
            !cluster.hasRemoved(view.member)
        {
            state.applicants.removeAll { $0.name == view.member.name }
            state.applicants.append(view.member)
            if state.applicants.count > applicantsMax { state.applicants.removeFirst() }
            return (nil, false)
        }
        if let why = cluster.refusal(of: view) {
            return (PeerRefusalReason(why: why, told: cluster.told(view) ?? why), false)
        }
        guard let known = cluster.membership.member(named: view.member.name)?.member else { return (nil, false) }
        let before = state.moved[known.id]
        let isElsewhere = view.member.address != known.address
        let isUsable = (try? ListenAddress(parsing: view.member.address)) != nil
        state.moved[known.id] = isElsewhere && isUsable ? view.member.address : nil
        return (nil, state.moved[known.id] != before)
    }

    /// The formed cluster, now or once it exists; nil when the task is cancelled before.
    func formed() async -> FormedCluster? {
        let (stream, continuation) = AsyncStream.makeStream(of: FormedCluster.self)
        let cluster = state.withLock { state -> FormedCluster? in
            switch state.phase {
            case .formed(let cluster):
                return cluster
            case .forming(let formation):
                guard let cluster = formation.outcome else {
                    state.waiting.append(continuation)
                    return nil
                }
                state.phase = .formed(cluster)
                return cluster
            }
        }
        if let cluster { return cluster }
        for await cluster in stream { return cluster }
        return nil
    }

    /// One sentence about a cluster that has not formed yet, for clients that ask too early.
    var formingSentence: String {
        if isJoining {
            return
                "\(member.name) waits to be added to the cluster; ask one of its members: Server cluster add \(member.name)"
        }
        let known = view.members.map(\.name)
        return "the cluster is forming: \(known.count) of \(expected) nodes have been heard of "
            + "(\(known.joined(separator: ", ")))"
    }
}
