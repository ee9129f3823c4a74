// From clients' commands to log entries, and back from applied entries to answers. A proposer is answered exactly once:
// with its result, with "not applied", or, when nobody can know, with "unknown".
import Raft
import SegmentedLog

extension Group {
    /// Bytes of joined commands in one entry; a single larger command still gets an entry of its own.
    static let joinedBytesMax = 1024 * 1024
    /// Bytes of one command; a larger one is refused before it reaches the log.
    static let commandBytesMax = 32 * 1024 * 1024

    /// Proposes everything that came in this turn. Returns what this node can't propose because it does not lead.
    func proposeWaiting(now: UInt64, outbox: Outbox) -> [Proposal] {
        guard !proposals.isEmpty else { return [] }
        guard core.role == .leader else { return takeProposals() }
        if machine.needsBackpressure || isTransferring { return [] }
        if heldUntil > now {
            schedule?.hold(self)
            return []
        }
        if mustGather(now: now) { return [] }
        let taken = refusingUnreadable(takeProposals())
        if taken.isEmpty { return [] }
        let entries = joined(taken)
        let proposed = entries.map {
            ProposedEntry(kind: .data, byteCount: UInt32(FrameHeader.byteCount + $0.payload.count))
        }
        do throws(ProposalDropped) {
            try propose(proposed, outbox: outbox) { first, term in
                frame(entries, first: first, term: term)
            }
        } catch {
            switch error {
            case .notLeader:
                return taken
            case .transferring:
                fail(taken, .unavailable("leadership is being handed over; try again"))
            case .overloaded:
                fail(taken, .unavailable("too many writes wait for a quorum; slow down"))
            }
        }
        return []
    }

    private func takeProposals() -> [Proposal] {
        let taken = proposals
        proposals = []
        return taken
    }

    /// What was committed can't be taken back, so what no replica could apply is refused before it is proposed.
    private func refusingUnreadable(_ proposals: [Proposal]) -> [Proposal] {
        func problem(_ proposal: Proposal) -> RequestError? {
            guard proposal.payload.count <= Self.commandBytesMax else {
                return .invalid(
                    .valueTooLong,
                    "the command has \(proposal.payload.count) bytes; at most \(Self.commandBytesMax) are allowed")
            }
            return proposal.isChecked ? nil : machine.validate(proposal.payload)
        }
        guard proposals.contains(where: { problem($0) != nil }) else { return proposals }
        return proposals.filter { proposal in
            guard let error = problem(proposal) else { return true }
            proposal.completion(.failure(error))
            return false
        }
    }

    struct JoinedEntry {
        var payload: [UInt8]
        var proposals: [(offset: UInt64, proposal: Proposal)]
    }

    private func joined(_ proposals: [Proposal]) -> [JoinedEntry] {
        var entries: [JoinedEntry] = []
        var start = 0
        while start < proposals.count {
            var end = start
            var bytes = 0
            while end < proposals.count, end == start || bytes + proposals[end].payload.count <= Self.joinedBytesMax {
                bytes += proposals[end].payload.count
                end += 1
            }
            let run = proposals[start..<end]
            if run.count > 1, let payload = machine.join(run.map(\.payload)) {
                var offset: UInt64 = 0
                var members: [(offset: UInt64, proposal: Proposal)] = []
                members.reserveCapacity(run.count)
                for proposal in run {
                    members.append((offset, proposal))
                    offset += UInt64(proposal.operations)
                }
                entries.append(JoinedEntry(payload: payload, proposals: members))
            } else {
                for proposal in run {
                    entries.append(JoinedEntry(payload: proposal.payload, proposals: [(0, proposal)]))
                }
            }
            start = end
        }
        return entries
    }

    /// Frames proposed entries and remembers who waits for them.
    private func frame(_ entries: [JoinedEntry], first: LogIndex, term: Term) -> FrameBatch {
        var frames = FrameBatch()
        var offset = nextOffset
        for (position, entry) in entries.enumerated() {
            let index = first + UInt64(position)
            var payload = entry.payload
            machine.stamp(&payload, baseOffset: offset, term: term)
            let records = machine.recordCount(of: payload)
            frames.append(
                kind: machine.frameKind, index: index, term: term, baseOffset: offset, recordCount: records,
                payload: payload)
            let base = offset
            var waiting: [(offset: UInt64, proposal: Proposal)] = []
            for (within, proposal) in entry.proposals {
                switch proposal.wait {
                case .applied:
                    waiting.append((within, proposal))
                case .appended:
                    workAnswers.append { proposal.completion(.success(base)) }
                }
            }
            if !waiting.isEmpty { wait(for: PendingEntry(index: index, term: term, proposals: waiting)) }
            offset += UInt64(records)
        }
        return frames
    }

    /// Keeps what waits in the order of the log. Proposals of an earlier leadership of this node may stand at the same
    /// index and behind it: they were overwritten here, and what comes of them shows when those entries are applied.
    private func wait(for entry: PendingEntry) {
        let isBehind = pending.last.map { $0.index < entry.index } ?? true
        pending.append(entry)
        if !isBehind { pending.sort { ($0.index, $0.term) < ($1.index, $1.term) } }
    }

    /// Answers the proposers of an entry that was just applied.
    /// - Parameter answers: see ``StateMachine/answers``.
    func resolve(
        index: LogIndex, term: Term, result: Result<UInt64, RequestError>, answers: [Result<UInt64, RequestError>] = []
    ) {
        var count = 0
        for entry in pending {
            guard entry.index <= index else { break }
            count += 1
            if entry.index == index, entry.term == term {
                if case .success = result { note(answered: entry) }
                for (offset, proposal) in entry.proposals {
                    proposal.completion(
                        answers.isEmpty || Int(offset) >= answers.count
                            ? result.map { $0 + offset } : answers[Int(offset)])
                }
            } else if entry.index < index {
                fail(entry.proposals.map(\.proposal), .unknown("the entry was passed over in a replay of the log"))
            } else {
                // A committed entry of another leader stands at its index, so this one can never be committed.
                fail(entry.proposals.map(\.proposal), .unavailable("leadership changed; the write was not applied"))
            }
        }
        if count > 0 { pending.removeFirst(count) }
    }

    /// Gives up on requests whose time is over.
    func expire(now: UInt64) {
        for position in pending.indices where pending[position].proposals.contains(where: { $0.1.deadline <= now }) {
            let late = pending[position].proposals.filter { $0.proposal.deadline <= now }
            pending[position].proposals.removeAll { $0.proposal.deadline <= now }
            fail(late.map(\.proposal), .unknown("no quorum answered in time"))
        }
        expireReads(now: now)
        if !moments.isEmpty { expireMoments(now: now) }
        if proposals.contains(where: { $0.deadline <= now }) {
            let late = proposals.filter { $0.deadline <= now }
            proposals.removeAll { $0.deadline <= now }
            let why =
                core.role == .leader
                ? "the store is behind with its background work; slow down" : "no leader took the write in time"
            fail(late, .unavailable(why))
        }
    }

    func fail(_ proposals: [Proposal], _ error: RequestError) {
        for proposal in proposals { proposal.completion(.failure(error)) }
    }
}
