// The invariants of Raft as the simulation tests them after every event (paper figure 3 and research on what goes
// wrong): election safety, log matching, leader completeness, immutable commits on a durable quorum, durable votes,
// reads that are never stale. It keeps the history that no single node may forget.

import Raft

struct SimulationChecks {
    /// What a core was before a step.
    struct Before {
        var role = Role.follower
        var term: Term = 0
        var commit: LogIndex = 0
    }

    private struct Identity: Hashable {
        var entry: SimulatedEntry
        var previousTerm: Term
    }
    private struct Position: Hashable {
        var index: LogIndex
        var term: Term
    }
    private struct Ballot: Hashable {
        var voter: NodeID
        var term: Term
    }
    private struct Read {
        var node: NodeID
        var floor: LogIndex
        var isServed = false
        var isOver = false
    }

    private var leaders: [Term: NodeID] = [:]
    private var identities: [Position: Identity] = [:]
    private var committed: [Position] = []
    /// The term of the leader that committed each; it never falls.
    private var committedIn: [Term] = []
    private var ballots: [Ballot: NodeID] = [:]
    private var reads: [UInt64: Read] = [:]
    private var states: [LogIndex: UInt64] = [:]

    private func fail(_ text: String) -> SimulationFailure { SimulationFailure(description: text) }

    mutating func started(_ node: SimulatedNode) throws {
        if let core = node.core, core.commitIndex > core.snapshot.index {
            guard core.commitIndex <= UInt64(committed.count),
                committed[Int(core.commitIndex) - 1].term == core.term(at: core.commitIndex)
            else { throw fail("\(node.id) restarted with a commit index that names another entry") }
        }
        for (context, read) in reads where read.node == node.id { reads[context]?.isOver = true }
    }

    func before(_ node: SimulatedNode) -> Before {
        guard let core = node.core else { return Before() }
        return Before(role: core.role, term: core.term, commit: core.commitIndex)
    }

    mutating func after(
        _ before: Before, _ node: SimulatedNode, _ nodes: [SimulatedNode], _ counts: inout SimulationCounts
    ) throws {
        guard let core = node.core else { return }
        if core.term < before.term { throw fail("the term of \(node.id) fell") }
        if core.commitIndex < before.commit { throw fail("the commit index of \(node.id) fell") }
        let isOrdered = core.snapshot.index <= core.commitIndex && core.commitIndex <= core.lastIndex
        if !isOrdered || core.appliedIndex > core.commitIndex { throw fail("indexes out of order at \(node.id)") }
        if core.role == .leader && (before.role != .leader || before.term != core.term) {
            counts.elections += 1
            try elected(core, node)
        }
        if core.role == .leader { try checkProgress(core) }
        if core.role != before.role && core.role != .follower { try mayCampaign(core, node) }
        let durable = core.durableIndex
        if durable > core.snapshot.index, !node.disk.holds(durable, core.term(at: durable) ?? 0) {
            throw fail("\(node.id) takes \(durable) for durable and its disk has not")
        }
        var index = before.commit
        while index < core.commitIndex {
            index += 1
            try commit(index, core, nodes, &counts)
        }
    }

    private mutating func elected(_ core: RaftCore, _ node: SimulatedNode) throws {
        if let other = leaders[core.term], other != core.id {
            throw fail("two leaders in term \(core.term): \(other) and \(core.id)")
        }
        leaders[core.term] = core.id
        if node.disk.hardState.term != core.term || node.disk.hardState.vote != core.id {
            throw fail("\(core.id) leads term \(core.term) with its vote not on disk")
        }
        // Votes that were long under way make a leader of a term that is over; it lacks what later terms committed.
        if let last = committedIn.lastIndex(where: { $0 < core.term }) { try requires(core, committed[last]) }
    }

    /// Leader completeness: with log matching, the newest entry committed in an earlier term stands for all.
    private func requires(_ core: RaftCore, _ position: Position) throws {
        if position.index < core.snapshot.index { return }
        if core.term(at: position.index) != position.term {
            throw fail("leader \(core.id) of term \(core.term) lacks committed entry \(position)")
        }
    }

