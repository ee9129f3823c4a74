// Which groups a turn has to look at: the dirty ones, to which something happened, and at ticks the awake ones, whose
// timers run. A group that sleeps (`RaftCore+Quiescence`) and has nobody waiting costs nothing, however many there are.
import Raft

final class GroupSchedule {
    private var dirty: [Group] = []
    private(set) var awake: [Group] = []

    /// What each group may keep of its log in memory beyond what it needs; follows from how many there are.
    var tailBytes = LogTail.keptBytesMax

    var hasDirty: Bool { !dirty.isEmpty }

    /// Something happened to the group: it gets its part of this turn, or of the next when this one is past it.
    func touch(_ group: Group) {
        if !group.isDirty {
            group.isDirty = true
            dirty.append(group)
        }
        if !group.isAwake {
            group.isAwake = true
            awake.append(group)
        }
    }

    /// The groups of this turn, in the order in which they were touched. Until ``endTurn(_:)`` it is this turn that
    /// looks after what happens to them.
    func beginTurn() -> [Group] {
        let turn = dirty
        dirty.removeAll(keepingCapacity: true)
        return turn
    }

    func endTurn(_ turn: [Group]) {
        for group in turn { group.isDirty = false }
    }

    /// Groups whose proposals wait until the store has caught up.
    private var held: [Group] = []

    func hold(_ group: Group) {
        if !held.contains(where: { $0 === group }) { held.append(group) }
    }

    /// When the first of the held groups may go on.
    var nextRelease: UInt64 { held.lazy.map(\.releaseAt).min() ?? .max }

    func releaseHeld(now: UInt64) {
        guard !held.isEmpty else { return }
        for group in held where group.releaseAt <= now { touch(group) }
        held.removeAll { $0.releaseAt <= now }
    }

    /// The group is gone.
    func remove(_ group: Group) {
        dirty.removeAll { $0 === group }
        awake.removeAll { $0 === group }
        held.removeAll { $0 === group }
    }

    /// Lets go of the groups that need no ticks.
    func dropSleeping() {
        guard awake.contains(where: \.needsNoTicks) else { return }
        awake.removeAll { group in
            guard group.needsNoTicks else { return false }
            group.isAwake = false
            return true
        }
    }
}

extension Group {
    /// True while the group sleeps and no request or log work waits for time to pass.
    var needsNoTicks: Bool {
        core.isAsleep && !isDirty && proposals.isEmpty && pending.isEmpty && reads.isEmpty && retryingReads.isEmpty
            && confirming.isEmpty && confirmed.isEmpty && moments.isEmpty
    }
}
