// What happens to members for good: logs that lose entries, and the liveness check, in which a minority dies, whatever
// was going on with the members, and the rest must elect and commit within a bounded time without a hint of its host. A
// group must never be asked for more than its majorities can give: every configuration that could come to act counts.

import Raft

extension Simulation {
    /// Every configuration that a member acts by or may come to act by from what is in some log or on the way.
    var configurationsAhead: [Configuration] {
        var all: [Configuration] = []
        func add(_ configuration: Configuration) {
            if !all.contains(configuration) { all.append(configuration) }
        }
        func follow(_ start: Configuration, _ entries: some Sequence<SimulatedEntry>) {
            add(start)
            var last = start
            for entry in entries where entry.header.kind == .configuration {
                guard let next = try? last.applying(decode(entry.payload)) else { continue }
                last = next
                add(next)
            }
        }
        for node in nodes where !node.isRetired {
            follow(node.disk.baseConfiguration, node.disk.log)
            guard node.core != nil else { continue }
            follow(node.configuration, (node.log + node.staged).filter { $0.header.index > node.applied })
            if node.ready.snapshot != nil { follow(node.stagedConfiguration, node.staged) }
        }
        for message in network {
            if let configuration = message.configuration { add(configuration) }
            for (header, payload) in zip(message.message.entries, message.payloads) {
                for start in all { follow(start, [SimulatedEntry(header: header, payload: payload)]) }
            }
        }
        return all
    }

    /// A majority, or both of them, is in service and whole, even without `victim`.
    func hasWholeMajorities(_ configuration: Configuration, without victim: NodeID? = nil) -> Bool {
        let good = nodes.filter { $0.id != victim && !$0.isRetired && !$0.isDamaged }.map(\.id)
        return [configuration.voters, configuration.outgoing].allSatisfy { voters in
            voters.isEmpty || voters.count { good.contains($0) } > voters.count / 2
        }
    }

    private func canSpare(_ victim: NodeID, _ configurations: [Configuration]) -> Bool {
        configurations.allSatisfy { !$0.members.contains(victim) || hasWholeMajorities($0, without: victim) }
    }

    // MARK: Damage

    /// A node goes down, if it is up, and its disk forgets the end of its log, or all of it.
    func loseLog(_ node: Int) throws {
        guard canSpare(nodes[node].id, configurationsAhead), !nodes[node].isRetired else { return }
        crash(node)
        let disk = nodes[node].disk
        if disk.lastIndex == 0 { return }
        let kept = UInt64(random.next(in: 0..<max(disk.log.count, 1)))
        nodes[node].disk.lose(after: percent(30) ? 0 : disk.base.index + kept, initial: initial)
        counts.losses += 1
    }

    // MARK: Liveness

    /// As many nodes as all majorities can do without die for good. The others are up and hear each other; their hosts
    /// say nothing but the time, and clients ask for a read, as they would anywhere.
    package func loseMinority() throws {
        calm = true
        for from in cut.indices { for to in cut.indices { cut[from][to] = false } }
        let configurations = configurationsAhead
        // Leaders first, half of the time.
        var order = nodes.indices.map { (isFirst: nodes[$0].core?.role == .leader && seed % 2 == 0, node: $0) }
        for position in order.indices { order.swapAt(position, random.next(in: position..<order.count)) }
        for victim in order.filter(\.isFirst) + order.filter({ !$0.isFirst }) {
            if canSpare(nodes[victim.node].id, configurations) { bury(victim.node) }
        }
        for node in nodes.indices where !nodes[node].isRetired {
            try resume(node)
            if nodes[node].core == nil { try start(node) }
            try read(node)
        }
        var goal: (index: LogIndex, term: Term)?
        // Elections under PreVote and split votes, the promise of a lease, a stalled disk; the rest is the margin.
        let ticksMax = settings.lossTicks * 24 + settings.stallTicks
        for tick in 0..<ticksMax {
            for node in nodes.indices { try step(node, .tick) }
            try settle()
            let terms = nodes.map { $0.core?.hasCommittedInTerm == true ? $0.core?.term ?? 0 : 0 }
            guard let term = terms.max(), term > 0, let leader = terms.firstIndex(of: term) else { continue }
            if goal?.term != term {
                try propose(leader)
                goal = (nodes[leader].core?.lastIndex ?? 0, term)
                try settle()
            }
            if let goal, let core = nodes[leader].core, core.role == .leader, core.commitIndex >= goal.index {
                counts.liveTicksMax = max(counts.liveTicksMax, tick + 1)
                return
            }
        }
        throw SimulationFailure(description: "no leader \(ticksMax) ticks after a minority died: \(summary)")
    }

    /// Out of service for good.
    func bury(_ node: Int) {
        nodes[node].core = nil
        nodes[node].isRetired = true
        nodes[node].isPaused = false
        nodes[node].jobs.removeAll()
        nodes[node].completions.removeAll()
        nodes[node].ready.removeAll()
        nodes[node].staged.removeAll()
    }
}