    /// Nobody campaigns who is no voter or has not applied a committed change of the members.
    private func mayCampaign(_ core: RaftCore, _ node: SimulatedNode) throws {
        // A snapshot that waits to be drained counts already.
        let configuration = node.ready.snapshot == nil ? node.configuration : node.stagedConfiguration
        if !configuration.voters.contains(core.id) && !configuration.outgoing.contains(core.id) {
            throw fail("\(core.id) campaigns and is no voter")
        }
        for entry in node.log where entry.header.kind == .configuration && node.ready.snapshot == nil {
            if entry.header.index > node.applied && entry.header.index <= core.commitIndex {
                throw fail("\(core.id) campaigns and has not applied the change at \(entry.header.index)")
            }
        }
    }

    private func checkProgress(_ core: RaftCore) throws {
        if core.configurationEntries.count > 1 { throw fail("\(core.id) leads with two changes in flight") }
        for member in core.progress where member.id != core.id {
            if member.next <= member.match || member.next > core.lastIndex + 1 || member.match > core.lastIndex {
                throw fail("progress of \(member.id) at \(core.id) is out of order: \(member)")
            }
            if member.window.sent.count > core.settings.inflightMessagesMax {
                throw fail("too many appends in flight to \(member.id)")
            }
        }
    }

    private mutating func commit(
        _ index: LogIndex, _ core: RaftCore, _ nodes: [SimulatedNode], _ counts: inout SimulationCounts
    ) throws {
        if index < core.snapshot.index { return }
        guard let term = core.term(at: index) else { throw fail("\(core.id) committed \(index) without having it") }
        let position = Position(index: index, term: term)
        if index <= UInt64(committed.count) {
            let known = committed[Int(index) - 1]
            if known != position { throw fail("\(core.id) committed \(position) where \(known) was committed") }
            return
        }
        if index != UInt64(committed.count) + 1 { throw fail("\(core.id) committed \(index) before its predecessor") }
        if core.role != .leader { throw fail("\(core.id) is no leader and committed \(index) first") }
        // The entry itself may be of an older term; what makes it committed is the newest entry of this commit.
        guard let proof = core.term(at: core.commitIndex), proof == core.term else {
            throw fail("\(core.id) committed by counting an entry of an earlier term")
        }
        for voters in [core.configuration.voters, core.configuration.outgoing] where !voters.isEmpty {
            var copies = 0
            for node in nodes where voters.contains(node.id) && node.disk.held(index, term) { copies += 1 }
            if copies <= voters.count / 2 { throw fail("\(position) was committed with \(copies) durable copies") }
        }
        committed.append(position)
        committedIn.append(core.term)
        counts.commits += 1
        for other in nodes {
            guard let leader = other.core, leader.role == .leader, leader.term > core.term else { continue }
            try requires(leader, position)
        }
    }

    // MARK: Entries

    /// Every (index, term) has one content and one predecessor, so equal positions mean equal prefixes (log matching).
    mutating func staged(_ node: SimulatedNode) throws {
        guard let core = node.core else { return }
        for entry in node.staged {
            let header = entry.header
            guard core.term(at: header.index) == header.term else { throw fail("\(node.id) lost track of \(header)") }
            let previous = core.term(at: header.index - 1) ?? 0
            let position = Position(index: header.index, term: header.term)
            let identity = Identity(entry: entry, previousTerm: previous)
            if let known = identities[position] {
                if known != identity { throw fail("two entries at \(position): \(known) and \(identity)") }
            } else if core.role == .leader && core.term == header.term {
                identities[position] = identity
            } else {
                throw fail("\(node.id) stored \(header), which no leader made")
            }
        }
    }

    mutating func applied(_ node: SimulatedNode) throws {
        if let known = states[node.applied], known != node.state {
            throw fail("\(node.id) differs from others after applying \(node.applied)")
        }
        states[node.applied] = node.state
    }

