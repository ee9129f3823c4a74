// Proposals that arrived at a node which does not lead: sent on to the leader, or parked until there is one. A proposal
// is forwarded at most once; when its answer is lost the outcome is "unknown", because sending it again could apply it
// twice.
import Raft

/// A proposal that was sent to the leader and not answered yet.
struct ForwardedWait {
    var request: UInt64
    var leader: NodeID
    var group: GroupID
    /// Among the group's proposals that went to this leader.
    var position: UInt64
    var proposal: Proposal
    /// Since when another node has led, as far as this one knows.
    var replacedAt: UInt64?
}

extension ClusterHost {
    /// For the answers of a leader that was replaced and lives.
    private static var replacedGraceTicks: UInt64 { 2 }

    /// Finds the way for proposals that this node can't append. One that has to wait makes those behind it wait too.
    func route(_ proposals: [Proposal], to group: Group) {
        var waiting: [Proposal] = []
        var bytes = 0
        for proposal in proposals where !send(proposal, to: group, mustWait: !waiting.isEmpty) {
            guard hasRoom(for: proposal, besideCount: waiting.count, bytes: bytes) else { continue }
            waiting.append(proposal)
            bytes += proposal.payload.count
        }
        // What is parked came later.
        parked.putInFront(waiting, for: group.id)
    }

    /// Forwards or answers a proposal; false when it has to wait.
    private func send(_ proposal: Proposal, to group: Group, mustWait: Bool) -> Bool {
        guard proposal.mayForward else {
            // Its proposer is told whom to ask, and waits while nobody knows.
            if group.core.leader == nil, now < proposal.leaderDeadline { return false }
            proposal.completion(.failure(.notLeader(leader: member(group.core.leader)?.memberAddress)))
            return true
        }
        // A leader is heard before it can be reached, when this node or the connection is new: what is sent then gets
        // lost.
        guard !mustWait, let leader = group.core.leader, leader != member.id, environment.canReach(leader) else {
            return false
        }
        nextForward &+= 1
        let position = forwardOrders[group.id, default: ForwardOrder(to: leader)].send()
        forwarded.append(
            ForwardedWait(
                request: nextForward, leader: leader, group: group.id, position: position, proposal: proposal))
        outbox.add(
            ForwardedProposal(
                request: nextForward, group: group.id, operations: proposal.operations, payload: proposal.payload),
            to: leader)
        return true
    }

    /// Keeps a proposal until it can go on its way.
    func park(_ proposal: Proposal, for id: GroupID) {
        if hasRoom(for: proposal, besideCount: 0, bytes: 0) { parked.append(proposal, for: id) }
    }

    /// Whether one more proposal may wait here; refuses it when it may not.
    private func hasRoom(for proposal: Proposal, besideCount count: Int, bytes: Int) -> Bool {
        guard parked.count + count < settings.parkedMax,
            parked.bytes + bytes + proposal.payload.count <= settings.parkedBytesMax
        else {
            proposal.completion(.failure(.unavailable("no leader, and too many writes wait for one")))
            return false
        }
        return true
    }

    /// Another node's client wants to write and this node leads, or is thought to.
    func accept(_ forward: ForwardedProposal, from peer: NodeID) {
        let inbox = inbox
        let request = forward.request
        // Answers are told apart by these numbers: they are counted here, whatever the forwarder says.
        let operations = group(forward.group)?.machine.answerCount(of: forward.payload) ?? 1
        var proposal = Proposal(payload: forward.payload, operations: operations, mayForward: false) { result in
            inbox.post(.answer(to: peer, request: request, result: result), lane: .control)
        }
        proposal.deadline = now + settings.requestTimeout
        guard group(forward.group) != nil else {
            proposal.completion(.failure(.notLeader(leader: nil)))
            return
        }
        take(proposal, for: forward.group)
    }

    /// The leader answered a forwarded proposal.
    func finish(_ result: ForwardedResult) {
        guard let position = forwarded.firstIndex(where: { $0.request == result.request }) else { return }
        let wait = forwarded.remove(at: position)
        if case .failure(.notLeader) = result.result {
            takeBack(wait)
        } else {
            wait.proposal.completion(result.result)
            var isDone = false
            if case .success = result.result { isDone = true }
            endForward(wait, isDone: isDone)
        }
    }

    func loseForwarded(to peer: NodeID) {
        giveUpForwarded("the leader was lost before it answered") { $0.leader == peer }
    }

    /// Answers forwarded proposals whose fate nobody will tell any more.
    private func giveUpForwarded(_ why: String, where isLost: (ForwardedWait) -> Bool) {
        let lost = forwarded.filter(isLost)
        guard !lost.isEmpty else { return }
        forwarded.removeAll(where: isLost)
        for wait in lost {
            wait.proposal.completion(.failure(.unknown(why)))
            endForward(wait, isDone: false)
        }
    }

    /// What went to a leader that has been replaced meanwhile gets no answer any more, though its connection may be
    /// open: a paused or cut-off node keeps it so. Better an honest "unknown" soon than after the request's whole time.
    /// A leader that gave up its office and lives still answers: it has a moment to do so.
    private func loseForwardedToReplacedLeaders(now: UInt64) {
        var isAnyLost = false
        for position in forwarded.indices {
            guard let leader = group(forwarded[position].group)?.core.leader, leader != forwarded[position].leader
            else {
                forwarded[position].replacedAt = nil
                continue
            }
            let since = forwarded[position].replacedAt ?? now
            forwarded[position].replacedAt = since
            if isPastGrace(since, now) { isAnyLost = true }
        }
        guard isAnyLost else { return }
        func isLost(_ wait: ForwardedWait) -> Bool { wait.replacedAt.map { isPastGrace($0, now) } ?? false }
        giveUpForwarded("the leader was replaced before it answered", where: isLost)
    }

    private func isPastGrace(_ since: UInt64, _ now: UInt64) -> Bool {
        now - since >= Self.replacedGraceTicks * settings.tickInterval
    }

    func expireForwarded(now: UInt64) {
        loseForwardedToReplacedLeaders(now: now)
        giveUpForwarded("the leader did not answer in time") { $0.proposal.deadline <= now }
    }

    /// Lets parked proposals go on that have a leader now, behind what the group holds, which is older.
    func retryParked(now: UInt64) {
        guard !parked.isEmpty else { return }
        for id in parked.groups {
            let group = group(id)
            let hasLeader = group?.core.leader != nil
            var waiting = parked.take(of: id)
            waiting.removeAll { expire($0, hasLeader: hasLeader, now: now) }
            guard let group, hasLeader else {
                parked.putInFront(waiting, for: id)
                continue
            }
            let released = passFence(waiting, of: id)
            guard !released.isEmpty else { continue }
            group.proposals.append(contentsOf: released)
            schedule.touch(group)
        }
    }

    /// Answers a parked proposal whose time is over; true when it was.
    private func expire(_ proposal: Proposal, hasLeader: Bool, now: UInt64) -> Bool {
        let limit =
            proposal.mayForward || hasLeader
            ? proposal.deadline : min(proposal.deadline, proposal.leaderDeadline)
        guard limit <= now else { return false }
        proposal.completion(
            .failure(
                isFenced(proposal)
                    ? fenceError(proposal.requiredLevel) : .unavailable("no leader was found in time")))
        return true
    }
}
