// Leadership handed over on purpose: before a node stops, and when somebody asks for it. A leader that is about to go
// brings its best follower up to date and tells it to campaign at once (thesis §3.10), so that writers wait for one
// election without a timeout. Proposals that arrive meanwhile wait and then go to the new leader; none is refused for
// it.
public import Raft

/// A node on its way out: it wants to lead nothing and to owe nobody an answer.
struct Handover {
    /// On the host's clock; when it is over, the node stops all the same.
    var deadline: UInt64
    var finished: @Sendable (_ complete: Bool) -> Void
}

extension ClusterHost {
    /// Hands every group that this node leads to a follower, then calls `finished`, once: with true when nothing is led
    /// here and no write in this node's log waits for its answer, with false after `nanoseconds`. Call it on the host's
    /// thread.
    public func handOver(within nanoseconds: UInt64, finished: @escaping @Sendable (_ complete: Bool) -> Void) {
        guard failure == nil else { return finished(false) }
        handover?.finished(false)
        handover = Handover(deadline: now + nanoseconds, finished: finished)
        continueHandover()
    }

    /// Part of every turn: starts what is due of the hand-over and looks whether it is over.
    func continueHandover() {
        guard let handover else { return }
        var isComplete = true
        // A removed node does not hear any more who leads.
        for group in groups where !group.isHandedOver(mustKnowLeader: departureDue == nil) {
            isComplete = false
            if group.core.role == .leader, group.core.transferTarget == nil,
                let successor = group.successor(among: membership)
            {
                group.step(.transferLeadership(to: successor), outbox: outbox)
            }
        }
        guard isComplete || now >= handover.deadline else { return }
        self.handover = nil
        handover.finished(isComplete)
    }

    /// Has one group's leadership, or that of all groups, sent to `target`; leaders elsewhere are asked to.
    /// - Returns: how many transfers were started or asked for; groups that `target` leads already don't count.
    public func requestTransfer(of id: GroupID?, to target: NodeID) -> Int {
        var count = 0
        for group in groups where id == nil || group.id == id {
            guard let leader = group.core.leader, leader != target, group.core.voters.contains(target) else { continue }
            if leader == member.id {
                group.step(.transferLeadership(to: target), outbox: outbox)
            } else {
                outbox.add(TransferRequest(group: group.id, target: target), to: leader)
            }
            count += 1
        }
        return count
    }

    /// Another node was asked for a transfer of a group that this one leads, or led a moment ago.
    func accept(_ request: TransferRequest) {
        guard let group = group(request.group), group.core.role == .leader else { return }
        group.step(.transferLeadership(to: request.target), outbox: outbox)
    }
}

extension Group {
    /// Leadership is on its way to another node: proposals wait for what comes of it.
    var isTransferring: Bool { core.transferTarget != nil }

    /// Nobody needs this node for the group any more. A sole voter has nobody to hand over to.
    func isHandedOver(mustKnowLeader: Bool) -> Bool {
        if core.role == .leader { return core.voters == [core.id] && pending.isEmpty }
        return pending.isEmpty && (core.leader != nil || !mustKnowLeader)
    }
}
