// Who this node is to its peers, and whom it lets in: the forming cluster at first, the formed one for ever after. Shared by
// both sides of the handshake, on every transport.
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
    }

    let member: Member
    let expected: Int
    private let state: Mutex<State>
    private let boundPort = Atomic<Int>(0)

    init(member: Member, expected: Int, formed: FormedCluster?) {
        self.member = member
        self.expected = expected
        let phase: Phase = formed.map { .formed($0) } ?? .forming(Formation(member: member, expected: expected))
        state = Mutex(State(phase: phase))
    }

    /// Port of the TCP transport's listener; 0 until it is bound.
    var tcpPort: Int {
        get { boundPort.load(ordering: .relaxed) }
        set { boundPort.store(newValue, ordering: .relaxed) }
    }

    /// What this node says of itself.
    var view: PeerView {
        state.withLock { state in
            switch state.phase {
            case .forming(let formation):
                PeerView(member: member, clusterID: nil, members: formation.known, expected: expected)
            case .formed(let cluster):
                PeerView(member: member, clusterID: cluster.id, members: cluster.members, expected: expected)
            }
        }
    }

    var cluster: FormedCluster? {
        state.withLock { state in
            if case .formed(let cluster) = state.phase { return cluster }
            return nil
        }
    }

    /// Takes in what a peer says. Returns why the two don't belong together, nil when they do.
    func hear(_ view: PeerView) -> String? {
        let (refusal, formed, waiting) = state.withLock {
            state -> (String?, FormedCluster?, [AsyncStream<FormedCluster>.Continuation]) in
            switch state.phase {
            case .formed(let cluster):
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
        let known = view.members.map(\.name)
        return "the cluster is forming: \(known.count) of \(expected) nodes have been heard of "
            + "(\(known.joined(separator: ", ")))"
    }
}
