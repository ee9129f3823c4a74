// Leadership handed over on purpose: before a node stops, and when somebody asks for it. A leader that is about to go brings
// its best follower up to date and tells it to campaign at once (thesis §3.10), so that writers wait for one election
// without a timeout. Proposals that arrive meanwhile wait and then go to the new leader; none is refused for it.
public import Raft

/// A node on its way out: it wants to lead nothing and to owe nobody an answer.
struct Handover {
    /// On the host's clock; when it is over, the node stops all the same.
    var deadline: UInt64
    var finished: @Sendable (_ complete: Bool) -> Void
}

extension ClusterHost {
    /// Hands every group that this node leads to a follower, then calls `finished`, once: with true when nothing is led
    /// here and no write of this node's waits any more, with false after `nanoseconds`. Call it on the host's thread.
    public func handOver(within nanoseconds: UInt64, finished: @escaping @Sendable (_ complete: Bool) -> Void) {
        guard handover == nil, failure == nil else { return finished(false) }
        handover = Handover(deadline: now + nanoseconds, finished: finished)
        continueHandover()
    }

    /// Part of every turn: starts what is due of the hand-over and looks whether it is over.
    func continueHandover() {
        guard let handover else { return }
        var isComplete = true
        for group in groups where !group.isHandedOver {
            isComplete = false
            if group.core.role == .leader, group.core.transferTarget == nil, let successor = group.core.successor {
                group.step(.transferLeadership(to: successor), outbox: outbox)
            }
        }
        guard isComplete || now >= handover.deadline else { return }
        self.handover = nil
        handover.finished(isComplete)
    }

    /// Starts a transfer of one group's leadership, or of that of all groups that this node leads.
    /// - Returns: how many transfers were started.
    public func transferLeadership(of id: GroupID?, to target: NodeID) -> Int {
        var count = 0
        for group in groups where (id == nil || group.id == id) && group.core.role == .leader {
            guard target != member.id, group.core.voters.contains(target) else { continue }
            group.step(.transferLeadership(to: target), outbox: outbox)
            count += 1
        }
        return count
    }
}

extension Group {
    /// Leadership is on its way to another node: proposals wait for what comes of it.
    var isTransferring: Bool { core.transferTarget != nil }

    /// Nobody needs this node for the group any more. A sole voter has nobody to hand over to.
    var isHandedOver: Bool {
        if core.role == .leader { return core.voters == [core.id] && pending.isEmpty }
        return pending.isEmpty && core.leader != nil
    }
}
