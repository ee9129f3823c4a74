// What a node says of itself to people and probes.

/// A snapshot of one node, for `/status`, `/health` and the console.
public struct NodeStatus: Hashable, Sendable {
    public var nodeID: String
    public var clusterID: String
    /// `forming` until the cluster exists, then the role in the key-value group: Follower, Candidate or Leader.
    public var state: String
    public var term: UInt64
    public var commitIndex: UInt64
    /// Entries in the key-value group's log.
    public var logLength: UInt64
    public var leader: MemberAddress?
    public var isLeader: Bool
    /// True when the node knows a leader and has no storage failure: it can serve.
    public var isHealthy: Bool
    /// Why it can't serve, when it can't.
    public var problem: String?
    /// Groups that are out of service on this node.
    public var outages: [GroupOutage]

    public init(
        nodeID: String, clusterID: String, state: String, term: UInt64, commitIndex: UInt64, logLength: UInt64,
        leader: MemberAddress?, isLeader: Bool, isHealthy: Bool, problem: String?,
        outages: [GroupOutage] = []
    ) {
        self.nodeID = nodeID
        self.clusterID = clusterID
        self.state = state
        self.term = term
        self.commitIndex = commitIndex
        self.logLength = logLength
        self.leader = leader
        self.isLeader = isLeader
        self.isHealthy = isHealthy
        self.problem = problem
        self.outages = outages
    }
}

/// A node that can be asked how it is. Immediate; never blocks.
public protocol NodeStatusService: AnyObject, Sendable {
    func status() -> NodeStatus
}
