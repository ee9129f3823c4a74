// What a person may ask of a cluster's members: who they are, one more, one less, another role, another leader. Any
// node takes the request; a change is a command to the controller, which every node carries out.
public import Raft

/// Who holds what in one group, as one node sees it.
public struct GroupOverview: Hashable, Sendable {
    public var group: GroupID
    public var leader: NodeID?
    public var term: Term
    public var configuration: Configuration
    public init(group: GroupID, leader: NodeID?, term: Term, configuration: Configuration) {
        self.group = group
        self.leader = leader
        self.term = term
        self.configuration = configuration
    }
}

public struct ClusterOverview: Hashable, Sendable {
    public var clusterID: String
    public var membership: ClusterMembership
    /// By group.
    public var groups: [GroupOverview]
    /// Groups that are out of service on the node that answers.
    public var outages: [GroupOutage]
    public init(
        clusterID: String, membership: ClusterMembership, groups: [GroupOverview], outages: [GroupOutage] = []
    ) {
        self.clusterID = clusterID
        self.membership = membership
        self.groups = groups
        self.outages = outages
    }
}

public protocol ClusterAdministration: AnyObject, Sendable {
    func overview(completion: @escaping @Sendable (Result<ClusterOverview, RequestError>) -> Void)

    /// Declares other members; the answer is the version of the declaration. The groups follow in the background.
    func change(_ command: MembershipCommand, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void)

    /// Sends leadership of one group, or of all, to a member; answers how many transfers this node has started or
    /// passed on.
    func transfer(
        group: GroupID?, to name: String, completion: @escaping @Sendable (Result<Int, RequestError>) -> Void)
}
