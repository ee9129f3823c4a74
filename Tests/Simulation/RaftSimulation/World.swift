// A bounded world of three cores, their disks and the messages on the way, as one value: what can happen next, and the
// invariants after it. Messages are lost by never being delivered; elections come at any moment; disks finish late or,
// in a crash, not at all. A world must be equal to another exactly when nothing that follows could tell them apart.

package import Raft

package struct World: Hashable, Sendable {
    /// How often what may happen.
    package struct Budget: Hashable, Sendable {
        package var termMax: Term = 2
        package var proposals = 0
        package var crashes = 0
        package var repeats = 0
        package var changes = 0
        package var reads = 0
        package init() {}
    }

    enum Event: Hashable, Sendable {
        case campaign(Int), deliver(Int), deliverAgain(Int), sync(Int), crash(Int), propose(Int), change(Int)
        case apply(Int), read(Int)
    }

    struct Job: Hashable, Sendable {
        var truncateFrom: LogIndex?
        var entries: [EntryHeader]
        var hardState: HardState?
        var afterDurable: [Message]
    }

    struct Node: Hashable, Sendable, LogReader {
        var core: RaftCore
        /// As the host knows it, from index 1.
        var log: [EntryHeader] = []
        var diskLog: [EntryHeader] = []
        var diskState = HardState()
        var jobs: [Job] = []

        func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead {
            .entries(Array(log[Int(from) - 1..<Int(through)]))
        }
    }

    private struct Read: Hashable, Sendable {
        var context: UInt64
        var floor: Int
    }

    var nodes: [Node]
    private(set) var network: [Message] = []
    private var budget: Budget
    private let initial: Configuration
    private let change: ConfigurationChange
    private var committed: [EntryHeader] = []
    /// By term.
    private var leaders: [NodeID?]
    private var reads: [Read] = []
    private var nextContext: UInt64 = 1
    private var hasBegun = false
    private let hasLateDisks: Bool

    package init(voters: Int, change: ConfigurationChange = .leave, budget: Budget, hasLateDisks: Bool = false) {
        self.hasLateDisks = hasLateDisks
        initial = Configuration(voters: (1...voters).map { NodeID(UInt64($0)) })
        self.change = change
        self.budget = budget
        leaders = Array(repeating: nil, count: Int(budget.termMax) + 1)
        let configuration = initial
        nodes = (1...3).map { number in
            Node(core: Self.core(NodeID(number), configuration, RaftCore.Restored()))
        }
    }

    private static func core(_ id: NodeID, _ members: Configuration, _ restored: RaftCore.Restored) -> RaftCore {
        var settings = RaftCore.Settings()
        settings.preVote = false
        settings.checkQuorum = false
        var core = RaftCore(id: id, configuration: members, restored: restored, settings: settings, seed: 0)
        core.forgetTime()
        return core
    }

    // MARK: What can happen

    var events: [Event] {
        // The nodes are alike at first: without loss the first to campaign is node 1.
        if !hasBegun { return [.campaign(0)] }
        var events: [Event] = []
        for node in nodes.indices {
            let core = nodes[node].core
            if core.role != .leader && core.term < budget.termMax { events.append(.campaign(node)) }
            if !nodes[node].jobs.isEmpty { events.append(.sync(node)) }
            if budget.crashes > 0 { events.append(.crash(node)) }
            if core.commitIndex > core.appliedIndex && budget.changes >= 0 && change.steps.count > 0 {
                events.append(.apply(node))
            }
            guard core.role == .leader else { continue }
            if budget.proposals > 0 { events.append(.propose(node)) }
            if budget.changes > 0 { events.append(.change(node)) }
            if budget.reads > 0 { events.append(.read(node)) }
        }
        for position in network.indices {
            events.append(.deliver(position))
            if budget.repeats > 0 { events.append(.deliverAgain(position)) }
        }
        return events
    }

    /// The world after `event`. Throws ``SimulationFailure`` when an invariant breaks.
    func after(_ event: Event) throws -> World {
        var next = self
        try next.perform(event)
        // Without crashes nobody can tell how late a disk is, up to the order of messages.
        if budget.crashes == 0 && !hasLateDisks {
            while let node = next.nodes.firstIndex(where: { !$0.jobs.isEmpty }) { try next.sync(node) }
        }
        let pending = next.network
        next.network = pending.filter { !next.isSpent($0) }
        return next
    }

    /// True for a message that its receiver will ignore, now and for ever.
    private func isSpent(_ message: Message) -> Bool {
        let core = nodes[Int(message.to.rawValue) - 1].core
        switch message.kind {
        case .vote: return message.term < core.term
        case .voteResponse: return message.term < core.term || (message.term == core.term && core.role != .candidate)
        case .appendResponse, .heartbeatResponse:
            return message.term < core.term || (message.term == core.term && core.role != .leader)
        default: return false
        }
    }

    func text(_ event: Event) -> String {
        switch event {
        case .deliver(let position): "deliver \(network[position].text)"
        case .deliverAgain(let position): "deliver and keep \(network[position].text)"
        case .campaign(let node): "campaign \(node + 1)"
        case .sync(let node): "sync \(node + 1)"
        case .crash(let node): "crash and restart \(node + 1)"
        case .propose(let node): "propose at \(node + 1)"
        case .change(let node): "change the members at \(node + 1)"
        case .apply(let node): "apply one entry at \(node + 1)"
        case .read(let node): "read at \(node + 1)"
        }
    }

    private mutating func perform(_ event: Event) throws {
        switch event {
        case .campaign(let node):
            hasBegun = true
            try step(node, .campaign)
        case .deliver(let position):
            let message = network.remove(at: position)
            try step(Int(message.to.rawValue) - 1, .receive(message))
        case .deliverAgain(let position):
            budget.repeats -= 1
            try step(Int(network[position].to.rawValue) - 1, .receive(network[position]))
        case .sync(let node): try sync(node)
        case .crash(let node):
            budget.crashes -= 1
            restart(node)
        case .propose(let node):
            budget.proposals -= 1
            let entry = [ProposedEntry(kind: .data, byteCount: 1)]
            try drive(node) { core, log, ready in _ = try? core.propose(entry, log: log, into: &ready) }
        case .change(let node):
            budget.changes -= 1
            try drive(node) { [change] core, log, ready in
                _ = try? core.propose(change, byteCount: 1, log: log, into: &ready)
            }
        case .apply(let node): try apply(node)
        case .read(let node):
            budget.reads -= 1
            reads.append(Read(context: nextContext, floor: committed.count))
            nextContext += 1
            try step(node, .readIndex(context: nextContext - 1))
        }
    }

    private mutating func apply(_ node: Int) throws {
        let index = nodes[node].core.appliedIndex + 1
        let entry = nodes[node].log[Int(index) - 1]
        if entry.kind == .configuration {
            try step(node, .configurationApplied(entry.byteCount == 0 ? .leave : change))
        }
        try step(node, .applied(index))
    }

    private mutating func sync(_ node: Int) throws {
        var state: HardState?
        var last: EntryHeader?
        for job in nodes[node].jobs {
            if let cut = job.truncateFrom { nodes[node].diskLog.removeLast(nodes[node].diskLog.count - Int(cut) + 1) }
            nodes[node].diskLog += job.entries
            if let hard = job.hardState { nodes[node].diskState = hard }
            state = job.hardState ?? state
            last = job.entries.last ?? last
            for message in job.afterDurable { send(message) }
        }
        nodes[node].jobs.removeAll()
        if let state { try step(node, .hardStateDurable(state)) }
        if let last { try step(node, .appendDurable(index: last.index, term: last.term)) }
    }

    /// A crash loses what was not synced and all memory; the node is back at once.
    private mutating func restart(_ node: Int) {
        let log = nodes[node].diskLog
        var starts: [TermStart] = []
        for entry in log where entry.term != starts.last?.term {
            starts.append(TermStart(index: entry.index, term: entry.term))
        }
        let restored = RaftCore.Restored(
            hardState: nodes[node].diskState, lastIndex: UInt64(log.count), termStarts: starts,
            configurationEntries: log.filter { $0.kind == .configuration }.map(\.index))
        nodes[node].core = Self.core(nodes[node].core.id, initial, restored)
        nodes[node].log = log
        nodes[node].jobs.removeAll()
    }

    // MARK: One step

    private mutating func step(_ node: Int, _ input: Input) throws {
        try drive(node) { core, log, ready in core.step(input, log: log, into: &ready) }
    }

    private mutating func drive(_ node: Int, _ body: (inout RaftCore, Node, inout Ready) -> Void) throws {
        var ready = Ready()
        let before = nodes[node].core
        var core = before
        body(&core, nodes[node], &ready)
        core.forgetTime()
        nodes[node].core = core
        if let cut = ready.truncateFrom { nodes[node].log.removeLast(nodes[node].log.count - Int(cut) + 1) }
        nodes[node].log += ready.entries
        for message in ready.messages { send(message) }
        if ready.needsStorage || !ready.afterDurable.isEmpty {
            nodes[node].jobs.append(
                Job(
                    truncateFrom: ready.truncateFrom, entries: ready.entries, hardState: ready.hardState,
                    afterDurable: ready.afterDurable))
        }
        for read in ready.reads {
            guard let known = reads.first(where: { $0.context == read.context }) else { continue }
            if read.index < UInt64(known.floor) { throw fail("stale read: \(read.index) < \(known.floor)") }
        }
        if core.role == .leader { try checkLeader(core) }
        if core.commitIndex > before.commitIndex { try checkCommit(node, from: before.commitIndex) }
    }

    /// The network is a set in one order, so that equal worlds are found equal.
    private mutating func send(_ message: Message) {
        var low = 0
        while low < network.count && precedes(network[low], message) { low += 1 }
        if network[low...].contains(message) { return }
        network.insert(message, at: low)
    }

    private func precedes(_ a: Message, _ b: Message) -> Bool {
        func key(_ message: Message) -> UInt64 {
            let link = UInt64(message.kind.rawValue) << 8 | message.from.rawValue << 4 | message.to.rawValue
            let place = message.term << 12 | message.index << 8 | message.commit << 4 | UInt64(message.entries.count)
            return link << 24 | place << 2 | (message.reject ? 1 : 0)
        }
        return key(a) < key(b)
    }

    // MARK: Invariants

    private func fail(_ text: String) -> SimulationFailure { SimulationFailure(description: text) }

    private mutating func checkLeader(_ core: RaftCore) throws {
        let term = Int(core.term)
        if term < leaders.count {
            if let other = leaders[term], other != core.id { throw fail("two leaders in term \(term)") }
            leaders[term] = core.id
        }
        for entry in committed where entry.term < core.term && core.term(at: entry.index) != entry.term {
            throw fail("leader \(core.id) of term \(core.term) lacks committed entry \(entry.index)")
        }
    }

    private mutating func checkCommit(_ node: Int, from before: LogIndex) throws {
        let core = nodes[node].core
        for index in before + 1..<core.commitIndex + 1 {
            let entry = nodes[node].log[Int(index) - 1]
            if Int(index) <= committed.count {
                if committed[Int(index) - 1] != entry { throw fail("two entries were committed at \(index)") }
                continue
            }
            for voters in [core.configuration.voters, core.configuration.outgoing] where !voters.isEmpty {
                let copies = nodes.count { member in
                    voters.contains(member.core.id) && member.diskLog.count >= Int(index)
                        && member.diskLog[Int(index) - 1] == entry
                }
                if copies <= voters.count / 2 { throw fail("entry \(index) was committed with \(copies) copies") }
            }
            committed.append(entry)
            for other in nodes where other.core.role == .leader && other.core.term > core.term {
                guard other.core.term(at: index) == entry.term else { throw fail("a newer leader lacks \(index)") }
            }
        }
    }
}
