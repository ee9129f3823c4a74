// Who belongs to a group, and how that may change: joint consensus (thesis §4.3) with learners, in the form of
// etcd-io/raft's ConfChangeV2. Pure values; what a change does depends on nothing but the configuration it meets, so
// every member that applies the same entries holds the same configuration. It must never yield a configuration whose
// majorities could miss those of the one before.

/// The members of a group. While it is joint, elections and commits need a majority of `voters` *and* of `outgoing`.
public struct Configuration: Hashable, Sendable {
    /// Ascending. Empty only at a member that does not know its group yet: changes mean nothing to it until a snapshot
    /// brings all members, and it never campaigns.
    public private(set) var voters: [NodeID]
    /// The voters of the configuration that is being left; empty unless joint.
    public private(set) var outgoing: [NodeID] = []
    /// Members that receive everything and count for nothing.
    public private(set) var learners: [NodeID]
    /// Voters of `outgoing` that become learners when the joint configuration is left.
    public private(set) var learnersNext: [NodeID] = []
    /// The leader proposes to leave the joint configuration by itself.
    public private(set) var leavesAutomatically = false

    public init(voters: [NodeID], learners: [NodeID] = []) {
        self.voters = voters.sorted()
        self.learners = learners.sorted()
        Self.check(self.voters, "a voter")
        Self.check(self.learners, "a learner")
        precondition(!learners.contains { voters.contains($0) }, "a learner must not be a voter")
    }

    /// Every field as a codec found it, ascending; nil when they can't belong together.
    public init?(
        voters: [NodeID], outgoing: [NodeID], learners: [NodeID], learnersNext: [NodeID], leavesAutomatically: Bool
    ) {
        for nodes in [voters, outgoing, learners, learnersNext] {
            for (position, node) in nodes.enumerated() {
                guard node.rawValue != 0, position == 0 || nodes[position - 1] < node else { return nil }
            }
        }
        guard !learners.contains(where: { voters.contains($0) || outgoing.contains($0) }),
            learnersNext.allSatisfy({ outgoing.contains($0) && !voters.contains($0) }),
            !voters.isEmpty || outgoing.isEmpty, !outgoing.isEmpty || !leavesAutomatically
        else { return nil }
        self.voters = voters
        self.outgoing = outgoing
        self.learners = learners
        self.learnersNext = learnersNext
        self.leavesAutomatically = leavesAutomatically
    }

    private static func check(_ nodes: [NodeID], _ what: String) {
        for (position, node) in nodes.enumerated() {
            precondition(node.rawValue != 0, "0 is not a node id")
            precondition(position == 0 || nodes[position - 1] != node, "\(what) is listed twice")
        }
    }

    public var isJoint: Bool { !outgoing.isEmpty }

    /// Every node of the configuration, ascending.
    public var members: [NodeID] {
        var all = voters
        for node in outgoing + learners + learnersNext where !all.contains(node) { all.append(node) }
        return all.sorted()
    }

    /// The configuration after `change`, or why there is none. The same on every member.
    public func applying(_ change: ConfigurationChange) throws(ConfigurationRefused) -> Configuration {
        if voters.isEmpty { throw .unknownMembers }
        if change.isLeave {
            if !isJoint { throw .notJoint }
            return left
        }
        if isJoint { throw .joint }
        var next = self
        let isSimple = change.transition == .automatic && change.steps.count == 1
        if !isSimple {
            next.outgoing = voters
            next.leavesAutomatically = change.transition != .explicit
        }
        for step in change.steps {
            if step.node.rawValue == 0 { throw .nodeZero }
            next.take(step)
        }
        if next.voters.isEmpty { throw .noVoters }
        return next
    }

    /// Voters of the old configuration that were demoted stay in `learnersNext` until the joint phase is over: a node
    /// never counts as voter and learner at once.
    private mutating func take(_ step: ConfigurationChange.Step) {
        let isOutgoing = outgoing.contains(step.node)
        switch step.operation {
        case .addVoter:
            learners.removeAll { $0 == step.node }
            learnersNext.removeAll { $0 == step.node }
            Self.insert(step.node, into: &voters)
        case .addLearner:
            voters.removeAll { $0 == step.node }
            if isOutgoing {
                Self.insert(step.node, into: &learnersNext)
            } else {
                Self.insert(step.node, into: &learners)
            }
        case .remove:
            voters.removeAll { $0 == step.node }
            learners.removeAll { $0 == step.node }
            learnersNext.removeAll { $0 == step.node }
        }
    }

    private static func insert(_ node: NodeID, into nodes: inout [NodeID]) {
        if nodes.contains(node) { return }
        nodes.append(node)
        nodes.sort()
    }

    private var left: Configuration {
        var next = self
        next.outgoing = []
        next.learnersNext = []
        next.learners = (learners + learnersNext).sorted()
        next.leavesAutomatically = false
        return next
    }
}

/// A change of the members, as the host encodes it into an entry of kind ``EntryKind/configuration``. An entry of that
/// kind without bytes is ``leave``: the leader writes those itself.
public struct ConfigurationChange: Hashable, Sendable {
    public enum Operation: UInt8, Hashable, Sendable {
        case addVoter = 1
        /// Adds a learner, or turns a voter into one.
        case addLearner = 2
        case remove = 3
    }
    public struct Step: Hashable, Sendable {
        public var operation: Operation
        public var node: NodeID
        public init(_ operation: Operation, _ node: NodeID) {
            self.operation = operation
            self.node = node
        }
    }
    /// How the group gets from the old to the new configuration.
    public enum Transition: UInt8, Hashable, Sendable {
        /// One step at once; several through a joint configuration that the leader leaves by itself.
        case automatic = 0
        /// Always joint, and the leader leaves it by itself.
        case implicit = 1
        /// Always joint, until somebody proposes ``ConfigurationChange/leave``.
        case explicit = 2
    }
    public var steps: [Step]
    public var transition: Transition

    public init(_ steps: [Step], transition: Transition = .automatic) {
        self.steps = steps
        self.transition = transition
    }

    /// Leaves a joint configuration.
    public static let leave = ConfigurationChange([])
    public var isLeave: Bool { steps.isEmpty }
}

/// Why a change of the members was not appended, or has no effect.
public enum ConfigurationRefused: Error, Hashable, Sendable, CustomStringConvertible {
    case dropped(ProposalDropped)
    /// An earlier change, or the leader's first entry, is not applied yet.
    case pending
    case joint
    case notJoint
    case noVoters
    case nodeZero
    /// The new voter's log lost entries and is being filled up: it has no vote yet.
    case recovering(NodeID)
    /// This member does not know the configuration that the change starts from.
    case unknownMembers

    public var description: String {
        switch self {
        case .dropped(let why): "the change was not appended: \(why)"
        case .pending: "another change of the members is not applied yet; try again when it is"
        case .joint: "the configuration is joint; leave it before the next change"
        case .notJoint: "the configuration is not joint; there is nothing to leave"
        case .noVoters: "the change would leave no voter; keep or add at least one"
        case .unknownMembers: "the members are not known here yet; wait for the snapshot that brings them"
        case .recovering(let node):
            "node \(node) lost entries of its log and can't vote yet; try again when it has caught up"
        case .nodeZero: "0 is not a node id; name a member"
        }
    }
}
