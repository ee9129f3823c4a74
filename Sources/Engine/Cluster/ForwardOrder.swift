// The order of what this node forwards. A connection's writes to one key are sent one behind the other without waiting,
// and a change of the leader must not turn them round: the old leader may send the first one back when the second one
// has already gone to the new leader. So writes go to another leader only when everything that went to the one before
// is answered, and a write that came back goes first.
import Raft

/// What one group's proposals have met on their way to a leader; exists while some of them are not answered.
struct ForwardOrder {
    /// Where the proposals went that are not answered.
    let leader: NodeID
    private var sent: UInt64 = 0
    private var unanswered = 0
    /// The newest proposal that was carried out.
    private var newestDone: UInt64 = 0
    private var returned: [(position: UInt64, proposal: Proposal)] = []

    init(to leader: NodeID) {
        self.leader = leader
    }

    var isAnswered: Bool { unanswered == 0 }
    var hasReturned: Bool { !returned.isEmpty }

    /// Counts one more proposal. Returns its position among those that went to the same leader.
    mutating func send() -> UInt64 {
        sent += 1
        unanswered += 1
        return sent
    }

    /// The proposal at a position came to an end here.
    mutating func end(_ position: UInt64, isDone: Bool) {
        unanswered -= 1
        if isDone { newestDone = max(newestDone, position) }
    }

    /// The proposal at a position was not taken, and waits here for the answers of the others.
    mutating func takeBack(_ position: UInt64, _ proposal: Proposal) {
        unanswered -= 1
        returned.append((position, proposal))
    }

    /// What came back, in the order in which it was sent: what may be sent again, and what may not, because a later
    /// proposal was carried out meanwhile.
    consuming func drain() -> (again: [Proposal], tooLate: [Proposal]) {
        let ordered = returned.sorted { $0.position < $1.position }
        return (
            ordered.filter { $0.position > newestDone }.map(\.proposal),
            ordered.filter { $0.position < newestDone }.map(\.proposal)
        )
    }
}

extension ClusterHost {
    /// Whether a group's proposals must wait for answers of a leader that earlier ones went to.
    func mustKeepOrder(_ group: Group) -> Bool {
        guard let order = forwardOrders[group.id] else { return false }
        if order.hasReturned { return true }
        guard let leader = group.core.leader else { return false }
        return leader != order.leader
    }

    /// A forwarded proposal came to an end: its proposer was answered.
    func endForward(_ wait: ForwardedWait, isDone: Bool) {
        forwardOrders[wait.group]?.end(wait.position, isDone: isDone)
        releaseIfAnswered(wait.group)
    }

    /// A forwarded proposal was not taken by the node that it went to.
    func takeBack(_ wait: ForwardedWait) {
        forwardOrders[wait.group]?.takeBack(wait.position, wait.proposal)
        releaseIfAnswered(wait.group)
    }

    /// Lets a group's proposals go on once all that went to one leader are answered.
    private func releaseIfAnswered(_ id: GroupID) {
        guard let order = forwardOrders[id], order.isAnswered else { return }
        forwardOrders[id] = nil
        let (again, tooLate) = order.drain()
        for proposal in tooLate {
            proposal.completion(
                .failure(.unavailable("the leader changed, and a later write was carried out before this one")))
        }
        guard let group = group(id) else {
            for proposal in again { take(proposal, for: id) }
            return
        }
        // What the group holds came later.
        group.proposals.insert(contentsOf: again, at: 0)
        schedule.touch(group)
    }

    /// The host stops.
    func failReturned(_ error: RequestError) {
        let orders = forwardOrders
        forwardOrders = [:]
        for order in orders.values {
            let (again, tooLate) = order.drain()
            for proposal in again + tooLate { proposal.completion(.failure(error)) }
        }
    }
}
