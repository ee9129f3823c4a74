// What a node says of itself, from the status table; safe from every thread through ``NodeStatusReader``.
public import Cluster
import Raft
import Synchronization

/// Answers `/status` and `/health` for a node.
public final class NodeStatusReader: NodeStatusService {
    private let statuses: StatusTable
    private let clusterID: String
    private let members: MembershipTable
    private let member: Member
    private let counters: HostCounters
    private let failure = Mutex<String?>(nil)

    public init(node: borrowing Node, cluster: FormedCluster, member: Member) {
        statuses = node.statuses
        clusterID = cluster.id
        members = node.host.members
        counters = node.host.inbox.counters
        self.member = member
    }

    /// The node's storage has failed; reported until the process ends.
    public func fail(_ reason: String) {
        failure.withLock { $0 = reason }
    }

    public func status() -> NodeStatus {
        let failure = failure.withLock { $0 }
        let outages = statuses.outages
        if let outage = statuses.outage(of: .keyValue) {
            return NodeStatus(
                nodeID: member.name, clusterID: clusterID, state: failure == nil ? "unavailable" : "failed", term: 0,
                commitIndex: 0, logLength: 0, leader: nil, isLeader: false, isHealthy: false,
                problem: failure ?? "\(outage.error)", outages: outages)
        }
        guard let group = statuses.status(of: .keyValue) else {
            return NodeStatus(
                nodeID: member.name, clusterID: clusterID, state: "starting", term: 0, commitIndex: 0, logLength: 0,
                leader: nil, isLeader: false, isHealthy: false, problem: failure ?? "the node is starting",
                outages: outages)
        }
        let leader = members.address(of: group.leader)
        let trouble = failure ?? stall ?? (leader == nil ? "no leader is known" : nil)
        return NodeStatus(
            nodeID: member.name, clusterID: clusterID, state: failure == nil ? Self.name(of: group.role) : "failed",
            term: group.term,
            commitIndex: group.commitIndex, logLength: group.lastIndex + 1 - group.firstIndex, leader: leader,
            isLeader: group.role == .leader, isHealthy: trouble == nil, problem: trouble, outages: outages)
    }

    /// Why writes wait for this node's store, when they wait for no good reason.
    private var stall: String? {
        guard counters.maintenanceStalled.load(ordering: .relaxed) != 0 else { return nil }
        return "the store's background work makes no progress, and writes wait for it"
    }

    /// As people know the roles: asking for pre-votes is a part of being a candidate.
    private static func name(of role: Role) -> String {
        switch role {
        case .follower: "Follower"
        case .preCandidate, .candidate: "Candidate"
        case .leader: "Leader"
        }
    }
}