    /// A change of the members acts only once its commit is on disk: here, or proven by a later change in the log.
    func actsBy(_ node: SimulatedNode) throws {
        let index = node.applied
        let isProven = node.disk.log.contains { $0.header.kind == .configuration && $0.header.index > index }
        if node.disk.hardState.commit < index && !isProven {
            throw fail("\(node.id) acts by the change at \(index), whose commit is not on disk")
        }
    }

    // MARK: Disk

    /// What may only leave once the disk has it.
    mutating func leaving(_ message: Message, _ node: SimulatedNode) throws {
        let disk = node.disk
        switch message.kind {
        case .vote:
            try cast(message, for: message.from, node)
        case .voteResponse where !message.reject:
            try cast(message, for: message.to, node)
        case .appendResponse where !message.reject && disk.hardState.term <= message.term:
            if disk.lastIndex < message.index {
                throw fail("\(node.id) acknowledged \(message.index) with \(disk.lastIndex) on disk")
            }
        default:
            break
        }
    }

    private mutating func cast(_ message: Message, for candidate: NodeID, _ node: SimulatedNode) throws {
        let durable = node.disk.hardState
        let isOfTerm = durable.term == message.term && durable.vote == candidate
        let isDurable = durable.term > message.term || isOfTerm
        if !isDurable { throw fail("\(node.id) revealed a vote in term \(message.term) before it was durable") }
        if durable.isRecovering || node.disk.lost.isUnmarked {
            throw fail("\(node.id) votes in term \(message.term) although its log lost entries")
        }
        let ballot = Ballot(voter: node.id, term: message.term)
        if let other = ballots[ballot], other != candidate {
            throw fail("\(node.id) voted for \(other) and \(candidate) in term \(message.term)")
        }
        ballots[ballot] = candidate
    }

    func synced(_ node: SimulatedNode) throws {
        var previous = node.disk.base
        for entry in node.disk.log {
            if entry.header.index != previous.index + 1 || entry.header.term < previous.term {
                throw fail("the disk of \(node.id) has \(entry.header) after \(previous)")
            }
            previous = SnapshotPoint(index: entry.header.index, term: entry.header.term)
        }
    }

    // MARK: Reads

    mutating func readStarted(_ context: UInt64, at node: NodeID) {
        reads[context] = Read(node: node, floor: UInt64(committed.count))
    }

    mutating func readServed(_ read: ReadState, at node: NodeID, _ counts: inout SimulationCounts) throws {
        guard let known = reads[read.context], known.node == node, !known.isOver else {
            throw fail("\(node) served read \(read.context), which it does not have")
        }
        if read.index < known.floor { throw fail("stale read \(read.context): \(read.index) < \(known.floor)") }
        reads[read.context]?.isOver = true
        reads[read.context]?.isServed = true
        counts.readsServed += 1
    }

    mutating func readDropped(_ context: UInt64, at node: NodeID, _ counts: inout SimulationCounts) throws {
        guard let known = reads[context], known.node == node, !known.isOver else {
            throw fail("\(node) dropped read \(context), which it does not have")
        }
        reads[context]?.isOver = true
        counts.readsDropped += 1
    }

    func isServed(_ context: UInt64) -> Bool { reads[context]?.isServed ?? false }

    // MARK: The end

    /// After a calm time all members hold the same log and state.
    func converged(_ nodes: [SimulatedNode]) throws {
        guard let first = nodes.first?.core else { return }
        for node in nodes {
            guard let core = node.core else { throw fail("\(node.id) is down") }
            if core.lastIndex != first.lastIndex || core.lastTerm != first.lastTerm {
                throw fail("the logs of \(first.id) and \(core.id) end differently")
            }
            if core.commitIndex < UInt64(committed.count) { throw fail("\(core.id) misses commits") }
            if core.durableIndex != core.lastIndex { throw fail("\(core.id) does not know its disk is complete") }
        }
    }
}
