// Committed entries on their way into the state machine: in log order, a bounded number of bytes a turn, from memory
// when they are there and from disk when they are not (after a restart).
import Raft
import SegmentedLog

extension Group {
    /// Bytes applied in one turn; the rest waits for the next, so that ticks and messages come first.
    static let applyBytesPerTurn = 4 * 1024 * 1024

    /// Applies what is committed. Returns true when there is more to do at once.
    func applyCommitted(
        now: UInt64, environment: any HostEnvironment, outbox: Outbox
    ) throws(StateMachineFailure) -> Bool {
        if let trouble { throw trouble }
        // Only what is on this node's own disk: the store may persist its applied index, and a log that ends before it
        // would have forgotten entries that the store already holds.
        let target = min(commit, core.durableIndex)
        guard applied < target, snapshots?.isInstalling != true else { return false }
        let before = applied
        var bytes = 0
        while applied < target, bytes < Self.applyBytesPerTurn {
            let index = applied + 1
            guard let entry = committedEntry(at: index) else {
                fetchForApply(from: index, through: target, environment: environment)
                break
            }
            bytes += entry.payload.count + FrameHeader.byteCount
            try apply(entry, outbox: outbox)
        }
        if applied > before {
            machine.didApply(through: applied)
            holdBack(now: now)
            step(.applied(applied), outbox: outbox)
            tail.evict(
                through: min(applied, log.durableIndex), keeping: schedule?.tailBytes ?? LogTail.keptBytesMax)
            return applied < target && !applyFetchOutstanding
        }
        return false
    }

    private func apply(_ entry: CommittedEntry, outbox: Outbox) throws(StateMachineFailure) {
        var result: Result<UInt64, RequestError> = .success(0)
        var answers: [Result<UInt64, RequestError>] = []
        if entry.header.kind == machine.frameKind {
            result = try machine.apply(entry)
            answers = machine.answers
        } else {
            machine.advance(to: entry.header)
        }
        applied = entry.index
        if entry.header.kind == .membership {
            try applyMembership(entry.payload, at: entry.index, outbox: outbox)
        }
        resolve(index: entry.index, term: entry.term, result: result, answers: answers)
        if !moments.isEmpty { reachMoments() }
    }

    private func committedEntry(at index: LogIndex) -> CommittedEntry? {
        if let header = tail.header(at: index), let payload = tail.payload(at: index) {
            return CommittedEntry(index: index, term: header.term, header: header, payload: payload)
        }
        guard !applyBuffer.isEmpty, index >= applyBuffer.firstIndex, index <= applyBuffer.lastIndex else { return nil }
        let position = Int(index - applyBuffer.firstIndex)
        let header = applyBuffer.headers[position]
        return CommittedEntry(
            index: index, term: header.term, header: header, payload: applyBuffer.payload(position))
    }

    /// Reads entries back from disk. A machine whose log is its data needs the last committed frame only.
    private func fetchForApply(from index: LogIndex, through target: LogIndex, environment: any HostEnvironment) {
        guard !applyFetchOutstanding else { return }
        applyFetchOutstanding = true
        applyBuffer = FrameBatch()
        // What memory holds is applied from there, so that its proposers are answered.
        var end = tail.firstIndex.map { min(target, $0 - 1) } ?? target
        // Changes of the members have to be visited one by one.
        if machine.replay == .lastEntry, let change = core.configurationEntries.first { end = min(end, change) }
        let start = machine.replay == .lastEntry ? end : index
        environment.fetch(
            LogFetch(
                group: id, purpose: .apply, log: log, from: start, through: end,
                maxBytes: Self.applyBytesPerTurn))
    }

    /// Entries came back from disk.
    func fetched(_ result: LogFetchResult, outbox: Outbox) throws(StateMachineFailure) {
        switch result.fetch.purpose {
        case .replication:
            replicationFetchOutstanding = false
            if let failure = result.failure {
                diagnostics?.report(.logReadFailed, "\(id): entries for a follower can't be read: \(failure)")
            }
            // Frames of before a truncation or a snapshot may be void by now.
            if result.failure == nil, let last = result.frames.headers.last, core.term(at: last.index) == last.term {
                catchUp.insert(result.frames)
            }
            step(.entriesAvailable, outbox: outbox)
        case .apply:
            applyFetchOutstanding = false
            // A snapshot may have come in between, and taken the entries away.
            if snapshots != nil, snapshots?.isInstalling == true || result.fetch.from <= applied { return }
            if let failure = result.failure {
                diagnostics?.report(.logReadFailed, "\(id): committed entries can't be read: \(failure)")
            }
            if let failure = result.failure { throw StateMachineFailure(failure, scope: result.scope) }
            guard machine.replay == .lastEntry else {
                applyBuffer = result.frames
                return
            }
            guard let header = result.frames.headers.last, header.index > applied, header.index <= commit else {
                return
            }
            machine.advance(to: header)
            applied = header.index
            if header.kind == .membership {
                let payload = result.frames.payload(result.frames.headers.count - 1)
                try applyMembership(payload, at: header.index, outbox: outbox)
            }
            machine.didApply(through: applied)
            step(.applied(applied), outbox: outbox)
            if !moments.isEmpty { reachMoments() }
        }
    }

    /// Asks for old entries that some follower needs.
    func fetchForReplication(environment: any HostEnvironment) {
        guard let from = wish.from, !replicationFetchOutstanding else { return }
        wish.from = nil
        replicationFetchOutstanding = true
        environment.fetch(
            LogFetch(
                group: id, purpose: .replication, log: log, from: from, through: core.lastIndex,
                maxBytes: CatchUpCache.fetchBytes))
    }
}
