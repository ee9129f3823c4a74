// From the members that the controller's log declares to those of every group: the host hears of a new declaration, its
// leaders approach it, a node that moved says where it is, and a node that is no member any more hands over and ends. A
// declaration that is older than what a group has already acted on is history (a node replays the controller's log when
// it starts) and changes nothing.
public import Raft
import Synchronization

extension ClusterHost {
    /// Between two looks at the groups, in nanoseconds.
    static let approachInterval: UInt64 = 50_000_000
    /// The controller group keeps a removed node for so long, so that the node learns of its removal there.
    static let farewellNanoseconds: UInt64 = 1_000_000_000
    /// A removed node ends after this at the latest, whether its groups have let it go or not.
    static let departureNanoseconds: UInt64 = 3_000_000_000
    /// Between two tries of a node to have its new address recorded.
    static let moveInterval: UInt64 = 500_000_000

    /// The controller's log declares other members. Called on the host's thread, in log order.
    public func declare(_ membership: ClusterMembership) {
        self.membership = membership
        // A node that joined replays declarations of before it was a member: it must not take itself for a stranger.
        let knowsThisNode =
            membership.member(member.id) != nil || membership.removed.contains { $0.id == member.id }
        if knowsThisNode {
            members.take(membership)
            membershipObserver(membership)
        }
        removalsDue = now + Self.farewellNanoseconds
        nextApproach = now
        if membership.removed.contains(where: { $0.id == member.id }), departureDue == nil {
            departureDue = now + Self.departureNanoseconds
            handOver(within: Self.departureNanoseconds) { _ in }
        }
    }

    /// Part of every tick.
    func approachMembership() {
        guard now >= nextApproach else { return }
        nextApproach = now + Self.approachInterval
        if membership.version > 0 {
            for group in groups {
                let mayRemove = group.id != .controller || now >= removalsDue
                group.approach(membership, mayRemove: mayRemove, outbox: outbox)
            }
        }
        recordOwnAddress()
        guard let due = departureDue else { return }
        let isGone = groups.allSatisfy { !$0.core.configuration.members.contains(member.id) }
        guard isGone || now >= due else { return }
        departureDue = .max
        departed()
    }

    /// A node that was started at another address than the members' record has declares that to the controller, until
    /// the record says so. It alone does: two observers could contradict each other. What it has not applied yet can
    /// only make it say so once too often, which changes nothing.
    private func recordOwnAddress() {
        guard now >= nextMove, let recorded = membership.member(member.id)?.member, recorded.address != member.address,
            recorded.incarnation == member.incarnation, let controller = group(.controller),
            controller.core.leader != nil, controller.applied == controller.commit,
            inbox.featureLevel.load(ordering: .relaxed) >= FeatureLevel.memberMove
        else { return }
        nextMove = now + Self.moveInterval
        let command = MembershipCommand.move(
            name: member.name, incarnation: member.incarnation, address: member.address)
        var proposal = Proposal(payload: command.encoded) { _ in }
        proposal.deadline = now + settings.requestTimeout
        take(proposal, for: .controller)
    }

    /// Who leads, votes and learns in each group, as this node sees it.
    public var groupMemberships: [(group: GroupID, leader: NodeID?, term: Term, configuration: Configuration)] {
        groups.map { ($0.id, $0.core.leader, $0.core.term, $0.core.configuration) }
    }
}
