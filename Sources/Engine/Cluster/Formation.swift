// How nodes that were given nothing but each other's addresses become one cluster, and whom a formed cluster lets in. A
// pure value: what was heard comes in, a decision comes out. All members must reach the same decision from the same
// facts, whatever the order in which they heard them; a node that is not sure does not form.

/// What one node says of itself in a handshake.
public struct PeerView: Hashable, Sendable {
    public var member: Member
    /// Nil until the cluster has formed.
    public var clusterID: String?
    /// Members of the formed cluster; while forming, the nodes heard of so far, itself included.
    public var members: [Member]
    /// Nodes it expects, itself included.
    public var expected: Int
    /// The members with which the formed cluster began.
    public var founders: [Member]
    /// It asks to be added to a cluster that has formed.
    public var isJoining = false
    public init(member: Member, clusterID: String?, members: [Member], expected: Int, founders: [Member] = []) {
        self.member = member
        self.clusterID = clusterID
        self.members = members
        self.expected = expected
        self.founders = founders
    }
}

/// A cluster with a fixed identity, and its members as far as this node knows them.
public struct FormedCluster: Hashable, Sendable {
    public var id: String
    public private(set) var membership: ClusterMembership
    /// The members that its logs start from.
    public var founders: [Member]

    /// A cluster that has just formed.
    public init(id: String, members: [Member]) {
        self.init(id: id, founders: members, membership: ClusterMembership(founders: members))
    }

    public init(id: String, founders: [Member], membership: ClusterMembership) {
        self.id = id
        self.founders = founders.sorted { $0.id < $1.id }
        self.membership = membership
    }

    public var members: [Member] { membership.members.map(\.member).sorted { $0.id < $1.id } }

    /// Takes newer members; false when these are older than the known ones, or the same.
    public mutating func take(_ newer: ClusterMembership) -> Bool {
        guard newer.version > membership.version else { return false }
        membership = newer
        return true
    }

    /// Whether a node was a member with this very data folder, and is none any more.
    public func hasRemoved(_ member: Member) -> Bool {
        membership.removed.contains { $0.name == member.name && $0.incarnation == member.incarnation }
    }

    /// What a refused node is told: that it does not belong, and what its operator may have got wrong. The same for
    /// every reason, and without a name or id but the caller's own, so that a stranger learns nothing; the reason is
    /// for the log.
    static func strangerSentence(to name: String) -> String {
        "\(name) is not a member of cluster (whose id is told to members only): the address may be wrong; or the node has to be "
            + "started with --join and added; or it comes with another data folder than the member that it was, wiped or "
            + "replaced; the log of the node that answered says which"
    }

    /// What the caller of a refused handshake is told. One that was a member with this data folder hears of its
    /// removal.
    public func told(_ view: PeerView) -> String? {
        guard let refusal = refusal(of: view) else { return nil }
        return hasRemoved(view.member) ? refusal : Self.strangerSentence(to: view.member.name)
    }

    /// Why a node may not talk to this cluster, for the log; nil when it may. The check is against mistakes: whoever
    /// knows a member's name and incarnation passes for it.
    public func refusal(of view: PeerView) -> String? {
        let name = view.member.name
        if let other = view.clusterID, other != id {
            return "\(name) belongs to cluster \(other), this is cluster \(id); point it at its own cluster's nodes"
        }
        if hasRemoved(view.member) {
            return
                "\(name) was removed from cluster \(id); to bring the node back, empty its data folder, start it with "
                + "--join and add it"
        }
        guard let known = members.first(where: { $0.name == name }) else {
            return "\(name) is not a member of cluster \(id), whose members are "
                + membership.members.map(\.member.name).joined(separator: ", ")
                + "; to add it, start it with --join"
        }
        guard known.incarnation == view.member.incarnation else {
            return "\(name) comes with another data folder than the member \(name) of cluster \(id): it was wiped or "
                + "replaced, and may have forgotten votes; restore its folder, or remove the member, start the node with --join "
                + "and add it"
        }
        return nil
    }
}

/// A cluster in the making, as one of its future members sees it.
public struct Formation: Sendable {
    public let member: Member
    public let expected: Int
    /// This node waits until somebody adds it to the cluster that its peers belong to.
    public let isJoining: Bool
    private var heard: [PeerView] = []

    public init(member: Member, expected: Int, isJoining: Bool = false) {
        precondition(expected >= 1, "a cluster has at least one node")
        self.member = member
        self.expected = expected
        self.isJoining = isJoining
    }

    /// This node and those it has heard of, by name.
    public var known: [Member] {
        (heard.map(\.member) + [member]).sorted { $0.name < $1.name }
    }

    /// Takes in what a peer said. Returns why the two can't form one cluster, nil when they can.
    public mutating func hear(_ view: PeerView) -> String? {
        if isJoining {
            // Whatever the address: it may have been started at another one since it was added.
            guard view.clusterID != nil,
                view.members.contains(where: {
                    $0.id == member.id && $0.name == member.name && $0.incarnation == member.incarnation
                })
            else { return nil }
        } else if let id = view.clusterID {
            if let refusal = FormedCluster(id: id, members: view.members).refusal(
                of: PeerView(member: member, clusterID: nil, members: known, expected: expected))
            {
                return refusal
            }
        } else {
            if view.member.name == member.name {
                return "two nodes are called \(member.name); give each its own --id"
            }
            if view.member.id == member.id {
                return "the names \(member.name) and \(view.member.name) have the same number; rename one"
            }
            if view.expected != expected {
                return "\(view.member.name) expects \(view.expected) nodes and \(member.name) expects \(expected); "
                    + "name the same nodes in --peers everywhere"
            }
            if !known.contains(where: { $0.name == view.member.name }), known.count >= expected {
                return "\(view.member.name) would be node \(known.count + 1) of \(expected)"
            }
        }
        // The first words of a peer name nobody else, see PeerDirectory; they don't take back what it said before.
        if view.members.isEmpty, heard.contains(where: { $0.member == view.member }) { return nil }
        heard.removeAll { $0.member.name == view.member.name }
        heard.append(view)
        return nil
    }

    /// What the sender of a refused view is told: nothing of this node and of those it has heard of.
    public func told(_ view: PeerView) -> String {
        if view.member.name == member.name { return "two nodes have the same name; give each its own --id" }
        if view.expected != expected {
            return "it expects \(view.expected) nodes and the node there expects \(expected); name the same nodes in "
                + "--peers everywhere"
        }
        return FormedCluster.strangerSentence(to: view.member.name)
    }

    /// The cluster, once every expected node has said that it knows exactly the same nodes, or one that has already
    /// formed says that this node is a member.
    public var outcome: FormedCluster? {
        if let formed = heard.first(where: { $0.clusterID != nil }), let id = formed.clusterID {
            let founders = formed.founders.isEmpty ? formed.members : formed.founders
            // What they are to be is learned from the controller's log; its version here is older than any.
            let membership = ClusterMembership(
                version: 0, members: formed.members.map { ClusterMember($0) }, removed: [])
            return FormedCluster(id: id, founders: founders, membership: membership)
        }
        if isJoining { return nil }
        let known = known
        guard known.count == expected else { return nil }
        for view in heard {
            guard view.members.sorted(by: { $0.name < $1.name }) == known else { return nil }
        }
        var text: [UInt8] = []
        for member in known { text += Array("\(member.name)\u{0}\(member.incarnation)\u{0}".utf8) }
        let id = String(fnv1a(text), radix: 16) + String(fnv1a(text, seed: 0x9e37_79b9_7f4a_7c15), radix: 16)
        return FormedCluster(id: id, members: known)
    }
}
