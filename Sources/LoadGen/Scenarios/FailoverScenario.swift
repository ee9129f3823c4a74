// Failover: open-loop writes over connections to every node while the leader is killed, paused, cut off, again and
// again. What counts is the time during which nobody got an answer; and, later, that everything that was answered is
// still there.
import LabKit

struct FailoverPlan: Sendable {
    var fault = LeaderFault.kill
    var trials: Int
    var writesPerSecond = 1000.0
    /// Undisturbed load before each fault.
    var settleSeconds: Double
    /// Service must be back within this, and a restarted node must have caught up within this.
    var recoverySeconds = 20.0
    var seed: UInt64
}

struct FailoverOutcome: Sendable {
    var result: ScenarioResult
    var failover: FailoverResult
    var ledger: KeyValueLedger
    /// 99th percentile of the generator's own lateness, in seconds.
    var latenessSeconds: Double
    var firstError: String?
}

/// Runs the trials on the calling thread, which must be the one that may start processes.
struct FailoverScenario {
    private let plan: FailoverPlan
    private let cluster: EmbeddedCluster
    private let codec: KeyValueCodec
    private let live: LiveCounters
    private let control = OpenLoopControl()
    private var random: SeededRandom

    /// Keys of failover runs begin here, above those of the write scenario.
    static let firstKey: UInt32 = 1 << 24
    /// The longest that one trial can take, in seconds; decides how many keys are set aside.
    private static let trialSecondsMax = 60.0
    private static let restoredShare = 0.95
    private static let restoredSeconds = 0.25
    /// How long a leader whose fault clients do not feel may stay in office.
    private static let replacedSecondsMax = 10.0

    init(_ plan: FailoverPlan, cluster: EmbeddedCluster, codec: KeyValueCodec, live: LiveCounters) {
        self.plan = plan
        self.cluster = cluster
        self.codec = codec
        self.live = live
        random = SeededRandom(seed: plan.seed, stream: 77)
    }

    mutating func run(progress: Progress) throws(LoadGenError) -> FailoverOutcome {
        let keys = UInt32(plan.writesPerSecond * (Double(plan.trials) + 1) * FailoverScenario.trialSecondsMax)
        let loop = OpenLoopPlan(
            endpoints: cluster.respEndpoints, writesPerSecond: plan.writesPerSecond,
            keys: FailoverScenario.firstKey..<FailoverScenario.firstKey + keys)
        let started = MonotonicClock.now()
        let load = OpenLoopThread(loop, codec: codec, control: control, live: live)
        var trials: [FailoverResult.Trial] = []
        var failure: LoadGenError?
        do throws(LoadGenError) {
            for number in 1...plan.trials {
                let trial = try self.trial(number)
                trials.append(trial)
                progress.say(line(trial))
            }
        } catch {
            failure = error
        }
        let loaded = try load.finish()
        let seconds = MonotonicClock.seconds(from: started, to: MonotonicClock.now())
        if let failure { throw failure }
        return outcome(loaded, trials, seconds)
    }

    private mutating func trial(_ number: Int) throws(LoadGenError) -> FailoverResult.Trial {
        try waitForService(since: MonotonicClock.now(), seconds: plan.settleSeconds)
        guard let leader = cluster.leader() else {
            throw LoadGenError.cluster("no node leads, so there is no leader to disturb\n" + cluster.logTails())
        }
        let name = cluster.nodes[leader.index].name
        // A random moment within the heartbeat interval, as in §9.3 of Ongaro and Ousterhout (ATC 2014).
        MonotonicClock.sleep(seconds: Double(random.below(1000)) / 10_000)
        let before = live.snapshot.counts
        let struck = try cluster.inject(plan.fault, at: leader.index)
        let replaced = plan.fault.leavesNodeTalking ? try waitForSuccessor(of: leader.index, since: struck) : nil
        try waitForService(since: struck, seconds: FailoverScenario.restoredSeconds)
        let observed = MonotonicClock.now()
        let successor = cluster.leader().map { cluster.nodes[$0.index].name } ?? "nobody"
        let acknowledged = control.acknowledgements(since: struck - min(struck, 1_000_000_000))
        let gap = AcknowledgementTimeline(acknowledged.map(\.completed)).gap(
            afterFaultAt: struck, observedUntil: observed)
        let first = acknowledged.filter { $0.due >= struck }.map(\.completed).min()
        try cluster.undo(plan.fault, at: leader.index)
        let caughtUp = try cluster.waitUntilCaughtUp(leader.index, seconds: plan.recoverySeconds)
        guard let caughtUp else {
            throw LoadGenError.cluster(
                "\(name) did not catch up within \(NumberText.fixed(plan.recoverySeconds, 0)) s of its return\n"
                    + cluster.logTails())
        }
        let after = live.snapshot.counts
        var trial = FailoverResult.Trial(
            trial: number, victim: name, successor: successor, gapSeconds: gap.seconds,
            censored: gap.isCensored, firstSuccessSeconds: first.map { MonotonicClock.seconds(from: struck, to: $0) },
            caughtUpSeconds: caughtUp,
            counts: OperationCounts(
                ok: after.ok - before.ok, error: after.error - before.error, unknown: after.unknown - before.unknown,
                retries: after.retries - before.retries))
        trial.replacedSeconds = replaced
        trial.elections = cluster.leader().map { $0.report.term - min($0.report.term, leader.report.term) }
        return trial
    }

