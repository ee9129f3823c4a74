// A member whose log holds less than it once did (a folder that was deleted, a tail that a disk forgot). It may have
// acknowledged entries that it has no more, so it gives nobody a vote and does not campaign, or a majority that counts
// it could forget what was committed. It follows as usual, and what it acknowledges now it has. It is whole once its
// disk holds the leader's log up to where that ended after this member had asked for it: everything that it ever
// acknowledged and that is or can be committed lies below. (The recovery of Viewstamped Replication Revisited, §4.3,
// with the log in the place of the state.) What was sent before it asked must never count as an answer.

/// The way back of one member, from its start or the moment in which it saw the loss.
struct Recovery: Hashable, Sendable {
    /// The lower bits of a message's `context` count the leader's attempts (``Progress/attempt``).
    static let numberShift: UInt64 = 24

    /// Drawn anew at each start; its lower bits are zero and it is never zero. Below ``RaftCore/positionMax``, because
    /// it travels in the place of a commit index, and peers drop numbers that no log reaches. A leader repeats it in
    /// its appends.
    let number: UInt64
    /// Where the log of the present leader ended after it had heard the number; nil until it says so.
    var target: LogIndex?
    /// The log is the present leader's up to here.
    var matched: LogIndex = 0
    /// The mark was handed to storage.
    var isMarked = false
    /// Ticks since a leader was known, or since all were asked for one.
    var leaderlessTicks = 0

    init(drawnFrom random: inout SplitMix64) {
        let drawn = ((random.next() & (RaftCore.positionMax - 1)) >> Self.numberShift) << Self.numberShift
        number = drawn == 0 ? 1 << Self.numberShift : drawn
    }

    /// Another leader, or none: it knows nothing of this member's question.
    mutating func forgetLeader() {
        target = nil
        matched = 0
    }
}

extension RaftCore {
    /// The log lost entries and is being filled up by a leader: this member does not vote. A sole voter never gets out
    /// of this by itself; neither does a group in which a majority is recovering and nobody leads.
    public var isRecovering: Bool { recovery != nil }

    /// What a leader says this member has acknowledged, and what is here, can't both be true.
    mutating func noticeLoss(_ heartbeat: Message) {
        guard !heartbeat.force, max(heartbeat.commit, heartbeat.index) > lastIndex, recovery == nil else { return }
        recovery = Recovery(drawnFrom: &random)
    }

    /// The log must not grow before the mark is on disk: it would hide the loss from the next start. False until then.
    mutating func hasDurableMark(_ ready: inout Ready) -> Bool {
        if durableHardState.isRecovering || Mutant.isOn(.recoveryUnmarked) { return true }
        if recovery?.isMarked == false {
            recovery?.isMarked = true
            emitHardState(&ready)
        }
        return false
    }

    /// An append or a snapshot of the present leader fits: the logs are the same up to `matched`.
    mutating func follow(_ message: Message, matched: LogIndex, _ ready: inout Ready) {
        guard var way = recovery else { return }
        way.matched = max(way.matched, matched)
        let isAnswer = message.context >> Recovery.numberShift == way.number >> Recovery.numberShift
        if message.kind == .append, message.rejectHint > 0, isAnswer || Mutant.isOn(.recoveryTakesAnyAnswer) {
            way.target = message.rejectHint
        }
        recovery = way
        finishRecovery(&ready)
    }

    /// Whole again, if the disk has what it takes.
    mutating func finishRecovery(_ ready: inout Ready) {
        guard let way = recovery, let target = way.target, let leader, min(way.matched, durableIndex) >= target
        else { return }
        recovery = nil
        emitHardState(&ready)
        var answer = message(.appendResponse, to: leader)
        answer.index = min(way.matched, durableIndex)
        answer.context = way.number
        ready.afterDurable.append(answer)
    }

    /// Asks the leader for the end of its log, with every heartbeat until it is known.
    mutating func askForTarget(_ leader: NodeID, _ ready: inout Ready) {
        guard let way = recovery, way.target == nil else { return }
        var question = message(.appendResponse, to: leader)
        question.reject = true
        question.rejectHint = lastIndex
        question.logTerm = lastTerm
        question.force = true
        question.commit = way.number
        ready.afterDurable.append(question)
    }

    /// Whoever leads may be asleep, with nothing to do, and this member may not campaign, which would wake it: so it
    /// asks everybody.
    mutating func tickRecovery(_ ready: inout Ready) {
        guard leader == nil else {
            recovery?.leaderlessTicks = 0
            return
        }
        recovery?.leaderlessTicks += 1
        guard let ticks = recovery?.leaderlessTicks, ticks >= settings.lossTicks else { return }
        recovery?.leaderlessTicks = 0
        for member in configuration.members where member != id { askForTarget(member, &ready) }
    }

    /// The leader's side: true when `answer` is about a recovery and says nothing that could be counted.
    mutating func noteRecovery<Log: LogReader>(
        _ slot: Int, _ answer: Message, _ reader: borrowing Log, _ ready: inout Ready
    ) -> Bool {
        if !answer.force {
            // From before the loss, unless it repeats the number: that of a member that is whole by now.
            guard progress[slot].isRecovering else { return false }
            let number = progress[slot].recovery >> Recovery.numberShift
            if answer.context >> Recovery.numberShift != number { return true }
            progress[slot].recoveryTarget = 0
            return false
        }
        if Mutant.isOn(.lossUnnoticed) { return false }
        let isQuestion = answer.reject && answer.index == 0
        if answer.commit != progress[slot].recovery {
            if transferTarget == answer.from { transferTarget = nil }
            let next = (answer.reject ? answer.rejectHint : answer.index) + 1
            progress[slot].beginRecovery(number: answer.commit, target: lastIndex, next: next)
        } else if isQuestion && progress[slot].isRecovering {
            progress[slot].askAgain()
        } else {
            return isQuestion
        }
        _ = sendAppend(to: slot, evenIfEmpty: true, reader, &ready)
        return true
    }
}
