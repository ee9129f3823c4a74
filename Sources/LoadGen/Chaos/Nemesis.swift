// Carries out a schedule of faults on an embedded cluster, one at a time, and sees to it that the cluster comes back after
// each: a node that ends although nothing was done to it, or does not catch up in time, ends the run as a failure. Runs on
// the main thread, which alone starts and ends processes.
import Glibc
import LabKit

struct Nemesis {
    let cluster: EmbeddedCluster
    private let progress: Progress
    private var schedule: ChaosSchedule
    private let startedAt = MonotonicClock.now()
    private(set) var events: [ChaosResult.Event] = []

    /// After the end of a fault everything must be well again within this.
    static let recoverySeconds = 30.0
    private static let slowLinkNanoseconds: UInt64 = 30_000_000
    private static let resetsPerMillion = 20_000
    /// A node whose files are damaged refuses within this, or goes on.
    private static let refusalSeconds = 2.0

    init(cluster: EmbeddedCluster, seed: UInt64, progress: Progress) {
        self.cluster = cluster
        self.progress = progress
        schedule = ChaosSchedule(seed: seed)
    }

    /// Disturbs and heals until `deadline`, in nanoseconds of MonotonicClock.
    mutating func run(until deadline: UInt64) throws(LoadGenError) {
        while MonotonicClock.now() < deadline {
            let step = schedule.next()
            guard isPossible(step.fault) else { continue }
            try hold(step.calmSeconds)
            guard MonotonicClock.now() < deadline else { return }
            try perform(step)
        }
    }

    /// The kernel's network is not made late or unreliable here.
    private func isPossible(_ fault: ChaosFault) -> Bool {
        if case .proxy = cluster.network { return true }
        return fault != .slowLinks && fault != .resets
    }

    private mutating func perform(_ step: ChaosStep) throws(LoadGenError) {
        var random = SeededRandom(seed: step.seed, stream: 601)
        let victims = try resolve(step, &random)
        let from = elapsed
        let note = try strike(step, victims, &random)
        let until = elapsed
        try heal()
        try recover(after: step)
        let event = ChaosResult.Event(
            fault: step.fault.rawValue, target: step.target.rawValue, nodes: victims.map { cluster.nodes[$0].name },
            fromSeconds: from, untilSeconds: until, recoveredSeconds: elapsed, note: note)
        events.append(event)
        progress.say(
            "chaos \(events.count): \(event.fault) of \(event.nodes.joined(separator: "+")) (\(event.target)) for "
                + "\(NumberText.fixed(until - from, 1)) s, well again after \(NumberText.fixed(elapsed - until, 1)) s"
                + (note.map { "; \($0)" } ?? ""))
    }

    private var elapsed: Double { MonotonicClock.seconds(from: startedAt, to: MonotonicClock.now()) }

    private func resolve(_ step: ChaosStep, _ random: inout SeededRandom) throws(LoadGenError) -> [Int] {
        let leader = try cluster.waitForLeader(seconds: Nemesis.recoverySeconds)
        var others = cluster.nodes.indices.filter { $0 != leader }
        for index in others.indices.dropFirst() { others.swapAt(index, random.below(index + 1)) }
        switch step.target {
        case .leader: return step.fault == .bridge ? [leader, others[0]] : [leader]
        case .follower: return [others[0]]
        case .majority: return [leader] + others.prefix(cluster.nodes.count / 2)
        case .all: return [leader] + others
        }
    }

    /// Does the fault to all victims at once and lets it last.
    /// - Returns: what is worth telling.
    private func strike(
        _ step: ChaosStep, _ victims: [Int], _ random: inout SeededRandom
    ) throws(LoadGenError) -> String? {
        switch step.fault {
        case .kill: for victim in victims { _ = cluster.kill(victim) }
        case .graceful:
            for victim in victims { _ = try cluster.inject(.graceful, at: victim) }
        case .pause: for victim in victims { cluster.pause(victim) }
        case .partition: for victim in victims { try isolate(victim) }
        case .partitionIn: for victim in victims { try isolate(victim, outgoing: false) }
        case .partitionOut: for victim in victims { try isolate(victim, incoming: false) }
        case .bridge:
            try cluster.network.cut(from: victims[0], to: victims[1])
            try cluster.network.cut(from: victims[1], to: victims[0])
        case .slowLinks: disturb(victims[0]) { $0.delayNanoseconds = Nemesis.slowLinkNanoseconds }
        case .resets: disturb(victims[0]) { $0.resetsPerMillion = Nemesis.resetsPerMillion }
        case .diskStall: for victim in victims { try cluster.order("stall", at: victim) }
        case .diskFull:
            for victim in victims {
                cluster.nodes[victim].isDisturbed = true
                try cluster.order("full", at: victim)
            }
        case .bitFlip: return try flipBit(of: victims[0], step, &random)
        case .replace: return try replace(victims[0], step)
        }
        try hold(step.seconds)
        return nil
    }

