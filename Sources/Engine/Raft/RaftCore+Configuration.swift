// Changes of the members (thesis §4), activated when they are applied, as etcd-io/raft does. That is safe under three
// rules (etcd #7625, #12359): a leader appends a change only after it applied the one before; nobody campaigns with a
// change that is committed and not applied; and whoever holds a change in its log knows that those before it are
// committed. The core must never take members from an entry that is not applied.

extension RaftCore {
    /// Entries below the newest change in a log are committed up to the change before it: its leader had applied that
    /// one. It holds after a crash too, when the commit index on disk is older than the log.
    static func provenCommit(by changes: [LogIndex]) -> LogIndex {
        for position in changes.indices.dropFirst() {
            precondition(changes[position - 1] < changes[position], "changes of the members are listed in log order")
        }
        if changes.count < 2 || Mutant.isOn(.restartForgetsCommit) { return 0 }
        return changes[changes.count - 2]
    }

    /// A change is committed and this node does not act by it yet.
    var hasUnappliedChange: Bool { configurationEntries.first.map { $0 <= commitIndex } ?? false }

    /// Committed entries up to here may be applied. A change of the members is held back until its commit is on disk:
    /// after a restart of all, nobody else could tell that the members it brought are the ones that count.
    public var applicableIndex: LogIndex {
        guard let held = configurationEntries.first(where: { $0 > durableCommit }), held <= commitIndex,
            !Mutant.isOn(.changeBeforeItsCommit)
        else { return commitIndex }
        return held - 1
    }

    /// Writes the commit index if a change of the members waits for it. Never one beyond this node's own disk: it could
    /// name an entry that a crash brings back.
    mutating func persistCommitOfChange(_ ready: inout Ready) {
        let bound = min(commitIndex, durableIndex)
        guard let change = configurationEntries.last(where: { $0 <= bound }), change > emittedCommit else { return }
        emitHardState(&ready)
    }

    mutating func noteDurableCommit(_ index: LogIndex, _ ready: inout Ready) {
        if index <= durableCommit { return }
        let before = applicableIndex
        durableCommit = index
        let now = applicableIndex
        if now > before { ready.commit = now }
    }

    /// Appends a change of the members, whose encoding takes `byteCount` bytes (0 for ``ConfigurationChange/leave`` and
    /// only for that). Returns its index; it acts once it is applied.
    public mutating func propose<Log: LogReader>(
        _ change: ConfigurationChange, byteCount: UInt32, log reader: borrowing Log, into ready: inout Ready
    ) throws(ConfigurationRefused) -> LogIndex {
        precondition(change.isLeave == (byteCount == 0), "only the change that leaves has no bytes")
        guard role == .leader else { throw .dropped(.notLeader(leader: leader)) }
        if transferTarget != nil { throw .dropped(.transferring) }
        if appliedIndex < configurationBarrier && !Mutant.isOn(.twoChangesInFlight) { throw .pending }
        let next = try configuration.applying(change)
        for member in progress where member.isRecovering && !member.isVoter {
            // It could not vote, and a majority that needs it would not be one.
            if next.voters.contains(member.id) { throw .recovering(member.id) }
        }
        if isAsleep { wake(&ready) }
        return appendChange(byteCount: byteCount, reader, &ready)
    }

    private mutating func appendChange<Log: LogReader>(
        byteCount: UInt32, _ reader: borrowing Log, _ ready: inout Ready
    ) -> LogIndex {
        let index = lastIndex + 1
        ready.entries.append(EntryHeader(index: index, term: term, kind: .configuration, byteCount: byteCount))
        log.append(term: term, count: 1)
        configurationEntries.append(index)
        configurationBarrier = index
        idleTicks = 0
        broadcastAppend(reader, &ready)
        return index
    }

    /// The oldest unapplied change is applied, with everything before it.
    mutating func configurationApplied<Log: LogReader>(
        _ change: ConfigurationChange, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        guard let index = configurationEntries.first, index <= commitIndex else {
            preconditionFailure("the host applied a change of the members that is not committed in this log")
        }
        configurationEntries.removeFirst()
        appliedIndex = max(appliedIndex, index)
        if let next = try? configuration.applying(change) {
            become(next, &ready)
            if role == .leader { lead(next, reader, &ready) }
        }
        leaveJointIfDue(reader, &ready)
        if let order = heldOrder {
            heldOrder = nil
            receiveTimeoutNow(order, reader, &ready)
        }
    }

    /// Takes the members of an installed snapshot.
    mutating func adoptSnapshot(_ message: Message, _ members: Configuration, _ ready: inout Ready) {
        guard ready.snapshot == SnapshotPoint(index: message.index, term: message.logTerm), role == .follower,
            log.base.index == message.index, !Mutant.isOn(.snapshotWithoutMembers)
        else { return }
        become(members, &ready)
    }

    private mutating func become(_ next: Configuration, _ ready: inout Ready) {
        if next == configuration { return }
        configuration = next
        quorum = JointMajority(next)
        ready.configuration = next
        var members: [Progress] = []
        for node in next.members {
            var member = slot(of: node).map { progress[$0] } ?? newcomer(node)
            member.isVoter = quorum.contains(node)
            members.append(member)
        }
        progress = members
    }

    /// Counts as heard from, so that a group of two does not fail its quorum check before the second could speak.
    private func newcomer(_ node: NodeID) -> Progress {
        var member = Progress(id: node, isVoter: false)
        // One back, so that there is something to send and its answer shows where its log ends.
        member.reset(next: max(lastIndex, 1))
        member.recentActive = true
        if node == id { member.match = durableIndex }
        return member
    }

    /// The leader under new members: who was removed stops here, once the change is committed and applied (thesis
    /// §4.2.2). Otherwise the smaller or other majority may have agreed on more already.
    private mutating func lead<Log: LogReader>(
        _ next: Configuration, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        voidLease()
        if !isVoter && !Mutant.isOn(.removedLeaderStays) {
            // The members left learn the commit from this; then one of them is asked to take over.
            broadcastAppend(reader, &ready)
            resign(&ready)
            return
        }
        if let target = transferTarget, !quorum.contains(target) { transferTarget = nil }
        _ = commitByCounting(&ready)
        broadcastAppend(reader, &ready)
        confirmReads(&ready)
    }

    /// Whoever leads when a joint configuration is applied, leaves it: the leader that entered it may be gone. Tried
    /// again on every `applied` and quorum check, since a transfer may be in the way.
    mutating func leaveJointIfDue<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        guard role == .leader, configuration.isJoint, configuration.leavesAutomatically, transferTarget == nil,
            appliedIndex >= configurationBarrier
        else { return }
        if Mutant.isOn(.autoLeaveOnce) && configurationBarrier == leadershipStart { return }
        _ = appendChange(byteCount: 0, reader, &ready)
    }
}
