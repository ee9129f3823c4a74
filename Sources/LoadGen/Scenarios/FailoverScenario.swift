// Failover: open-loop writes over connections to every node while the leader is killed, again and again. What counts is
// the time during which nobody got an answer; and, later, that everything that was answered is still there.
import LabKit
import Synchronization

struct FailoverPlan: Sendable {
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
        let results = LoopResult()
        let started = MonotonicClock.now()
        let thread = WorkerThread { [codec, control, live] in
            do throws(LoadGenError) {
                results.store(.success(try OpenLoop.run(loop, codec: codec, control: control, live: live)))
            } catch {
                results.store(.failure(error))
            }
        }
        var trials: [FailoverResult.Trial] = []
        var failure: LoadGenError?
        do throws(LoadGenError) {
            for number in 1...plan.trials {
                let trial = try self.trial(number)
                trials.append(trial)
                progress.say(FailoverScenario.line(trial, of: plan.trials))
            }
        } catch {
            failure = error
        }
        control.stop()
        thread.join()
        let seconds = MonotonicClock.seconds(from: started, to: MonotonicClock.now())
        if let failure { throw failure }
        return outcome(try results.get(), trials, seconds)
    }

    private mutating func trial(_ number: Int) throws(LoadGenError) -> FailoverResult.Trial {
        try waitForService(since: MonotonicClock.now(), seconds: plan.settleSeconds)
        guard let leader = cluster.leader() else {
            throw LoadGenError.cluster("no node leads, so there is no leader to kill\n" + cluster.logTails())
        }
        // A random moment within the heartbeat interval, as in §9.3 of Ongaro and Ousterhout (ATC 2014).
        MonotonicClock.sleep(seconds: Double(random.below(1000)) / 10_000)
        let before = live.snapshot.counts
        let killed = cluster.kill(leader.index)
        try waitForService(since: killed, seconds: FailoverScenario.restoredSeconds)
        let observed = MonotonicClock.now()
        let successor = cluster.leader().map { cluster.nodes[$0.index].name } ?? "nobody"
        let acknowledged = control.acknowledgements(since: killed - min(killed, 1_000_000_000))
        let gap = AcknowledgementTimeline(acknowledged.map(\.completed)).gap(
            afterFaultAt: killed, observedUntil: observed)
        let first = acknowledged.filter { $0.due >= killed }.map(\.completed).min()
        try cluster.start(leader.index)
        let caughtUp = try cluster.waitUntilCaughtUp(leader.index, seconds: plan.recoverySeconds)
        guard let caughtUp else {
            throw LoadGenError.cluster(
                "\(cluster.nodes[leader.index].name) did not catch up within "
                    + "\(NumberText.fixed(plan.recoverySeconds, 0)) s of its restart\n" + cluster.logTails())
        }
        let after = live.snapshot.counts
        return FailoverResult.Trial(
            trial: number, victim: cluster.nodes[leader.index].name, successor: successor, gapSeconds: gap.seconds,
            censored: gap.isCensored, firstSuccessSeconds: first.map { MonotonicClock.seconds(from: killed, to: $0) },
            caughtUpSeconds: caughtUp,
            counts: OperationCounts(
                ok: after.ok - before.ok, error: after.error - before.error, unknown: after.unknown - before.unknown,
                retries: after.retries - before.retries))
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
            title: "SET over RESP to all nodes, \(codec.valueBytes) B values, the leader killed "
                + "\(trials.count) times; latency from the intended start, retries included",
            loop: .open, clients: cluster.nodes.count * OpenLoopPlan.connectionsPerEndpointDefault,
            windowSeconds: seconds, counts: loop.counts, operationsPerSecond: rate,
            payloadBytesPerSecond: rate * Double(KeyValueCodec.keyBytes + codec.valueBytes))
        result.offeredPerSecond = plan.writesPerSecond
        result.response = LatencySummary(loop.response)
        return FailoverOutcome(
            result: result,
            failover: FailoverResult(fault: "kill", offeredPerSecond: plan.writesPerSecond, trials: trials),
            ledger: loop.ledger, latenessSeconds: Double(loop.lateness.value(at: 0.99)) / 1e9,
            firstError: loop.firstError)
    }

    private static func line(_ trial: FailoverResult.Trial, of count: Int) -> String {
        "failover \(trial.trial)/\(count): killed \(trial.victim), \(trial.successor) took over, write gap "
            + "\(trial.censored ? "≥ " : "")\(NumberText.milliseconds(trial.gapSeconds)) ms"
    }
}

/// Hands the load thread's result to the thread that joins it.
private final class LoopResult: Sendable {
    private let value = Mutex<Result<OpenLoopOutcome, LoadGenError>?>(nil)

    func store(_ result: Result<OpenLoopOutcome, LoadGenError>) {
        value.withLock { $0 = result }
    }

    func get() throws(LoadGenError) -> OpenLoopOutcome {
        guard let result = value.withLock({ $0 }) else { preconditionFailure("the loop's thread has ended") }
        return try result.get()
    }
}