    /// Until another node leads.
    /// - Returns: seconds since the fault; nil when nobody took over in time.
    private func waitForSuccessor(of index: Int, since: UInt64) throws(LoadGenError) -> Double? {
        let deadline = since + UInt64(FailoverScenario.replacedSecondsMax * 1e9)
        while MonotonicClock.now() < deadline {
            try Interruption.check()
            if let leader = cluster.leader(), leader.index != index {
                return MonotonicClock.seconds(from: since, to: MonotonicClock.now())
            }
            MonotonicClock.sleep(seconds: 0.005)
        }
        return nil
    }

    /// Until writes due after `since` have been acknowledged at 95 % of the offered rate for `seconds` on end.
    private func waitForService(since: UInt64, seconds: Double) throws(LoadGenError) {
        let deadline = since + UInt64((plan.recoverySeconds + seconds) * 1e9)
        let span = UInt64(seconds * 1e9)
        while MonotonicClock.now() < deadline {
            try Interruption.check()
            try cluster.checkAlive()
            let now = MonotonicClock.now()
            if now >= since + span {
                let recent = control.acknowledgements(since: now - span).count { $0.due >= since }
                if Double(recent) >= plan.writesPerSecond * seconds * FailoverScenario.restoredShare { return }
            }
            MonotonicClock.sleep(seconds: 0.005)
        }
        throw LoadGenError.cluster(
            "writes did not come back to \(NumberText.rate(plan.writesPerSecond))/s within "
                + "\(NumberText.fixed(plan.recoverySeconds, 0)) s\n" + cluster.logTails())
    }

    private func outcome(
        _ loop: OpenLoopOutcome, _ trials: [FailoverResult.Trial], _ seconds: Double
    ) -> FailoverOutcome {
        let rate = Double(loop.counts.ok) / seconds
        var result = ScenarioResult(
            scenario: "failover", operation: "put",
            title: "SET over RESP to all nodes, \(codec.valueBytes) B values, the leader \(plan.fault.deed) "
                + "\(trials.count) times; latency from the intended start, retries included",
            loop: .open, clients: cluster.nodes.count * OpenLoopPlan.connectionsPerEndpointDefault,
            windowSeconds: seconds, counts: loop.counts, operationsPerSecond: rate,
            payloadBytesPerSecond: rate * Double(KeyValueCodec.keyBytes + codec.valueBytes))
        result.offeredPerSecond = plan.writesPerSecond
        result.response = LatencySummary(loop.response)
        return FailoverOutcome(
            result: result,
            failover: FailoverResult(
                fault: plan.fault.rawValue, offeredPerSecond: plan.writesPerSecond, trials: trials),
            ledger: loop.ledger, latenessSeconds: Double(loop.lateness.value(at: 0.99)) / 1e9,
            firstError: loop.firstError)
    }

    private func line(_ trial: FailoverResult.Trial) -> String {
        "failover \(trial.trial)/\(plan.trials): \(trial.victim) \(plan.fault.deed), \(trial.successor) leads, write gap "
            + "\(trial.censored ? "≥ " : "")\(NumberText.milliseconds(trial.gapSeconds)) ms"
            + (trial.replacedSeconds.map { ", replaced after \(NumberText.milliseconds($0)) ms" } ?? "")
    }
}
