// One core whose peers are the test itself: the test writes the messages of the others and reads what comes out. For
// rules about single, stale or forged messages.

@testable import Raft

struct Solo {
    var core: RaftCore
    var ready = Ready()
    var disk = TestDisk()

    /// Node 1 of `voters` with a durable log of entries with these terms.
    init(
        voters: Int = 3, learners: Int = 0, terms: [Term] = [], base: SnapshotPoint = SnapshotPoint(),
        hardState: HardState? = nil, commit: LogIndex = 0, settings: RaftCore.Settings = RaftCore.Settings(),
        seed: UInt64 = 7
    ) {
        var starts: [TermStart] = []
        for (position, term) in terms.enumerated() {
            let index = base.index + UInt64(position) + 1
            if starts.last?.term != term { starts.append(TermStart(index: index, term: term)) }
            disk.log.append(EntryHeader(index: index, term: term, kind: .data, byteCount: 10))
        }
        let restored = RaftCore.Restored(
            hardState: hardState ?? HardState(term: terms.last ?? base.term), snapshot: base,
            lastIndex: base.index + UInt64(terms.count), termStarts: starts, commit: max(commit, base.index),
            applied: base.index)
        core = RaftCore(
            id: NodeID(1), voters: (1...voters).map { NodeID(UInt64($0)) },
            learners: (0..<learners).map { NodeID(UInt64(voters + 1 + $0)) }, restored: restored, settings: settings,
            seed: seed)
    }

    mutating func step(_ input: Input) {
        core.step(input, log: disk, into: &ready)
    }

    mutating func receive(
        _ kind: Message.Kind, from: UInt64, term: Term, _ fill: (inout Message) -> Void = { _ in }
    ) {
        var message = Message(kind, from: NodeID(from), to: core.id, term: term)
        fill(&message)
        step(.receive(message))
    }

    /// An append of entries with these terms after `previous`.
    mutating func append(
        from: UInt64 = 2, term: Term, after previous: LogIndex, _ previousTerm: Term, _ terms: [Term] = [],
        commit: LogIndex = 0
    ) {
        receive(.append, from: from, term: term) { message in
            message.index = previous
            message.logTerm = previousTerm
            message.commit = commit
            for (position, term) in terms.enumerated() {
                message.entries.append(
                    EntryHeader(index: previous + UInt64(position) + 1, term: term, kind: .data, byteCount: 10))
            }
        }
    }

    mutating func acknowledge(from: UInt64, _ index: LogIndex) {
        receive(.appendResponse, from: from, term: core.term) { $0.index = index }
    }

    @discardableResult
    mutating func propose(count: Int = 1, bytes: UInt32 = 10) throws(ProposalDropped) -> LogIndex {
        let entries = Array(repeating: ProposedEntry(kind: .data, byteCount: bytes), count: count)
        return try core.propose(entries, log: disk, into: &ready)
    }

    @discardableResult
    mutating func propose(_ change: ConfigurationChange) throws(ConfigurationRefused) -> LogIndex {
        try core.propose(change, byteCount: change.isLeave ? 0 : 8, log: disk, into: &ready)
    }

    /// Drains, with the storage work handed over but not finished.
    @discardableResult
    mutating func drain() -> Ready {
        let drained = ready
        ready.removeAll()
        if drained.snapshot != nil { disk.log = [] }
        if let cut = drained.truncateFrom { disk.log.removeAll { $0.index >= cut } }
        disk.log += drained.entries
        return drained
    }

    /// Reports everything in `drained` as durable.
    mutating func report(_ drained: Ready) {
        if let state = drained.hardState { step(.hardStateDurable(state)) }
        if let last = drained.entries.last {
            step(.appendDurable(index: last.index, term: last.term))
        } else if let point = drained.snapshot {
            step(.appendDurable(index: point.index, term: point.term))
        }
    }

    /// Drains and finishes.
    @discardableResult
    mutating func complete() -> Ready {
        let drained = drain()
        report(drained)
        return drained
    }

    /// Wins an election with the votes of all others; its no-op is durable here, not yet committed.
    mutating func lead() {
        step(.campaign)
        for voter in core.voters where voter != core.id {
            receive(.preVoteResponse, from: voter.rawValue, term: core.term + 1)
        }
        complete()
        for voter in core.voters where voter != core.id {
            receive(.voteResponse, from: voter.rawValue, term: core.term)
        }
        precondition(core.role == .leader, "all votes make a leader")
        complete()
    }

    /// Leads with its no-op committed.
    mutating func leadAndCommit() {
        lead()
        for voter in core.voters where voter != core.id { acknowledge(from: voter.rawValue, core.lastIndex) }
        complete()
    }

    mutating func tick(_ count: Int) {
        for _ in 0..<count { step(.tick) }
    }
}

extension [Message] {
    func of(_ kind: Message.Kind, to: UInt64? = nil) -> [Message] {
        filter { $0.kind == kind && (to == nil || $0.to.rawValue == to) }
    }
}
