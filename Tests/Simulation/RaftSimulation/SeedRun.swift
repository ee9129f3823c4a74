// One seeded run from start to verdict. A run must depend on nothing but the values here.

package struct SeedRun: Sendable {
    package var seed: UInt64
    package var events: Int
    /// Kinds of events that are left out.
    package var without: Set<Simulation.Action> = []

    package init(seed: UInt64, events: Int) {
        self.seed = seed
        self.events = events
    }

    /// Reads `seed events [kind,kind…]`, as ``command`` writes them; nil when it is something else.
    package init?(_ words: [Substring]) {
        guard words.count >= 2, let seed = UInt64(words[0]), let events = Int(words[1]) else { return nil }
        self.init(seed: seed, events: events)
        for name in words.count > 2 ? words[2].split(separator: ",") : [] {
            guard let kind = Simulation.Action.allCases.first(where: { "\($0)" == name }) else { return nil }
            without.insert(kind)
        }
    }

    /// What replays this run.
    package var command: String {
        let kinds = Simulation.Action.allCases.filter { without.contains($0) }.map { "\($0)" }
        return "\(seed) \(events) \(kinds.joined(separator: ","))"
    }

    /// Runs with faults. From there a minority dies, or else everything heals. Throws ``SimulationFailure`` when an
    /// invariant breaks or the group does not become live.
    package func simulate() throws -> Simulation {
        let simulation = try Simulation(seed: seed)
        try simulation.run(events: events, without: without)
        let bereaved = Simulation(copying: simulation)
        try bereaved.loseMinority()
        simulation.counts.liveTicksMax = bereaved.counts.liveTicksMax
        try simulation.heal()
        simulation.counts.recoveries = simulation.nodes.reduce(0) { $0 + $1.recoveries }
        return simulation
    }
}
