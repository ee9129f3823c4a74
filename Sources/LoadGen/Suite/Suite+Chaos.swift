// Chaos: writes, records and contended registers under a nemesis that a seed decides, then the proof that the cluster
// came out of it whole: every node with the same state, a history that one copy of the store could have given, nothing
// lost.
import Foundation
import LabKit
import Synchronization

extension Suite {
    fileprivate static let chaosWritesPerSecond = 300.0
    private static let chaosPartitions: UInt32 = 2
    private static let chaosRecordsPerBatch = 20
    private static let chaosBatchPause = Duration.milliseconds(40)
    /// Unanswered writes may be repeated for this long after the faults have ended.
    private static let chaosDrainSeconds = 60.0

    /// Disturbs a running cluster under load. What was recorded is judged even when the cluster did not come back.
    func chaos(_ cluster: EmbeddedCluster) throws(LoadGenError) {
        let live = LiveCounters()
        progress.begin(
            "chaos", "faults of seed \(plan.seed) under load", seconds: plan.chaosSeconds, live: live)
        let faults = Nemesis.possible(plan.chaosFaults, on: cluster)
        try explain(plan.chaosFaults.subtracting(faults), remaining: faults)
        let load = ChaosLoad(self, cluster: cluster, live: live)
        var nemesis = Nemesis(
            cluster: cluster, seed: plan.seed, faults: faults, runSeconds: plan.chaosSeconds, progress: progress)
        var failure: LoadGenError?
        let started = MonotonicClock.now()
        do throws(LoadGenError) {
            try nemesis.run(until: started + UInt64(plan.chaosSeconds * 1e9))
        } catch {
            failure = error
        }
        var result = ChaosResult(seed: plan.seed)
        result.events = FaultSpan.events(
            nemesis.spans, acknowledged: load.acknowledged(since: started), started: started,
            observedUntil: MonotonicClock.now())
        report.chaos = result
        report.checks += result.checks
        cluster.keepsData = failure != nil
        do throws(LoadGenError) {
            try load.finish(into: self, started)
        } catch {
            failure = failure ?? error
        }
        watchNodes()
        judge(load.registers.history)
        save(load.registers.history, in: cluster)
        if let failure { throw failure }
        try converge(cluster)
    }

    /// Says which faults can't be done here and why; there must be some left.
    private func explain(_ impossible: Set<ChaosFault>, remaining: Set<ChaosFault>) throws(LoadGenError) {
        let words = impossible.map(\.rawValue).sorted().joined(separator: ", ")
        let why = "false clocks need a C compiler (cc), late and breaking links need --network proxy"
        guard !remaining.isEmpty else { throw LoadGenError.usage("\(words) can't be done here: \(why)") }
        if !impossible.isEmpty { progress.say("chaos without \(words): \(why)") }
    }

    static func chaosWrites(_ endpoints: [SocketAddress], seconds: Double) -> OpenLoopPlan {
        let first = FailoverScenario.firstKey
        let keys = UInt32(chaosWritesPerSecond * (seconds + chaosDrainSeconds))
        return OpenLoopPlan(
            endpoints: endpoints, connectionsPerEndpoint: 8, writesPerSecond: chaosWritesPerSecond,
            keys: first..<first + keys)
    }

    func chaosRecords(_ stop: OpenLoopControl) -> IngestPlan {
        var plan = IngestPlan(
            endpoints: target.grpcEndpoints, topic: "chaos-\(codec.keyText(0).prefix(8))",
            partitions: Suite.chaosPartitions, warmupSeconds: 0, windowSeconds: self.plan.chaosSeconds,
            seed: codec.seed, timestamp: 1_700_000_000_000)
        plan.recordsPerBatch = Suite.chaosRecordsPerBatch
        plan.batchesInFlight = 2
        plan.pause = Suite.chaosBatchPause
        plan.isStopped = { stop.isStopping }
        return plan
    }

