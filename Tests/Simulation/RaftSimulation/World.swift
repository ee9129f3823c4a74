// A bounded world of three cores, their disks and the messages on the way, as one value: what can happen next, and the
// invariants after it. Elections come at any moment; disks finish late or, in a crash, not at all. Links either keep
// their order, as connections do, with a number of messages dropped and repeated, or keep nothing: then any message may
// arrive at any time or never. Worlds must have equal fingerprints exactly when nothing that follows could tell them
// apart, up to the names of the nodes.

package import Raft

package struct World: Hashable, Sendable {
    /// How often what may happen.
    package struct Budget: Hashable, Sendable {
        package var termMax: Term = 2
        package var proposals = 0
        package var campaigns = 3
        package var crashes = 0
        /// Of links that keep their order; others drop whatever they like.
        package var drops = 0
        package var repeats = 0
        package var changes = 0
        package var reads = 0
        package init() {}
    }

    enum Event: Hashable, Sendable {
        case campaign(Int), deliver(Int), deliverAgain(Int), drop(Int), sync(Int), crash(Int), propose(Int), change(Int)
        case apply(Int), read(Int)
    }

    struct Job: Hashable, Sendable {
        var truncateFrom: LogIndex?
        var entries: [EntryHeader]
        var hardState: HardState?
        var afterDurable: [Message]

        func add(to print: inout Fingerprint, _ names: [UInt64]) {
            print.add(truncateFrom ?? 0)
            for entry in entries { entry.add(to: &print) }
            if let hardState { hardState.add(to: &print, names) }
            print.add(UInt64(afterDurable.count))
            // In no order across links: which member is asked first makes no difference.
            for message in afterDurable {
                var one = Fingerprint()
                message.add(to: &one, names: names)
                print.sum(one)
            }
        }
    }

    struct HostLog: LogReader {
        let log: [EntryHeader]

        func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead {
            .entries(Array(log[Int(from) - 1..<Int(through)]))
        }
    }

    struct Node: Hashable, Sendable {
        var core: RaftCore
        /// As the host knows it, from index 1.
        var log: [EntryHeader] = []
        var diskLog: [EntryHeader] = []
        var diskState = HardState()
        var jobs: [Job] = []

        /// What can be said of it without a name; the lowest 16 bits are free.
        var mark: UInt64 {
            var votes: UInt64 = core.vote == nil ? 0 : core.vote == core.id ? 1 : 2
            if diskState.vote != nil { votes += 4 }
            let place = core.lastIndex << 32 | core.lastTerm << 28 | core.commitIndex << 24
            return core.term << 40 | UInt64(core.role.rawValue) << 36 | place | UInt64(jobs.count) << 20 | votes << 16
        }

        func add(to print: inout Fingerprint, _ names: [UInt64]) {
            core.add(to: &print, names: names)
            for entry in log { entry.add(to: &print) }
            print.add(UInt64(diskLog.count))
            for entry in diskLog { entry.add(to: &print) }
            diskState.add(to: &print, names)
            for job in jobs { job.add(to: &print, names) }
        }
    }

    /// Each node is kept apart, so that worlds share those in which they don't differ.
    struct Nodes: RandomAccessCollection, MutableCollection, Hashable, Sendable {
        private var cells: [[Node]]

        init(_ nodes: [Node]) { cells = nodes.map { [$0] } }
        var startIndex: Int { 0 }
        var endIndex: Int { cells.count }
        subscript(position: Int) -> Node {
            _read { yield cells[position][0] }
            _modify { yield &cells[position][0] }
        }
    }

    private struct Read: Hashable, Sendable {
        var context: UInt64
        var floor: Int
    }

    var nodes: Nodes
    private(set) var network: [Message] = []
    private var budget: Budget
    private let initial: Configuration
    private let change: ConfigurationChange
    private var committed: [EntryHeader] = []
    /// By entry: the term of the leader that committed it. Leaders of later terms must have it, older ones may not.
    private var committedIn: [Term] = []
    /// By term.
    private var leaders: [NodeID?]
    private var reads: [Read] = []
    private var nextContext: UInt64 = 1
    private let isOrdered: Bool

    package init(voters: Int, change: ConfigurationChange = .leave, budget: Budget, isOrdered: Bool) {
        self.isOrdered = isOrdered
        initial = Configuration(voters: (1...voters).map { NodeID(UInt64($0)) })
        self.change = change
        self.budget = budget
        leaders = Array(repeating: nil, count: Int(budget.termMax) + 1)
        let configuration = initial
        nodes = Nodes((1...3).map { Node(core: Self.core(NodeID($0), configuration, RaftCore.Restored())) })
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
        var events: [Event] = []
        for node in nodes.indices {
            let role = nodes[node].core.role
            if role != .leader && nodes[node].core.term < budget.termMax && budget.campaigns > 0 {
                events.append(.campaign(node))
            }
            if !nodes[node].jobs.isEmpty { events.append(.sync(node)) }
            if budget.crashes > 0 { events.append(.crash(node)) }
            // What is applied matters to changes of the members only.
            if !change.isLeave && nodes[node].core.applicableIndex > nodes[node].core.appliedIndex {
                events.append(.apply(node))
            }
            guard role == .leader else { continue }
            if budget.proposals > 0 { events.append(.propose(node)) }
            if budget.changes > 0 { events.append(.change(node)) }
            if budget.reads > 0 { events.append(.read(node)) }
        }
        for position in network.indices {
            if isOrdered && position > 0 && isSameLink(network[position - 1], network[position]) { continue }
            events.append(.deliver(position))
            if budget.drops > 0 { events.append(.drop(position)) }
            if budget.repeats > 0 { events.append(.deliverAgain(position)) }
        }
        return events
    }

    /// The world after `event`. Throws ``SimulationFailure`` when an invariant breaks.
    func after(_ event: Event) throws -> World {
        var next = self
        try next.perform(event)
        // Without crashes nobody can tell how late a disk is, up to the order of messages.
        if budget.crashes == 0 {
            while let node = next.nodes.firstIndex(where: { !$0.jobs.isEmpty }) { try next.sync(node) }
        }
        if next.network.contains(where: next.isSpent) {
            let pending = next.network
            next.network = pending.filter { !next.isSpent($0) }
        }
        return next
    }

    private func isSameLink(_ a: Message, _ b: Message) -> Bool { a.from == b.from && a.to == b.to }

    /// True for a message that its receiver will ignore, now and for ever: to drop it at once leaves out nothing but
    /// detours. While crashes are left, a term counts only once it is on disk.
    private func isSpent(_ message: Message) -> Bool {
        let node = Int(message.to.rawValue) - 1
        let known = nodes[node].core.term
        let term = budget.crashes > 0 ? min(known, nodes[node].diskState.term) : known
        let isOfTerm = message.term == term && term == known
        switch message.kind {
        // Of an older term it is answered, and tells a commit index.
        case .vote: return false
        case .voteResponse:
            // A refusal that tells a commit index is heard by followers too.
            if message.reject && message.commit > nodes[node].core.commitIndex { return message.term < term }
            return message.term < term || (isOfTerm && nodes[node].core.role != .candidate)
        case .appendResponse, .heartbeatResponse:
            return message.term < term || (isOfTerm && nodes[node].core.role != .leader)
        default: return false
        }
    }

    /// The same for worlds that differ only in the names of the nodes, as far as they start as equals: the nodes are
    /// named in the order of what tells them apart; where nothing does, every order is tried and the least print taken.
    var fingerprint: Fingerprint {
        guard change.isLeave && initial.voters.count == nodes.count else { return fingerprint([0, 1, 2, 3]) }
        let marks = nodes.indices.map(mark)
        var least: Fingerprint?
        for order in Self.orders where marks[order[0]] <= marks[order[1]] && marks[order[1]] <= marks[order[2]] {
            var names: [UInt64] = [0, 0, 0, 0]
            for (place, node) in order.enumerated() { names[node + 1] = UInt64(place + 1) }
            let print = fingerprint(names)
            if let known = least, !(print < known) { continue }
            least = print
        }
        return least ?? Fingerprint()
    }

    private static let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]

    /// What can be said of a node without a name.
    private func mark(_ node: Int) -> UInt64 {
        let id = nodes[node].core.id
        var mark = nodes[node].mark
        for message in network {
            if message.from == id { mark += 1 << 8 }
            if message.to == id { mark += 1 }
        }
        return mark
    }

    private func fingerprint(_ names: [UInt64]) -> Fingerprint {
        var print = Fingerprint()
        print.add(UInt64(budget.proposals) << 32 | UInt64(budget.crashes) << 16 | UInt64(budget.repeats))
        print.add(UInt64(budget.changes) << 32 | UInt64(budget.reads) << 16 | UInt64(budget.drops))
        print.add(UInt64(budget.campaigns))
        for leader in leaders { print.add(leader.map { names[Int($0.rawValue)] } ?? 0) }
        for entry in committed { entry.add(to: &print) }
        for term in committedIn { print.add(term) }
        for read in reads { print.add(read.context << 32 | UInt64(read.floor)) }
        for node in nodes.indices {
            var one = Fingerprint()
            one.add(names[node + 1])
            nodes[node].add(to: &one, names)
            print.sum(one)
        }
        var place: UInt64 = 0
        for position in network.indices {
            let isNext = isOrdered && position > 0 && isSameLink(network[position - 1], network[position])
            place = isNext ? place + 1 : 0
            var one = Fingerprint()
            one.add(place)
            network[position].add(to: &one, names: names)
            print.sum(one)
        }
        return print
    }

    func text(_ event: Event) -> String {
        switch event {
        case .deliver(let position): "deliver \(network[position].text)"
        case .deliverAgain(let position): "deliver and keep \(network[position].text)"
        case .drop(let position): "drop \(network[position].text)"
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
            budget.campaigns -= 1
            try step(node, .campaign)
        case .deliver(let position):
            let message = network.remove(at: position)
            try step(Int(message.to.rawValue) - 1, .receive(message))
        case .deliverAgain(let position):
            budget.repeats -= 1
            let message = network[position]
            if isOrdered {
                // The copy comes after everything that is on the link now.
                network.remove(at: position)
                send(message)
            }
            try step(Int(message.to.rawValue) - 1, .receive(message))
        case .drop(let position):
            budget.drops -= 1
            network.remove(at: position)
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

    private mutating func drive(_ node: Int, _ body: (inout RaftCore, HostLog, inout Ready) -> Void) throws {
        var ready = Ready()
        let before = nodes[node].core.commitIndex
        let reader = HostLog(log: nodes[node].log)
        body(&nodes[node].core, reader, &ready)
        nodes[node].core.forgetTime()
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
        if nodes[node].core.role == .leader { try checkLeader(nodes[node].core) }
        if nodes[node].core.commitIndex > before { try checkCommit(node, from: before) }
    }

    /// The network is a list by link, in order of sending, or a set in one order.
    private mutating func send(_ message: Message) {
        if isOrdered {
            let link = message.from.rawValue << 8 | message.to.rawValue
            var place = network.count
            while place > 0 && network[place - 1].from.rawValue << 8 | network[place - 1].to.rawValue > link {
                place -= 1
            }
            network.insert(message, at: place)
            return
        }
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
        for (entry, inTerm) in zip(committed, committedIn)
        where inTerm < core.term && core.term(at: entry.index) != entry.term {
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
            committedIn.append(core.term)
            for other in nodes where other.core.role == .leader && other.core.term > core.term {
                guard other.core.term(at: index) == entry.term else { throw fail("a newer leader lacks \(index)") }
            }
        }
    }
}
