// Sleep for groups in which nothing happens (CockroachDB's quiescence), opt-in: no heartbeats, no timers, until
// anything happens to any member. Only a member that holds every entry and knows it committed may fall asleep, and
// nobody may sleep through a message. The host watches over the leader's node for all its groups at once and says
// `forgetLeader` when it is gone.

extension RaftCore {
    /// Leader: tells everybody to sleep once all are equal and nothing is under way. True when the group sleeps.
    mutating func sleepIfIdle(_ ready: inout Ready) -> Bool {
        if settings.quiesceTicks == 0 { return false }
        idleTicks = isIdle ? idleTicks + 1 : 0
        // Not part of `isIdle`: the check of the quorum forgets it every `lossTicks`, which may be less than this time.
        if idleTicks < settings.quiesceTicks || !isEveryoneActive { return false }
        for slot in progress.indices where progress[slot].id != id {
            var heartbeat = message(.heartbeat, to: progress[slot].id)
            heartbeat.commit = commitIndex
            heartbeat.index = lastIndex
            heartbeat.force = true
            ready.messages.append(heartbeat)
        }
        // In sleep nothing ages, so nothing may be left that ages.
        voidLease()
        isAsleep = true
        return true
    }

    private var isIdle: Bool {
        guard commitIndex == lastIndex, appliedIndex == commitIndex, reads.count == 0, transferTarget == nil,
            configurationEntries.isEmpty, !configuration.isJoint
        else { return false }
        for member in progress where member.id != id {
            guard member.match == lastIndex, !member.isRecovering else { return false }
        }
        return true
    }

    private var isEveryoneActive: Bool {
        progress.allSatisfy { $0.id == id || $0.recentActive }
    }

    /// Follower: a member that lacks something or waits for an answer to a read, whose time would stand still, stays
    /// awake, and its answer wakes the leader.
    mutating func fallsAsleep(_ heartbeat: Message) -> Bool {
        guard heartbeat.force, settings.quiesceTicks > 0, !isRecovering, reads.count == 0 || Mutant.isOn(.readerSleeps)
        else { return false }
        let isComplete = heartbeat.index == lastIndex && commitIndex == lastIndex
        guard isComplete || Mutant.isOn(.quiesceBehind) else { return false }
        isAsleep = true
        return true
    }

    /// Time and completions of old work let a group sleep; everything else wakes it.
    mutating func wake(for input: Input, _ ready: inout Ready) {
        switch input {
        case .tick, .appendDurable, .hardStateDurable, .applied, .entriesAvailable, .paused:
            break
        case .receive(let message) where message.kind == .heartbeat && message.force && message.term == term:
            break
        default:
            wake(&ready)
        }
    }

    mutating func wake(_ ready: inout Ready) {
        isAsleep = false
        idleTicks = 0
        electionElapsed = 0
        guard role == .leader else { return }
        for slot in progress.indices { progress[slot].recentActive = true }
        broadcastHeartbeat(&ready)
    }
}
