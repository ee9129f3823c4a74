// A scenario is a text: commands to a simulated group, one per line, each followed by what came of it, indented.
// Running it gives the same text with the answers of today, so that a difference is a failed test and a rewrite is a
// copy. All invariants of the simulation hold here too. Storage finishes only when the scenario says `store` or
// `settle`.

import Raft

package struct Scenario {
    private var group: Simulation?
    private var words: [Substring] = []

    private struct Mistake: Error {
        var text: String
    }

    /// `text` with the answers of this build.
    package static func run(_ text: String) -> String {
        var scenario = Scenario()
        var lines: [String] = []
        var source = text.split(separator: "\n", omittingEmptySubsequences: false)
        if source.last == "" { source.removeLast() }
        for line in source where !line.hasPrefix("    ") {
            lines.append(String(line))
            if line.isEmpty || line.hasPrefix("#") { continue }
            lines += scenario.answer(to: line).map { "    " + $0 }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private mutating func answer(to line: Substring) -> [String] {
        words = line.split(separator: " ")
        let before = group.map(Self.states) ?? []
        group?.journal = []
        do {
            try perform()
        } catch let mistake as Mistake {
            return ["no: " + mistake.text]
        } catch {
            return ["error: \(error)"]
        }
        guard let group else { return [] }
        var answer = ["settle", "wait", "heal"].contains(words[0]) ? [] : group.journal ?? []
        if ["settle", "wait"].contains(words[0]) {
            answer = (group.journal ?? []).filter { $0.contains(" read ") }
        }
        for (position, state) in Self.states(group).enumerated() {
            if before.isEmpty || before[position] != state { answer.append(state) }
        }
        return words[0] == "group" ? Self.states(group) : answer
    }

    private static func states(_ group: Simulation) -> [String] {
        group.nodes.map { node in
            guard let core = node.core else { return "\(node.id) is down" }
            var log: [String] = []
            for index in core.snapshot.index + 1..<core.lastIndex + 1 { log.append("\(core.term(at: index) ?? 0)") }
            var text = "\(node.id) \(core.role) term \(core.term) leader \(core.leader.map(\.description) ?? "none")"
            text += " commit \(core.commitIndex) log \(core.snapshot.index)|\(log.joined(separator: ","))"
            text += " durable \(core.durableIndex)"
            if core.isRecovering { text += " recovering" }
            let members = core.configuration
            if members != group.initial || members.isJoint {
                text += " voters \(members.voters)"
                if members.isJoint { text += " outgoing \(members.outgoing)" }
                if !members.learners.isEmpty { text += " learners \(members.learners)" }
            }
            return text
        }
    }

    // MARK: Commands

    private mutating func perform() throws {
        if words[0] == "group" { return try makeGroup() }
        guard let group else { throw Mistake(text: "the first command is `group`") }
        switch words[0] {
        case "deliver", "drop", "repeat": try move(group, words[0])
        case "settle":
            let apply = words.count < 2 || words[1] != "unapplied"
            group.appliesWhenSettling = apply
            try group.settle()
        case "wait":
            group.appliesWhenSettling = true
            for _ in 0..<(try number(1)) {
                for node in group.nodes.indices { try group.step(node, .tick) }
                try group.settle()
            }
        case "heal":
            for from in group.cut.indices { for to in group.cut.indices { group.cut[from][to] = false } }
        case "cut":
            let (from, to) = try (node(1), node(2))
            group.cut[from][to] = true
            if words.count < 4 { group.cut[to][from] = true }
        case "inject": try inject(group)
        default: try act(group, try node(1))
        }
    }

    private func act(_ group: Simulation, _ node: Int) throws {
        switch words[0] {
        case "tick": for _ in 0..<(words.count > 2 ? try number(2) : 1) { try group.step(node, .tick) }
        case "campaign": try group.step(node, .campaign)
        case "forget": try group.step(node, .forgetLeader)
        case "stall": try group.step(node, .storageStalled)
        case "paused": try group.step(node, .paused)
        case "transfer": try group.step(node, .transferLeadership(to: group.nodes[self.node(2)].id))
        case "unreachable": try group.step(node, .unreachable(group.nodes[self.node(2)].id))
        case "propose": for _ in 0..<(words.count > 2 ? try number(2) : 1) { try propose(group, node) }
        case "read": try group.scenarioRead(node, isLease: false)
        case "lease": try group.scenarioRead(node, isLease: true)
        case "store": try group.sync(node, jobsMax: words.count > 2 ? try number(2) : Int.max)
        case "apply": try apply(group, node)
        case "compact": try group.compact(node)
        // `crash N commit` says the same: no disk keeps a commit index that was not part of a hard state. `crash N
        // older` leaves what an older version would have written, which stored none.
        case "crash":
            group.losePower(node)
            if words.count > 2 && words[2] == "older" { group.nodes[node].disk.hardState.commit = 0 }
        case "lose": try lose(group, node)
        case "restart": try group.start(node)
        case "change", "leave":
            if let refused = try group.propose(node, try change()) { throw Mistake(text: refused.description) }
        default: throw Mistake(text: "no command '\(words[0])'")
        }
    }

    /// `lose N`: the log of a node that is down is gone; `lose N 2`: its last two entries are.
    private func lose(_ group: Simulation, _ node: Int) throws {
        guard group.nodes[node].core == nil else { throw Mistake(text: "\(node + 1) is up") }
        let last = group.nodes[node].disk.lastIndex
        let count = words.count > 2 ? UInt64(try number(2)) : last
        group.nodes[node].disk.lose(after: last - min(last, count), initial: group.initial)
    }

    /// Applies what is committed. What only waits for the commit of a change to be on disk is stored first.
    private func apply(_ group: Simulation, _ node: Int) throws {
        try group.apply(node)
        guard let core = group.nodes[node].core, core.applicableIndex < core.commitIndex,
            core.applicableIndex < core.durableIndex
        else { return }
        try group.sync(node)
        try group.apply(node)
    }

    private func propose(_ group: Simulation, _ node: Int) throws {
        if let dropped = try group.proposeOne(node) { throw Mistake(text: "dropped: \(dropped)") }
    }

    private mutating func makeGroup() throws {
        var settings = RaftCore.Settings()
        var (voters, learners, spares) = (3, 0, 0)
        for word in words.dropFirst() {
            let pair = word.split(separator: "=")
            guard pair.count == 2, let value = Int(pair[1]) else { throw Mistake(text: "'\(word)' is no setting") }
            switch pair[0] {
            case "voters": voters = value
            case "learners": learners = value
            case "spares": spares = value
            case "preVote": settings.preVote = value != 0
            case "checkQuorum": settings.checkQuorum = value != 0
            case "leaseReads": settings.leaseReads = value != 0
            case "quiesceTicks": settings.quiesceTicks = value
            case "inflight": settings.inflightMessagesMax = value
            case "appendBytes": settings.appendBytesMax = value
            case "uncommittedBytes": settings.uncommittedBytesMax = value
            default: throw Mistake(text: "no setting '\(pair[0])'")
            }
        }
        let ids = (1...voters + learners).map { NodeID(UInt64($0)) }
        group = try Simulation(
            configuration: Configuration(voters: Array(ids[..<voters]), learners: Array(ids[voters...])),
            count: voters + learners + spares, settings: settings)
        group?.journal = []
    }

    /// `+4` adds a voter, `~2` makes a learner, `-3` removes; `implicit` or `explicit` may follow.
    private func change() throws -> ConfigurationChange {
        if words[0] == "leave" { return .leave }
        var change = ConfigurationChange([])
        for word in words.dropFirst(2) {
            if word == "implicit" || word == "explicit" {
                change.transition = word == "implicit" ? .implicit : .explicit
                continue
            }
            let operations: [Character: ConfigurationChange.Operation] = [
                "+": .addVoter, "~": .addLearner, "-": .remove,
            ]
            guard let operation = word.first.flatMap({ operations[$0] }), let id = UInt64(word.dropFirst())
            else { throw Mistake(text: "'\(word)' is no change") }
            change.steps.append(ConfigurationChange.Step(operation, NodeID(id)))
        }
        return change
    }

    /// `deliver [KIND] [FROM>TO]`: the messages that match and are on the way now, in order.
    private func move(_ group: Simulation, _ verb: Substring) throws {
        let all = group.network
        group.network.removeAll()
        var matching: [SimulatedMessage] = []
        for message in all {
            let link = "\(message.message.from)>\(message.message.to)"
            let isMatch = words.dropFirst().allSatisfy { $0 == link || $0 == "\(message.message.kind)" }
            if isMatch { matching.append(message) }
            if !isMatch || verb == "repeat" { group.network.append(message) }
        }
        if matching.isEmpty { throw Mistake(text: "no such message is on the way") }
        if verb == "drop" { return }
        for message in matching {
            if verb == "repeat" { group.network.append(message) } else { try group.deliver(message) }
        }
    }

    /// A message from nowhere: `inject KIND FROM>TO field=value…`.
    private func inject(_ group: Simulation) throws {
        let link = words.count > 2 ? words[2].split(separator: ">").compactMap { UInt64($0) } : []
        guard link.count == 2, let kind = Message.Kind.allCases.first(where: { "\($0)" == words[1] })
        else { throw Mistake(text: "inject KIND FROM>TO field=value…") }
        var message = Message(kind, from: NodeID(link[0]), to: NodeID(link[1]), term: 0)
        for word in words.dropFirst(3) {
            let pair = word.split(separator: "=")
            if pair.count == 2 && pair[0] == "entries" {
                // Terms of no-ops.
                for term in pair[1].split(separator: ",").compactMap({ UInt64($0) }) {
                    let index = message.index + UInt64(message.entries.count) + 1
                    message.entries.append(EntryHeader(index: index, term: term, kind: .noop, byteCount: 0))
                }
                continue
            }
            guard pair.count == 2, let value = UInt64(pair[1]) else { throw Mistake(text: "'\(word)' is no field") }
            switch pair[0] {
            case "term": message.term = value
            case "index": message.index = value
            case "logTerm": message.logTerm = value
            case "commit": message.commit = value
            case "hint": message.rejectHint = value
            case "context": message.context = value
            case "reject": message.reject = value != 0
            case "force": message.force = value != 0
            default: throw Mistake(text: "no field '\(pair[0])'")
            }
        }
        let payloads = [UInt64](repeating: 0, count: message.entries.count)
        try group.deliver(SimulatedMessage(message: message, payloads: payloads))
    }

    private func number(_ position: Int) throws -> Int {
        guard position < words.count, let number = Int(words[position]) else {
            throw Mistake(text: "\(words[0]) wants a number")
        }
        return number
    }

    private func node(_ position: Int) throws -> Int {
        let number = try number(position)
        guard let group, group.nodes.indices.contains(number - 1) else { throw Mistake(text: "no node \(number)") }
        return number - 1
    }
}

extension Message {
    /// One line for people.
    var text: String {
        var text = "\(from)>\(to) \(kind) term \(term)"
        if index != 0 || kind == .append { text += " index \(index)" }
        if logTerm != 0 || kind == .append { text += " logTerm \(logTerm)" }
        if !entries.isEmpty {
            let terms = entries.map { ($0.kind == .configuration ? "c" : "") + "\($0.term)" }
            text += " entries \(terms.joined(separator: ","))"
        }
        if commit != 0 { text += " commit \(commit)" }
        if reject { text += " reject" }
        if rejectHint != 0 { text += " hint \(rejectHint)" }
        // The first attempt of a leader is left out.
        if context != 0 && !((kind == .append || kind == .appendResponse) && context == 1) {
            text += " context \(context)"
        }
        if force { text += " force" }
        return text
    }
}

extension Simulation {
    /// A crash that keeps exactly what was synced.
    func losePower(_ node: Int) {
        nodes[node].core = nil
        nodes[node].jobs.removeAll()
        nodes[node].completions.removeAll()
        nodes[node].ready.removeAll()
        nodes[node].staged.removeAll()
    }

    func scenarioRead(_ node: Int, isLease: Bool) throws {
        let context = nextContext
        nextContext += 1
        checks.readStarted(context, at: nodes[node].id)
        try step(node, isLease ? .leaseRead(context: context) : .readIndex(context: context))
    }

    func proposeOne(_ node: Int) throws -> ProposalDropped? {
        guard nodes[node].core != nil else { return nil }
        let reader = reader(node)
        let before = checks.before(nodes[node])
        var payloads = [nextPayload]
        nextPayload += 1
        var dropped: ProposalDropped?
        do throws(ProposalDropped) {
            try nodes[node].propose([ProposedEntry(kind: .data, byteCount: 10)], reader)
        } catch {
            dropped = error
            payloads = []
        }
        try finish(node, before, reader, nil, proposed: payloads)
        return dropped
    }
}
