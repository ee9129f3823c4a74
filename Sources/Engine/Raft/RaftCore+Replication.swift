// The leader's side of replication: sending appends and heartbeats, reading the answers, committing by counting durable
// copies, and the completions of the node's own storage. It must never count an entry of an earlier term (paper §5.4.2,
// figure 8), nor its own copy before its disk has it.

extension RaftCore {
    // MARK: Sending

    mutating func broadcastAppend<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        for slot in progress.indices where progress[slot].id != id { replicate(to: slot, reader, &ready) }
    }

    /// Sends all that may be sent now: entries while the window has room, else the commit index if that is news.
    mutating func replicate<Log: LogReader>(to slot: Int, _ reader: borrowing Log, _ ready: inout Ready) {
        var hasSent = false
        while sendAppend(to: slot, evenIfEmpty: false, reader, &ready) { hasSent = true }
        if !hasSent && progress[slot].state == .replicate && progress[slot].canBumpCommit(commitIndex) {
            _ = sendAppend(to: slot, evenIfEmpty: true, reader, &ready)
        }
    }

    /// A probe brings no more bytes of entries than this: it may be wrong about where they belong, or be late itself.
    static let probeBytesMax = 4096

    /// Sends one append. True when a message left.
    mutating func sendAppend<Log: LogReader>(
        to slot: Int, evenIfEmpty: Bool, _ reader: borrowing Log, _ ready: inout Ready
    ) -> Bool {
        if progress[slot].isPaused { return false }
        if extendUndrained(slot, &ready) { return true }
        let previous = progress[slot].next - 1
        guard let previousTerm = log.term(at: previous) else {
            requireSnapshot(slot, &ready)
            return false
        }
        var entries: [EntryHeader] = []
        var bytes = 0
        let isProbe = progress[slot].state == .probe
        if previous < lastIndex && (isProbe || !progress[slot].isWindowFull(settings)) {
            let bytesMax = isProbe ? min(Self.probeBytesMax, settings.appendBytesMax) : settings.appendBytesMax
            switch readEntries(from: previous + 1, bytesMax: bytesMax, reader, ready) {
            case .entries(let found):
                precondition(found.first?.index == previous + 1, "the log reader answered with other entries")
                entries = found
            case .pending:
                // A probe finds out as much without them.
                if isProbe { break }
                progress[slot].awaitsEntries = true
                return false
            case .compacted:
                requireSnapshot(slot, &ready)
                return false
            }
            for entry in entries { bytes += Int(entry.byteCount) }
            if isProbe && bytes > Self.probeBytesMax { (entries, bytes) = ([], 0) }
        }
        if entries.isEmpty && !evenIfEmpty && !(isProbe && previous < lastIndex) { return false }
        let last = previous + UInt64(entries.count)
        progress[slot].noteSent(
            count: entries.count, bytes: bytes, commit: min(commitIndex, last), settings: settings)
        var append = message(.append, to: progress[slot].id)
        append.index = previous
        append.logTerm = previousTerm
        append.commit = commitIndex
        append.entries = entries
        append.context = progress[slot].context
        append.rejectHint = progress[slot].recoveryTarget
        ready.messages.append(append)
        return true
    }

    /// Adds the newest entries to the append that the host has not drained yet: the proposals of one turn leave as one
    /// message to each member, and come back as one acknowledgement. Only if that append is the last message to the
    /// member, so that nothing overtakes it.
    private mutating func extendUndrained(_ slot: Int, _ ready: inout Ready) -> Bool {
        let next = progress[slot].next
        guard progress[slot].state == .replicate, next <= lastIndex, let undrained = ready.entries.first?.index,
            next >= undrained, let place = lastUndrained(to: progress[slot].id, ready)
        else { return false }
        let count = ready.messages[place].entries.count
        guard ready.messages[place].kind == .append, ready.messages[place].term == term, count > 0,
            ready.messages[place].index + UInt64(count) + 1 == next
        else { return false }
        var room = settings.appendBytesMax - progress[slot].window.newestBytes(endingAt: next - 1)
        var added = 0
        var bytes = 0
        for position in Int(next - undrained)..<ready.entries.count {
            let size = Int(ready.entries[position].byteCount)
            if size > room { break }
            ready.messages[place].entries.append(ready.entries[position])
            room -= size
            bytes += size
            added += 1
        }
        if added == 0 { return false }
        ready.messages[place].commit = commitIndex
        let last = next + UInt64(added) - 1
        progress[slot].noteExtended(last: last, bytes: bytes, commit: min(commitIndex, last), settings: settings)
        return true
    }

    /// The newest message to `member` among the last few that were not drained.
    private func lastUndrained(to member: NodeID, _ ready: borrowing Ready) -> Int? {
        var place = ready.messages.count - 1
        let lowest = max(0, ready.messages.count - progress.count)
        while place >= lowest {
            if ready.messages[place].to == member { return place }
            place -= 1
        }
        return nil
    }

    /// Headers from `first` on, at most `bytesMax`: from `ready` where the host has not drained them yet.
    private func readEntries<Log: LogReader>(
        from first: LogIndex, bytesMax: Int, _ reader: borrowing Log, _ ready: borrowing Ready
    ) -> LogRead {
        let undrained = ready.entries.first?.index ?? lastIndex + 1
        if first < undrained {
            return reader.entries(from: first, through: undrained - 1, maxBytes: bytesMax)
        }
        let start = Int(first - undrained)
        var end = start
        var bytes = 0
        while end < ready.entries.count {
            bytes += Int(ready.entries[end].byteCount)
            if end > start && bytes > bytesMax { break }
            end += 1
        }
        return .entries(Array(ready.entries[start..<end]))
    }

    /// A member that was not heard from gets no snapshot: the next heartbeat answer brings it back here.
    private mutating func requireSnapshot(_ slot: Int, _ ready: inout Ready) {
        if !progress[slot].recentActive { return }
        progress[slot].becomeSnapshot()
        ready.snapshotsNeeded.append(progress[slot].id)
    }

    /// Heartbeats carry min(match, commit): a higher commit could name entries which the member has of another leader.
    mutating func broadcastHeartbeat(_ ready: inout Ready) {
        heartbeatElapsed = 0
        if settings.leaseReads {
            // Each round gets a number of its own, so that its echo proves this round and no older one.
            reads.newestSequence += 1
            lease.noteRound(reads.newestSequence)
        }
        reads.noteRoundSent()
        for slot in progress.indices where progress[slot].id != id {
            var heartbeat = message(.heartbeat, to: progress[slot].id)
            heartbeat.commit = Mutant.isOn(.heartbeatFullCommit) ? commitIndex : min(progress[slot].match, commitIndex)
            // What the member acknowledged: it knows from this when its disk has lost it.
            heartbeat.index = progress[slot].match
            progress[slot].mayResend = true
            heartbeat.context = reads.newestSequence
            progress[slot].sentCommit = max(progress[slot].sentCommit, heartbeat.commit)
            ready.messages.append(heartbeat)
        }
    }

    // MARK: Answers

    mutating func receiveAppendResponse<Log: LogReader>(
        _ message: Message, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        guard role == .leader, let slot = slot(of: message.from) else { return }
        progress[slot].recentActive = true
        if noteRecovery(slot, message, reader, &ready) { return }
        if message.reject {
            receiveRejection(slot, message, reader, &ready)
            return
        }
        if message.index > lastIndex { return }
        let isProbeAnswer = progress[slot].isProbeAnswer(message)
        let isNews = progress[slot].update(match: message.index, endsWait: isProbeAnswer)
        guard isNews || isProbeAnswer else { return }
        switch progress[slot].state {
        case .probe: if isProbeAnswer { progress[slot].becomeReplicate() }
        case .snapshot:
            if progress[slot].match >= log.base.index { progress[slot].becomeReplicate() }
        case .replicate: progress[slot].window.free(through: message.index)
        }
        if commitByCounting(&ready) { broadcastAppend(reader, &ready) }
        replicate(to: slot, reader, &ready)
        if transferTarget == message.from && progress[slot].match == lastIndex { sendTimeoutNow(to: slot, &ready) }
    }

    private mutating func receiveRejection<Log: LogReader>(
        _ slot: Int, _ message: Message, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        if progress[slot].isLate(message.context) && !Mutant.isOn(.lateAnswersResend) { return }
        // Both sides skip a whole term at a time: the follower did, now what the leader has at its hint. Where the
        // terms are equal, so are the logs up to there.
        var hint = message.rejectHint
        if message.logTerm > 0 { hint = log.lastPosition(atMost: hint, term: message.logTerm).index }
        let isExact = hint == message.rejectHint && log.term(at: hint) == message.logTerm
        guard progress[slot].decrease(rejected: message.index, hint: hint, isExact: isExact) else { return }
        replicate(to: slot, reader, &ready)
    }

    /// A heartbeat answer proves the way is open: whatever waited for a lost answer is tried again, with an empty
    /// append whose answer shows what was lost. Once for each round of heartbeats: after a pause many answers come
    /// together.
    mutating func receiveHeartbeatResponse<Log: LogReader>(
        _ message: Message, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        guard role == .leader, let slot = slot(of: message.from) else { return }
        progress[slot].recentActive = true
        if progress[slot].mayResend || Mutant.isOn(.lateAnswersResend) {
            progress[slot].mayResend = false
            if !Mutant.isOn(.probeNeverResumes) { progress[slot].isWaiting = false }
            progress[slot].awaitsEntries = false
            let isKnown = progress[slot].match >= lastIndex && progress[slot].state != .probe
            if !isKnown || progress[slot].isRecovering {
                _ = sendAppend(to: slot, evenIfEmpty: true, reader, &ready)
            }
        }
        confirmReads(slot, message.context, &ready)
    }

    mutating func entriesAvailable<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        if role != .leader { return }
        for slot in progress.indices where progress[slot].awaitsEntries {
            progress[slot].awaitsEntries = false
            replicate(to: slot, reader, &ready)
        }
    }

    mutating func unreachable(_ peer: NodeID) {
        guard role == .leader, let slot = slot(of: peer), progress[slot].state == .replicate else { return }
        progress[slot].becomeProbe()
    }

    mutating func snapshotFinished(_ peer: NodeID, _ index: LogIndex) {
        guard role == .leader, let slot = slot(of: peer), progress[slot].state == .snapshot else { return }
        progress[slot].snapshotFinished(index: min(index, lastIndex))
    }

    // MARK: Commit

    /// Moves the commit index to the newest entry of the own term that a majority holds durably. True when it moved.
    mutating func commitByCounting(_ ready: inout Ready) -> Bool {
        let agreed = quorum.agreed { node in
            guard let slot = slot(of: node) else { return 0 }
            return node == id && Mutant.isOn(.leaderCountsUndurable) ? lastIndex : progress[slot].match
        }
        let isOwn = log.term(at: agreed) == term || Mutant.isOn(.commitEarlierTerm)
        guard agreed > commitIndex, isOwn else { return false }
        let isFirst = !hasCommittedInTerm
        advanceCommit(to: agreed, &ready)
        uncommitted.release(through: agreed)
        if isFirst { admitWaitingReads(&ready) }
        return true
    }

    /// Everything up to `index`, whose entry had `term` when it was handed over, is durable. Two guards against
    /// counting a write that was overwritten meanwhile (etcd-io/raft `rawnode.go`, ABA): the entry must still have that
    /// term, and after a cut in term T only completions that follow the durability of a hard state of term T or newer
    /// count. A log is cut at most once per term, so storage being FIFO, everything handed over before the cut was
    /// reported before it.
    mutating func appendDurable<Log: LogReader>(
        _ index: LogIndex, _ entryTerm: Term, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        let isBehindFence = durableHardState.term < truncationTerm && !Mutant.isOn(.appendFence)
        let isSameEntry = log.term(at: index) == entryTerm || (Mutant.isOn(.appendABA) && index <= lastIndex)
        guard isSameEntry, !isBehindFence || Mutant.isOn(.appendABA), index > durableIndex else { return }
        durableIndex = index
        if !configurationEntries.isEmpty { persistCommitOfChange(&ready) }
        if isRecovering { finishRecovery(&ready) }
        guard role == .leader, let slot = slot(of: id) else { return }
        progress[slot].match = index
        if commitByCounting(&ready) { broadcastAppend(reader, &ready) }
    }
}
