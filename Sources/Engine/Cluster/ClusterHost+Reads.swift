// Reads on their way into a group, and the ones that need no leader: a follower that heard its leader lately enough may answer
// from its own state.
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
        var heardAt = group.leaderHeardAt
        if group.core.isAsleep, let peer = peerLiveness.first(where: { $0.id == group.core.leader }), !peer.isLost {
            heardAt = max(heardAt, peer.heardAt)
        }
        guard group.core.leader != nil, heardAt > 0, now - min(heardAt, now) <= bound else {
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
