// Members, clocks and pauses in the simulation: changes of the configuration, the clock that lease reads rest on,
// processes that stand still, and the repairs of the calm phase.

import Raft

extension SimulatedMessage {
    /// As the receiving host passes it on.
    var input: Input {
        guard message.kind == .snapshot, let configuration else { return .receive(message) }
        return .receiveSnapshot(message, configuration)
    }
}

extension Simulation {
    // MARK: Changes

    /// What stands for the bytes of a change: the transition, then six bits for each step.
    func encode(_ change: ConfigurationChange) -> UInt64 {
        var payload = UInt64(change.transition.rawValue)
        for (position, step) in change.steps.enumerated() {
            payload |= (UInt64(step.operation.rawValue) | step.node.rawValue << 2) << UInt64(2 + 6 * position)
        }
        return payload
    }

    func decode(_ payload: UInt64) -> ConfigurationChange {
        var steps: [ConfigurationChange.Step] = []
        var rest = payload >> 2
        while let operation = ConfigurationChange.Operation(rawValue: UInt8(rest & 3)) {
            steps.append(ConfigurationChange.Step(operation, NodeID(rest >> 2 & 15)))
            rest >>= 6
        }
        return ConfigurationChange(steps, transition: .init(rawValue: UInt8(payload & 3)) ?? .automatic)
    }

    func change(_ node: Int) throws {
        let count = [1, 1, 1, 2, 3][random.next(in: 0..<5)]
        let steps = (0..<count).map { _ in
            ConfigurationChange.Step(
                [.addVoter, .addVoter, .addLearner, .remove][random.next(in: 0..<4)],
                nodes[random.next(in: 0..<nodes.count)].id)
        }
        let isLeave = nodes[node].configuration.isJoint && percent(80)
        let transition: [ConfigurationChange.Transition] = [.automatic, .automatic, .implicit, .explicit]
        let change = isLeave ? .leave : ConfigurationChange(steps, transition: transition[random.next(in: 0..<4)])
        // Nobody makes a configuration whose majorities need members that have no vote.
        if let next = try? nodes[node].configuration.applying(change), !hasWholeMajorities(next) { return }
        try propose(node, change)
    }

    /// Why it was refused, or nil.
    @discardableResult
    func propose(_ node: Int, _ change: ConfigurationChange) throws -> ConfigurationRefused? {
        guard nodes[node].core != nil, !nodes[node].isPaused else { return nil }
        let reader = reader(node)
        let before = checks.before(nodes[node])
        var payloads = [encode(change)]
        var refused: ConfigurationRefused?
        do throws(ConfigurationRefused) {
            try nodes[node].propose(change, reader)
            counts.changes += 1
        } catch {
            refused = error
            payloads = []
        }
        try finish(node, before, reader, nil, proposed: payloads)
        return refused
    }

    /// The host reached a change: its own bookkeeping and the core's must agree.
    func applyChange(_ node: Int, _ change: ConfigurationChange) throws {
        try checks.actsBy(nodes[node])
        if let next = try? nodes[node].configuration.applying(change) {
            nodes[node].configuration = next
            counts.changesApplied += 1
        }
        try step(node, .configurationApplied(change))
        if let core = nodes[node].core, core.configuration != nodes[node].configuration {
            throw SimulationFailure(description: "\(core.id) holds other members than it applied")
        }
    }

    // MARK: Time

    /// One tick of a node, or some tenths of a tick for all.
    func tick(_ node: Int) throws {
        if node == 0 { counts.ticks += 1 }
        if !hasClock { return try step(node, .tick) }
        clock += 4
        for node in nodes.indices where nodes[node].nextTick <= clock {
            nodes[node].nextTick = clock + nodes[node].tickPeriod
            try step(node, .tick)
        }
    }

    func resume(_ node: Int) throws {
        guard nodes[node].core != nil, nodes[node].isPaused else { return }
        nodes[node].isPaused = false
        try step(node, .paused)
    }

    // MARK: Calm

    /// The host sees that the leader's node is gone or leads no more, and wakes who sleeps.
    func wakeOrphan(_ node: Int) throws {
        guard let core = nodes[node].core, core.role == .follower, let leader = core.leader else { return }
        let other = nodes[Int(leader.rawValue) - 1].core
        if other?.role != .leader || other?.term != core.term { try step(node, .forgetLeader) }
    }

    /// What an operator does: leaves joint configurations, takes removed nodes out of service.
    func tidyMembers() throws {
        let leaders = nodes.indices.filter { nodes[$0].core?.hasCommittedInTerm == true }
        guard let leader = leaders.max(by: { (nodes[$0].core?.term ?? 0) < (nodes[$1].core?.term ?? 0) })
        else { return }
        let configuration = nodes[leader].configuration
        if configuration.isJoint { try propose(leader, .leave) }
        if configuration.isJoint || nodes[leader].core?.configurationEntries.isEmpty == false { return }
        for node in nodes.indices where !configuration.members.contains(nodes[node].id) {
            bury(node)
        }
    }
}
