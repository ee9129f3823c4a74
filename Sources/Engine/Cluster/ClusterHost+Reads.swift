// Reads on their way into a group, and the ones that need no leader: a follower that heard its leader lately enough may
// answer from its own state.
import Raft

extension ClusterHost {
    func take(_ request: ReadRequest, for group: Group) {
        if case .heard(let bound) = request.mode, group.core.role != .leader {
            serve(request, heardWithin: bound, by: group)
            return
        }
        group.reads.append(request)
        schedule.touch(group)
    }

    /// A sleeping group is equal on all members, and stays so as long as its leader's node lives.
    private func serve(_ request: ReadRequest, heardWithin bound: UInt64, by group: Group) {
        group.settleHeard()
        var heardAt = group.leaderHeardAt
        // After a pause everybody counts as heard, which proves nothing.
        if group.core.isAsleep, let peer = peerLiveness.first(where: { $0.id == group.core.leader }), !peer.isLost,
            peer.heardAt > pauseEndedAt
        {
            heardAt = max(heardAt, peer.heardAt)
        }
        guard group.core.leader != nil, group.snapshots?.incoming == nil, heardAt > 0, now - min(heardAt, now) <= bound
        else {
            let limit = bound / 1_000_000
            request.completion(
                .failure(
                    .unavailable(
                        "this node has not heard its leader within \(limit) ms; ask another node or allow more"
                            + " staleness")))
            return
        }
        request.completion(.success(()))
    }
}

extension Group {
    /// Heartbeats tell only what the leader knows this node to have; appends tell what is committed. So a node that is
    /// far behind, or new, hears its leader all the time and yet knows nothing.
    func noteHeard(_ message: Message, now: UInt64) {
        if message.kind == .append {
            isBehind = core.commitIndex < message.commit
        } else if core.isAsleep {
            isBehind = false
        }
        settleHeard()
        if isBehind { return }
        if heard == nil { heard = (message.commit, now) }
        settleHeard()
    }

    /// What was committed when the leader was heard is applied now: this node is as fresh as that.
    func settleHeard() {
        guard let known = heard, applied >= known.commit else { return }
        leaderHeardAt = max(leaderHeardAt, known.at)
        heard = nil
    }
}
