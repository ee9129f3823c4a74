// What can happen in the simulation, one function per kind of event, and the calm phase in which everything is repaired
// and the group must become live.

import Raft

extension Simulation {
    func perform(_ action: Action, _ node: Int) throws {
        if nodes[node].isPaused && action != .crash && action != .resume { return }
        switch action {
        case .deliver: try deliverAny()
        case .tick: try tick(node)
        case .drain: try drain(busy(node) { $0.hasOutput })
        case .sync: try sync(busy(node) { !$0.jobs.isEmpty })
        case .report: try report(busy(node) { !$0.completions.isEmpty })
        case .propose: try propose(leaderOrAny(node))
        case .read: try read(isContested ? anyLeader(node) : node)
        case .apply: try apply(node)
        case .compact: try compact(node)
        case .crash: crash(node)
        case .lose: try loseLog(node)
        case .restart: if nodes[node].core == nil { try start(node) }
        case .change: try change(leaderOrAny(node))
        case .pause:
            let node = isContested ? leaderOrAny(node) : node
            guard nodes[node].core != nil else { return }
            nodes[node].isPaused = true
            counts.pauses += 1
        case .resume:
            let hasSlept = nodes[node].isPaused
            try resume(node)
            if isContested && hasSlept { try read(node) }
        case .cutLink: cutLinks(node)
        case .healLinks: for from in cut.indices { for to in cut.indices { cut[from][to] = false } }
        case .transfer:
            counts.transfers += 1
            // The old leader does not hear of the campaign.
            if isContested && percent(50) { cut[node][leaderOrAny(node)] = true }
            try step(leaderOrAny(node), .transferLeadership(to: nodes[node].id))
        case .campaign: try step(node, .campaign)
        case .forget: try step(node, .forgetLeader)
        case .unreachable: try step(leaderOrAny(node), .unreachable(nodes[node].id))
        case .stall: try step(node, .storageStalled)
        case .entriesAvailable: try step(leaderOrAny(node), .entriesAvailable)
        }
    }

    /// The first node from `node` on that is up and has work of a kind, so that few events are idle.
    private func busy(_ node: Int, _ hasWork: (SimulatedNode) -> Bool) -> Int {
        for distance in nodes.indices {
            let candidate = (node + distance) % nodes.count
            let isUp = nodes[candidate].core != nil && !nodes[candidate].isPaused
            if isUp && hasWork(nodes[candidate]) { return candidate }
        }
        return node
    }

    /// Mostly some leader, so that the action has an effect.
    func leaderOrAny(_ node: Int) -> Int {
        if percent(20) { return node }
        return nodes.indices.last { nodes[$0].core?.role == .leader && !nodes[$0].isPaused } ?? node
    }

    /// One of those that believe to lead, if there are any.
    private func anyLeader(_ node: Int) -> Int {
        let leaders = nodes.indices.filter { nodes[$0].core?.role == .leader && !nodes[$0].isPaused }
        return leaders.isEmpty ? node : leaders[random.next(in: 0..<leaders.count)]
    }

    private func deliverAny() throws {
        if network.isEmpty {
            // Nothing is on the way: let storage or time move instead, so that few events are idle.
            let action: [Action] = [.drain, .sync, .report, .apply, .tick]
            try perform(action[random.next(in: 0..<action.count)], random.next(in: 0..<nodes.count))
            return
        }
        // Mostly in order, as on a connection, else any.
        let position = percent(isContested ? 95 : 60) ? 0 : random.next(in: 0..<network.count)
        try deliver(network.remove(at: position))
    }

    func deliver(_ message: SimulatedMessage) throws {
        let node = Int(message.message.to.rawValue) - 1
        if nodes[node].core != nil && nodes[node].isPaused {
            network.append(message)
            return
        }
        let isLost = isCut(message.message) || nodes[node].core == nil
        mix(UInt64(message.message.kind.rawValue) << 16 ^ message.message.term << 8 ^ message.message.index)
        if !isLost { try step(node, message.input, attached: message) }
        settleTransfer(message, isDelivered: !isLost)
    }

