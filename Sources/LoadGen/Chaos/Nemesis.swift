// Carries out a schedule of faults on an embedded cluster, one at a time, and sees to it that the cluster comes back
// after each: a node that ends although nothing was done to it, or does not catch up in time, ends the run as a
// failure. Runs on the main thread, which alone starts and ends processes.
import Glibc
import LabKit

struct Nemesis {
    let cluster: EmbeddedCluster
    private let progress: Progress
    private var schedule: ChaosSchedule
    private let runSeconds: Double
    /// Also the one that the cluster did not come back from.
    private(set) var spans: [FaultSpan] = []

    /// After the end of a fault everything must be well again within this.
    static let recoverySeconds = 30.0
    private static let slowLinkNanoseconds: UInt64 = 30_000_000
    private static let resetsPerMillion = 20_000
    /// 100 ± 40 ms each way and 5 % of what is sent: a bad line across a continent.
    private static let lossyDelayNanoseconds: UInt64 = 100_000_000
    private static let lossyJitterNanoseconds: UInt64 = 40_000_000
    private static let lossPerMillion = 50_000
    private static let clockSeconds = 3600.0
    /// From the healing of a long cut to the next cut: less than a healed link may take.
    private static let secondCutAfterSeconds = 0.2
    /// Longer than the bound of a long cut, so that links that stay unused exceed it.
    private static let secondCutSeconds = 5.0
    /// A node whose files are damaged refuses within this, or goes on.
    private static let refusalSeconds = 2.0

    /// - Parameters:
    ///   - faults: those to take; they must be possible on this cluster.
    ///   - runSeconds: how long the run is meant to last; bounds single faults.
    init(
        cluster: EmbeddedCluster, seed: UInt64, faults: Set<ChaosFault>, runSeconds: Double, progress: Progress
    ) {
        self.cluster = cluster
        self.progress = progress
        self.runSeconds = runSeconds
        schedule = ChaosSchedule(seed: seed, faults: faults)
    }

    /// Those of `faults` that can be done to a cluster.
    static func possible(_ faults: Set<ChaosFault>, on cluster: EmbeddedCluster) -> Set<ChaosFault> {
        var isProxied = false
        if case .proxy = cluster.network { isProxied = true }
        return faults.filter { fault in
            (isProxied || !fault.needsProxy) && (cluster.hasFalseClocks || !fault.needsFalseClock)
        }
    }

    /// Disturbs and heals until `deadline`, in nanoseconds of MonotonicClock.
    mutating func run(until deadline: UInt64) throws(LoadGenError) {
        while MonotonicClock.now() < deadline {
            let step = schedule.next()
            try hold(step.calmSeconds)
            guard MonotonicClock.now() < deadline else { return }
            try perform(step)
        }
    }

    private mutating func perform(_ planned: ChaosStep) throws(LoadGenError) {
        var step = planned
        step.seconds = planned.seconds(inRunOf: runSeconds)
        var random = SeededRandom(seed: step.seed, stream: 601)
        let victims = try resolve(step, &random)
        let traffic = countedTraffic(step, victims)
        var span = FaultSpan(
            fault: step.fault, target: step.target, nodes: victims.map { cluster.nodes[$0].name },
            from: MonotonicClock.now(), until: 0, recovered: 0)
        do throws(LoadGenError) {
            span.note = try strike(step, victims, &random)
            span.until = MonotonicClock.now()
            try heal()
            try recover(after: step)
            span.recovered = MonotonicClock.now()
            if let traffic { span.catchUp = try finish(traffic) }
        } catch {
            let now = MonotonicClock.now()
            if span.until == 0 { span.until = now }
            span.recovered = now
            span.note = error == .interrupted ? "interrupted" : "the cluster did not come back"
            spans.append(span)
            throw error
        }
        spans.append(span)
        let lasted = MonotonicClock.seconds(from: span.from, to: span.until)
        let wayBack = MonotonicClock.seconds(from: span.until, to: span.recovered)
        progress.say(
            "chaos \(spans.count): \(step.fault.rawValue) of \(span.nodes.joined(separator: "+")) "
                + "(\(step.target.rawValue)) for \(NumberText.fixed(lasted, 1)) s, well again after "
                + "\(NumberText.fixed(wayBack, 1)) s" + (span.note.map { "; \($0)" } ?? ""))
    }

    /// A follower that is paused is sent what it lacks when it goes on; the proxy counts it.
    private func countedTraffic(_ step: ChaosStep, _ victims: [Int]) -> CatchUpTraffic? {
        guard step.fault == .pause, step.target == .follower, case .proxy(let proxy) = cluster.network else {
            return nil
        }
        return CatchUpTraffic(to: victims[0], bytes: proxy.bytesSent)
    }

    private func finish(_ traffic: CatchUpTraffic) throws(LoadGenError) -> ChaosResult.CatchUp? {
        try hold(CatchUpTraffic.settleSeconds)
        guard case .proxy(let proxy) = cluster.network else { return nil }
        return traffic.catchUp(proxy.bytesSent)
    }

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
        case .partition: for victim in victims { try isolate(victim, .blackHole) }
        case .partitionClosed: for victim in victims { try isolate(victim, .closed) }
        case .partitionIn: for victim in victims { try isolate(victim, outgoing: false) }
        case .partitionOut: for victim in victims { try isolate(victim, incoming: false) }
        case .bridge:
            try cluster.network.cut(from: victims[0], to: victims[1])
            try cluster.network.cut(from: victims[1], to: victims[0])
        case .slowLinks: disturb(victims[0]) { $0.delayNanoseconds = Nemesis.slowLinkNanoseconds }
        case .longCut: return try cutTwice(victims[0], step, &random)
        case .lossyLinks: for victim in victims { disturb(victim, Self.lose) }
        case .clockBack: for victim in victims { try cluster.setClock(ahead: -Self.clockSeconds, at: victim) }
        case .clockForth: for victim in victims { try cluster.setClock(ahead: Self.clockSeconds, at: victim) }
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

    private func isolate(
        _ node: Int, incoming: Bool = true, outgoing: Bool = true, _ cut: LinkCut = .held
    ) throws(LoadGenError) {
        try cluster.network.isolate(node, of: cluster.nodes.count, incoming: incoming, outgoing: outgoing, cut)
    }

    /// Cuts a node off for long, and soon after it is back another one: the links that have just healed carry the
    /// quorum then.
    private func cutTwice(
        _ victim: Int, _ step: ChaosStep, _ random: inout SeededRandom
    ) throws(LoadGenError) -> String? {
        try isolate(victim, .blackHole)
        try hold(step.seconds)
        try cluster.network.heal()
        try hold(Self.secondCutAfterSeconds)
        let others = cluster.nodes.indices.filter { $0 != victim }
        let second = others[random.below(others.count)]
        try isolate(second, .blackHole)
        try hold(Self.secondCutSeconds)
        return "\(cluster.nodes[second].name) was cut off next"
    }

    private static func lose(_ rules: inout LinkRules) {
        rules.delayNanoseconds = lossyDelayNanoseconds
        rules.jitterNanoseconds = lossyJitterNanoseconds
        rules.lossPerMillion = lossPerMillion
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
            if cluster.hasFalseClocks { try cluster.setClock(ahead: 0, at: index) }
            // All of them go on at once, before any of them is waited for.
            if cluster.nodes[index].isDisturbed { cluster.nodes[index].process?.send(SIGCONT) }
        }
        for index in cluster.nodes.indices {
            guard let process = cluster.nodes[index].process else { continue }
            guard cluster.nodes[index].isDisturbed else { continue }
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
