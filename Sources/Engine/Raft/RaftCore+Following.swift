// The follower's side of replication: the log matching check (paper §5.3), conflicts, the commit index, snapshots. It
// must never cut an entry without a proven conflict, never commit past what the message at hand proved, and never
// acknowledge an entry before it is durable.

extension RaftCore {
    mutating func receiveAppend(_ received: Message, _ ready: inout Ready) {
        guard isWellFormed(received) else { return }
        guard let message = uncommittedPart(of: received) else {
            acknowledge(commitIndex, received, &ready)
            follow(received, matched: commitIndex, &ready)
            return
        }
        guard log.term(at: message.index) == message.logTerm else {
            reject(message, &ready)
            return
        }
        let proven = message.index + UInt64(message.entries.count)
        appendMissing(message, &ready)
        let bound = Mutant.isOn(.commitPastProof) ? lastIndex : proven
        advanceCommit(to: min(message.commit, bound), &ready)
        acknowledge(proven, message, &ready)
        follow(message, matched: proven, &ready)
    }

    /// An append without the entries that this log has committed, which every later leader has too (paper §5.4); nil
    /// when it brings nothing else. A leader that has not heard of the newest acknowledgements begins before the commit
    /// index, and what stands behind it would have to be sent again.
    private func uncommittedPart(of message: Message) -> Message? {
        if message.index >= commitIndex { return message }
        let committed = commitIndex - message.index
        guard committed < UInt64(message.entries.count) else { return nil }
        var rest = message
        rest.index = commitIndex
        rest.logTerm = message.entries[Int(committed) - 1].term
        rest.entries.removeFirst(Int(committed))
        return rest
    }

    /// Contiguous after `index`, with terms that never fall and never exceed the sender's.
    private func isWellFormed(_ message: Message) -> Bool {
        var index = message.index
        var newest = message.logTerm
        for entry in message.entries {
            if entry.index != index + 1 || entry.term < newest { return false }
            index = entry.index
            newest = entry.term
        }
        return newest <= message.term
    }

    /// Skips what the log already has; only a different term at the same index is a conflict (hashicorp/raft #113).
    private mutating func appendMissing(_ message: Message, _ ready: inout Ready) {
        let entries = message.entries
        var position = 0
        if message.index < lastIndex {
            while position < entries.count, log.term(at: entries[position].index) == entries[position].term {
                position += 1
            }
        }
        if position == entries.count {
            if Mutant.isOn(.cutWithoutConflict), message.index >= commitIndex, position > 0,
                entries[position - 1].index < lastIndex, entries[position - 1].index >= commitIndex
            {
                cut(from: entries[position - 1].index + 1, &ready)
            }
            return
        }
        let first = entries[position].index
        if first <= lastIndex {
            precondition(first > commitIndex, "a leader contradicts a committed entry: two logs were mixed")
            cut(from: first, &ready)
        }
        while position < entries.count {
            let term = entries[position].term
            let start = position
            while position < entries.count && entries[position].term == term { position += 1 }
            log.append(term: term, count: UInt64(position - start))
        }
        let missing = entries[Int(first - message.index - 1)...]
        for entry in missing where entry.kind == .configuration { configurationEntries.append(entry.index) }
        ready.entries.append(contentsOf: missing)
    }

    /// Voids the entries from `index` on.
    private mutating func cut(from index: LogIndex, _ ready: inout Ready) {
        voidOutput(from: index, &ready)
        ready.truncateFrom = min(ready.truncateFrom ?? index, index)
        log.truncate(from: index)
        while let change = configurationEntries.last, change >= index { configurationEntries.removeLast() }
        durableIndex = min(durableIndex, index - 1)
        truncationTerm = term
    }

    /// Takes back what waits in `ready` and names a void entry: the entry, acknowledgements of it, and appends of an
    /// earlier leadership, for which the host would find no bytes any more.
    private func voidOutput(from index: LogIndex, _ ready: inout Ready) {
        while let last = ready.entries.last, last.index >= index { ready.entries.removeLast() }
        ready.messages.removeAll { message in
            guard message.kind == .append, let last = message.entries.last else { return false }
            return last.index >= index
        }
        ready.afterDurable.removeAll { $0.kind == .appendResponse && !$0.reject && $0.index >= index }
    }

    /// Tells where the logs may agree: the last entry here that is not of a newer term than the leader's at that place.
    private func reject(_ message: Message, _ ready: inout Ready) {
        let hint = log.lastPosition(atMost: message.index, term: message.logTerm)
        var answer = self.message(.appendResponse, to: message.from)
        answer.index = message.index
        answer.reject = true
        answer.rejectHint = hint.index
        answer.logTerm = hint.term
        identify(&answer, as: message)
        ready.afterDurable.append(answer)
    }

    /// Which attempt of the leader this answers, and in which recovery.
    private func identify(_ answer: inout Message, as append: Message) {
        if append.kind == .append { answer.context = append.context }
        guard let recovery else { return }
        answer.force = true
        answer.commit = recovery.number
    }

    private func acknowledge(_ index: LogIndex, _ message: Message, _ ready: inout Ready) {
        var answer = self.message(.appendResponse, to: message.from)
        answer.index = index
        identify(&answer, as: message)
        if Mutant.isOn(.ackBeforeDurable) { ready.messages.append(answer) } else { ready.afterDurable.append(answer) }
    }

    mutating func advanceCommit(to index: LogIndex, _ ready: inout Ready) {
        if index <= commitIndex { return }
        precondition(index <= lastIndex, "an entry beyond the log can't be committed")
        if configurationEntries.isEmpty {
            commitIndex = index
            ready.commit = index
            return
        }
        let before = applicableIndex
        commitIndex = index
        persistCommitOfChange(&ready)
        let now = applicableIndex
        if now > before { ready.commit = now }
    }

    /// The leader sends min(match, commit), so the entry is here unless this node's disk lost it.
    mutating func receiveHeartbeat(_ message: Message, _ ready: inout Ready) {
        if message.commit <= lastIndex { advanceCommit(to: message.commit, &ready) }
        if fallsAsleep(message) { return }
        var answer = self.message(.heartbeatResponse, to: message.from)
        answer.context = message.context
        ready.messages.append(answer)
        askForTarget(message.from, &ready)
    }

    /// The host passes this on once it holds the whole snapshot. `ready.snapshot` asks to install it; without that the
    /// snapshot brought nothing new and is to be thrown away.
    mutating func receiveSnapshot(_ message: Message, _ ready: inout Ready) {
        if message.index <= commitIndex && !Mutant.isOn(.snapshotBehindCommit) {
            acknowledge(commitIndex, message, &ready)
            return
        }
        if log.term(at: message.index) == message.logTerm {
            advanceCommit(to: message.index, &ready)
            acknowledge(commitIndex, message, &ready)
            follow(message, matched: message.index, &ready)
            return
        }
        let point = SnapshotPoint(index: message.index, term: message.logTerm)
        voidOutput(from: commitIndex + 1, &ready)
        ready.entries.removeAll(keepingCapacity: true)
        ready.truncateFrom = nil
        ready.snapshot = point
        durableIndex = min(durableIndex, commitIndex)
        truncationTerm = term
        log.reset(to: point)
        configurationEntries.removeAll()
        advanceCommit(to: point.index, &ready)
        acknowledge(point.index, message, &ready)
        follow(message, matched: point.index, &ready)
    }
}