    /// Finishes one to three storage jobs with one sync, and lets go what waited for them.
    func sync(_ node: Int, jobsMax: Int = .max) throws {
        let count = min(nodes[node].jobs.count, calm ? jobsMax : random.next(in: 1..<4))
        if count == 0 || nodes[node].core == nil || nodes[node].isPaused { return }
        var hardState: [Input] = []
        var position: [Input] = []
        for _ in 0..<count {
            let job = nodes[node].jobs.removeFirst()
            nodes[node].write(job)
            for input in SimulatedNode.completions(of: job) {
                if case .hardStateDurable = input { hardState = [input] } else { position = [input] }
            }
            for message in job.afterDurable {
                try checks.leaving(message.message, nodes[node])
                send(message)
            }
        }
        try checks.synced(nodes[node])
        nodes[node].completions += hardState + position
        if calm || percent(70) { while !nodes[node].completions.isEmpty { try report(node) } }
    }

    /// Tells the core one thing that storage or a transfer finished.
    func report(_ node: Int) throws {
        if nodes[node].completions.isEmpty || nodes[node].core == nil || nodes[node].isPaused { return }
        try step(node, nodes[node].completions.removeFirst())
    }

    func read(_ node: Int) throws {
        guard let core = nodes[node].core else { return }
        let context = nextContext
        nextContext += 1
        checks.readStarted(context, at: nodes[node].id)
        if core.settings.leaseReads && percent(70) {
            if core.holdsLease { counts.leaseReads += 1 }
            try step(node, .leaseRead(context: context))
        } else {
            try step(node, .readIndex(context: context))
        }
    }

    /// Applies what is committed and known to the host, up to a random point.
    func apply(_ node: Int) throws {
        guard nodes[node].core != nil, !nodes[node].isPaused, nodes[node].ready.snapshot == nil else { return }
        let drained = nodes[node].base.index + UInt64(nodes[node].log.count)
        let limit = min(nodes[node].applicable, drained)
        if limit <= nodes[node].applied { return }
        let ahead = Int(limit - nodes[node].applied)
        let target = nodes[node].applied + UInt64(calm ? ahead : random.next(in: 1..<ahead + 1))
        while nodes[node].applied < target {
            let next = nodes[node].applied + 1
            guard let entry = nodes[node].entry(at: next) else {
                throw SimulationFailure(description: "committed entry \(next) is missing at \(nodes[node].id)")
            }
            nodes[node].applied = next
            nodes[node].state = (nodes[node].state ^ entry.payload ^ entry.header.term << 40) &* 0x100_0000_01b3
            try checks.applied(nodes[node])
            if entry.header.kind == .configuration {
                try applyChange(node, decode(entry.payload))
                if nodes[node].core == nil || nodes[node].applied != next { return }
            }
        }
        try step(node, .applied(target))
    }

    /// Takes a snapshot of what is applied and drops the log before it.
    func compact(_ node: Int) throws {
        guard let core = nodes[node].core, nodes[node].ready.snapshot == nil else { return }
        let applied = nodes[node].applied
        guard applied > nodes[node].base.index, let term = core.term(at: applied) else { return }
        let point = SnapshotPoint(index: applied, term: term)
        try drain(node)
        guard nodes[node].base.index < applied, nodes[node].core?.term(at: applied) == term else { return }
        nodes[node].core?.compact(through: applied)
        nodes[node].log.removeFirst(Int(applied - nodes[node].base.index))
        nodes[node].base = point
        nodes[node].baseState = nodes[node].state
        nodes[node].baseConfiguration = nodes[node].configuration
        var job = StorageJob()
        job.compaction = (point, nodes[node].state, nodes[node].configuration)
        nodes[node].jobs.append(job)
    }