    private func isolate(_ node: Int, incoming: Bool = true, outgoing: Bool = true) throws(LoadGenError) {
        try cluster.network.isolate(node, of: cluster.nodes.count, incoming: incoming, outgoing: outgoing)
    }

    /// Changes what happens to all that a node sends and hears.
    private func disturb(_ node: Int, _ body: (inout LinkRules) -> Void) {
        guard case .proxy(let proxy) = cluster.network else { return }
        let count = cluster.nodes.count
        proxy.change { rules in
            for other in 0..<count where other != node {
                body(&rules[node][other])
                body(&rules[other][node])
            }
        }
    }

    /// Flips a bit while the node is down. It must refuse to start, or stop when it meets the damage, or never meet it;
    /// in each case it gets the good bit back afterwards.
    private func flipBit(
        of node: Int, _ step: ChaosStep, _ random: inout SeededRandom
    ) throws(LoadGenError) -> String? {
        _ = cluster.kill(node)
        guard let flip = BitFlip.choose(in: cluster.nodes[node].dataFolder, &random) else {
            try hold(step.seconds)
            return "no file is large enough to flip a bit of"
        }
        try flip.apply()
        try cluster.start(node)
        cluster.nodes[node].isDisturbed = true
        try hold(max(step.seconds, Nemesis.refusalSeconds))
        let isRunning = cluster.nodes[node].process?.status == .running
        _ = cluster.kill(node)
        let restored = try flip.revert()
        return "\(flip.name) byte \(flip.position): "
            + (isRunning ? "the node went on" : "the node refused")
            + (restored ? "" : ", and the file has changed since")
    }

    /// Takes every fault back. Nodes that ended are started again.
    private func heal() throws(LoadGenError) {
        try cluster.network.heal()
        for index in cluster.nodes.indices {
            try cluster.order(nil, at: index)
            guard let process = cluster.nodes[index].process else { continue }
            guard cluster.nodes[index].isDisturbed else { continue }
            process.send(SIGCONT)
            // What was told to end, or to fail, may still be at it.
            if process.waitForExit(seconds: 0.3) || !isAnswering(index) {
                _ = process.waitForExit(seconds: EmbeddedCluster.stopSeconds)
                _ = cluster.kill(index)
            } else {
                cluster.nodes[index].isDisturbed = false
            }
        }
    }

    private func isAnswering(_ index: Int) -> Bool {
        let deadline = MonotonicClock.now() + 2_000_000_000
        while MonotonicClock.now() < deadline {
            if cluster.nodes[index].process?.status != .running { return false }
            if let report = cluster.nodes[index].probe.status(), report.state != "failed" { return true }
            MonotonicClock.sleep(seconds: 0.02)
        }
        return false
    }

    private func recover(after step: ChaosStep) throws(LoadGenError) {
        try cluster.startAll()
        _ = try cluster.waitForLeader(seconds: Nemesis.recoverySeconds)
        for index in cluster.nodes.indices {
            guard try cluster.waitUntilCaughtUp(index, seconds: Nemesis.recoverySeconds) == nil else { continue }
            throw LoadGenError.cluster(
                "\(cluster.nodes[index].name) did not catch up within \(NumberText.fixed(Nemesis.recoverySeconds, 0)) s "
                    + "after \(step.fault.rawValue) of the \(step.target.rawValue)\n" + cluster.logTails())
        }
    }

    func hold(_ seconds: Double) throws(LoadGenError) {
        let end = MonotonicClock.now() + UInt64(seconds * 1e9)
        while MonotonicClock.now() < end {
            try Interruption.check()
            try cluster.checkAlive()
            MonotonicClock.sleep(seconds: 0.01)
        }
    }
}
