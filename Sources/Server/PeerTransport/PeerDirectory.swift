// Who this node is to its peers, and whom it lets in: the forming cluster at first, then the formed one, whose members come
// and go. Shared by both sides of the handshake, on every transport.
import Cluster
import Synchronization

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
    }

    /// More nodes than this don't wait to be added; the oldest is forgotten.
    static let applicantsMax = 64

    let member: Member
    let expected: Int
    /// This node waits to be added to a formed cluster.
    let isJoining: Bool
    private let state: Mutex<State>
    private let boundPort = Atomic<Int>(0)

    init(member: Member, expected: Int, isJoining: Bool = false, formed: FormedCluster?) {
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
    func hear(_ view: PeerView, mayApply: Bool = false) -> String? {
        let (refusal, formed, waiting) = state.withLock {
            state -> (String?, FormedCluster?, [AsyncStream<FormedCluster>.Continuation]) in
            switch state.phase {
            case .formed(let cluster):
                if mayApply, view.isJoining, cluster.membership.member(named: view.member.name) == nil,
                    !cluster.hasRemoved(view.member)
                {
                    state.applicants.removeAll { $0.name == view.member.name }
                    state.applicants.append(view.member)
                    if state.applicants.count > Self.applicantsMax { state.applicants.removeFirst() }
                    return (nil, nil, [])
                }
                return (cluster.refusal(of: view), nil, [])
            case .forming(var formation):
                let refusal = formation.hear(view)
                guard let cluster = formation.outcome else {
                    state.phase = .forming(formation)
                    return (refusal, nil, [])
                }
                state.phase = .formed(cluster)
                let waiting = state.waiting
                state.waiting = []
                for continuation in state.watching { continuation.yield() }
                return (refusal, cluster, waiting)
            }
        }
        if let formed { for continuation in waiting { continuation.yield(formed) } }
        return refusal
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