    /// Isolates a node wholly, in one direction, or from one other node.
    private func cutLinks(_ node: Int) {
        let other = random.next(in: 0..<nodes.count)
        counts.cutLinks += 1
        if isContested {
            // A leader with one other node at most, or one direction of a link.
            let leader = leaderOrAny(node)
            for from in cut.indices {
                for to in cut.indices where (from == leader || from == other) != (to == leader || to == other) {
                    cut[from][to] = true
                }
            }
            return
        }
        switch random.next(in: 0..<5) {
        case 0: for peer in cut.indices { (cut[node][peer], cut[peer][node]) = (true, true) }
        case 1: for peer in cut.indices { cut[node][peer] = true }
        case 2: for peer in cut.indices { cut[peer][node] = true }
        case 3:
            // Two sides that only `node` can talk to: a bridge.
            for from in cut.indices where from != node {
                for to in cut.indices where to != node && (from < other) != (to < other) { cut[from][to] = true }
            }
        default: (cut[node][other], cut[other][node]) = (true, true)
        }
    }

    // MARK: Calm

    /// Everything works again: the group must elect, commit a new entry everywhere, serve a read, and agree.
    package func heal(ticksMax: Int = 400) throws {
        calm = true
        for node in nodes.indices where nodes[node].isPaused { try resume(node) }
        for from in cut.indices { for to in cut.indices { cut[from][to] = false } }
        for node in nodes.indices where nodes[node].core == nil { try start(node) }
        var goal: LogIndex?
        var goalTerm: Term = 0
        var context: UInt64?
        for _ in 0..<ticksMax {
            for node in nodes.indices {
                try wakeOrphan(node)
                try step(node, .tick)
            }
            try settle()
            try tidyMembers()
            let terms = nodes.map { $0.core?.hasCommittedInTerm == true ? $0.core?.term ?? 0 : 0 }
            guard let term = terms.max(), term > 0, let leader = terms.firstIndex(of: term) else { continue }
            if goal == nil || goalTerm != term {
                try propose(leader)
                goal = nodes[leader].core?.lastIndex
                goalTerm = term
                try settle()
            }
            let members = nodes[leader].configuration.members
            guard let goal, !nodes[leader].configuration.isJoint,
                nodes.allSatisfy({ node in
                    !members.contains(node.id) || node.core.map { $0.commitIndex >= goal && !$0.isRecovering } ?? false
                })
            else { continue }
            if context.map({ !checks.isServed($0) }) ?? true {
                context = nextContext
                try read(nodes.indices.first { $0 != leader && members.contains(nodes[$0].id) } ?? leader)
                try settle()
            }
            if let context, checks.isServed(context) {
                return try checks.converged(nodes.filter { members.contains($0.id) })
            }
        }
        throw SimulationFailure(description: "no progress in \(ticksMax) ticks without faults: \(summary)")
    }

    var summary: String {
        nodes.map { node in
            guard let core = node.core else { return "\(node.id): down" }
            let members = node.configuration
            return "\(node.id): \(core.role) term \(core.term) applied \(core.appliedIndex) commit \(core.commitIndex)"
                + " last \(core.lastIndex) voters \(members.voters) outgoing \(members.outgoing)"
                + " unapplied \(core.configurationEntries)" + (core.isRecovering ? " recovering" : "")
        }.joined(separator: "; ")
    }

    /// Delivers, stores, reports and applies until nothing is left to do.
    func settle() throws {
        for _ in 0..<5000 {
            for node in nodes.indices {
                try drain(node)
                try sync(node)
                while !nodes[node].completions.isEmpty { try report(node) }
                try step(node, .entriesAvailable)
                if appliesWhenSettling { try apply(node) }
            }
            let messages = network
            network.removeAll()
            if messages.isEmpty { return }
            for message in messages { try deliver(message) }
        }
        throw SimulationFailure(description: "messages never cease: \(summary)")
    }
}