    /// The history as lines of tab-separated values, beside the servers' logs; removed with them when all went well.
    private func save(_ history: [KeyOperation], in cluster: EmbeddedCluster) {
        var text = "# seed \(plan.seed): key, action, start, end\n"
        for operation in history {
            let end = operation.end.map(String.init) ?? "\(operation.outcome)"
            text += "\(operation.key)\t\(operation.action)\t\(operation.start)\t\(end)\n"
        }
        try? Data(text.utf8).write(to: URL(fileURLWithPath: cluster.folder + "/history.tsv"))
    }

    /// All nodes must come to the same state at the same index.
    private func converge(_ cluster: EmbeddedCluster) throws(LoadGenError) {
        let seconds = Nemesis.recoverySeconds
        let deadline = MonotonicClock.now() + UInt64(seconds * 1e9)
        var found = StateHashes()
        while MonotonicClock.now() < deadline {
            try Interruption.check()
            try cluster.checkAlive()
            found = StateHashes.ask(cluster)
            if found.agree { break }
            MonotonicClock.sleep(seconds: 0.1)
        }
        report.chaos?.hashes = found.byNode
        progress.say("state hashes: \(found.summary)")
        report.checks.append(
            Check("states_converged", passed: found.agree, detail: found.summary, isAboutData: found.isKnown))
        if !found.agree { cluster.keepsData = true }
    }
}

/// Everything that runs while the nemesis does.
final class ChaosLoad {
    let registers: HistoryRecorder
    private let stop = OpenLoopControl()
    private let control = OpenLoopControl()
    private let clients: Task<Void, any Error>
    private let ingest: Task<IngestOutcome, any Error>
    private let ingestPlan: IngestPlan
    private let writes: Mutex<WritesSlot>

    private struct WritesSlot: ~Copyable {
        var thread: OpenLoopThread?
    }

    init(_ suite: Suite, cluster: EmbeddedCluster, live: LiveCounters) {
        let registers = HistoryRecorder(prefix: "register-\(suite.codec.keyText(0).prefix(8))")
        let (endpoints, seed) = (suite.target.grpcEndpoints, suite.plan.seed)
        self.registers = registers
        clients = Task { try await registers.run(endpoints: endpoints, seed: seed) }
        let records = suite.chaosRecords(stop)
        ingestPlan = records
        ingest = Task { try await IngestScenario.run(records, live: LiveCounters()) }
        writes = Mutex(
            WritesSlot(
                thread: OpenLoopThread(
                    Suite.chaosWrites(cluster.respEndpoints, seconds: suite.plan.chaosSeconds), codec: suite.codec,
                    control: control, live: live)))
    }

    /// When writes were acknowledged.
    func acknowledged(since time: UInt64) -> [UInt64] { control.acknowledgements(since: time).map(\.completed) }

    /// Ends the load and hands over what it was promised.
    func finish(into suite: Suite, _ started: UInt64) throws(LoadGenError) {
        registers.stop()
        stop.stop()
        let (clients, ingest) = (clients, ingest)
        var thread: OpenLoopThread?
        writes.withLock { slot in swap(&thread, &slot.thread) }
        guard let thread = thread.take() else { return }
        let written = try thread.finish()
        let seconds = MonotonicClock.seconds(from: started, to: MonotonicClock.now())
        suite.ledgers.append(written.ledger)
        try Blocking.run { try await clients.value }
        let rate = Double(written.counts.ok) / seconds
        var result = ScenarioResult(
            scenario: "chaos", operation: "put",
            title: "SET over RESP to all nodes under faults; latency from the intended start, retries included",
            loop: .open, clients: 24, windowSeconds: seconds, counts: written.counts, operationsPerSecond: rate,
            payloadBytesPerSecond: rate * Double(KeyValueCodec.keyBytes + suite.codec.valueBytes))
        result.offeredPerSecond = Suite.chaosWritesPerSecond
        result.response = LatencySummary(written.response)
        suite.report.scenarios.append(result)
        var records = try Blocking.run { try await ingest.value }
        records.result.scenario = "chaos_ingest"
        suite.ingest = (ingestPlan, records.ledgers)
        suite.report.scenarios.append(records.result)
    }
}
