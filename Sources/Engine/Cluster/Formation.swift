// How nodes that were given nothing but each other's addresses become one cluster, and whom a formed cluster lets in. A
// pure value: what was heard comes in, a decision comes out. All members must reach the same decision from the same facts,
// whatever the order in which they heard them; a node that is not sure does not form.

/// What one node says of itself in a handshake.
public struct PeerView: Hashable, Sendable {
    public var member: Member
    /// Nil until the cluster has formed.
    public var clusterID: String?
    /// Members of the formed cluster; while forming, the nodes heard of so far, itself included.
    public var members: [Member]
    /// Nodes it expects, itself included.
    public var expected: Int
    public init(member: Member, clusterID: String?, members: [Member], expected: Int) {
        self.member = member
        self.clusterID = clusterID
        self.members = members
        self.expected = expected
    }
}

/// A cluster with a fixed identity and membership.
public struct FormedCluster: Hashable, Sendable {
    public var id: String
    public var members: [Member]
    public init(id: String, members: [Member]) {
        self.id = id
        self.members = members.sorted { $0.id < $1.id }
    }

    /// Why a node may not talk to this cluster; nil when it may.
    public func refusal(of view: PeerView) -> String? {
        let name = view.member.name
        if let other = view.clusterID, other != id {
            return "\(name) belongs to cluster \(other), this is cluster \(id); point it at its own cluster's nodes"
        }
        guard let known = members.first(where: { $0.name == name }) else {
            return "\(name) is not a member of cluster \(id), whose members are "
                + members.map(\.name).joined(separator: ", ")
        }
        guard known.incarnation == view.member.incarnation else {
            return "\(name) comes with another data folder than the member \(name) of cluster \(id): it was wiped or "
                + "replaced, and may have forgotten votes; restore its folder or give the node a new name"
        }
        return nil
    }
}

/// A cluster in the making, as one of its future members sees it.
public struct Formation: Sendable {
    public let member: Member
    public let expected: Int
    private var heard: [PeerView] = []

    public init(member: Member, expected: Int) {
        precondition(expected >= 1, "a cluster has at least one node")
        self.member = member
        self.expected = expected
    }

    /// This node and those it has heard of, by name.
    public var known: [Member] {
        (heard.map(\.member) + [member]).sorted { $0.name < $1.name }
    }

    /// Takes in what a peer said. Returns why the two can't form one cluster, nil when they can.
    public mutating func hear(_ view: PeerView) -> String? {
        if let id = view.clusterID {
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
        heard.removeAll { $0.member.name == view.member.name }
        heard.append(view)
        return nil
    }

    /// The cluster, once every expected node has said that it knows exactly the same nodes, or one that has already formed
    /// says that this node is a member.
    public var outcome: FormedCluster? {
        if let formed = heard.first(where: { $0.clusterID != nil }), let id = formed.clusterID {
            return FormedCluster(id: id, members: formed.members)
        }
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
