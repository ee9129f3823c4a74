// One run from the first probe to the last check: in order, on the main thread, which alone starts and ends processes.
// Whatever happens, what was measured until then becomes a report and the children are gone.
import Foundation
import Glibc
import LabKit

/// Runs a plan against a target and fills a report.
final class Suite {
    let plan: SuitePlan
    var report: RunReport
    let progress: Progress
    let target: Target
    let codec: KeyValueCodec
    var ledgers: [KeyValueLedger] = []
    var ingest: (plan: IngestPlan, ledgers: [IngestLedger])?
    /// While nothing is done to the nodes.
    private var elections: ElectionWatch?
    private let startedAt: UInt64
    private let started: WallTime

    /// Reading back may take this long before it counts as failed.
    private static let verifySeconds = 120.0
    private static let latenessSecondsMax = 0.005
    /// For the verdict on the recorded history.
    private static let judgeSeconds = 30.0

    init(_ plan: SuitePlan, target: Target, report: RunReport, started: WallTime) {
        self.plan = plan
        self.target = target
        self.report = report
        self.started = started
        startedAt = MonotonicClock.now()
        // The start is mixed in, so that a repeated seed does not meet its own old keys in a cluster that lives on.
        codec = KeyValueCodec(
            seed: SeededRandom.mix(plan.seed ^ UInt64(bitPattern: started.milliseconds)), valueBytes: plan.valueBytes)
        let machine = report.environment
        let place = target.cluster == nil ? "running cluster" : "embedded \(plan.nodes) nodes"
        progress = Progress(
            header: "LoadGen · \(plan.kind.rawValue) · \(place) · \(machine.build) \(machine.shortCommit)"
                + "\(machine.dirty ? "-dirty" : "") · seed \(plan.seed)",
            scenarios: Suite.steps(plan, target))
    }

    private static func steps(_ plan: SuitePlan, _ target: Target) -> Int {
        // Skip list, ingest, writes and reads; then the verification.
        var steps = (plan.runsScenarios ? 4 : 0) + 1
        if plan.kind == .main, target.cluster != nil, plan.nodes > 1 { steps += 1 }
        if plan.kind == .chaos { return 3 }
        if target.cluster != nil { steps += plan.nodes > 2 && plan.injectsFaults ? 2 : 1 }
        return steps
    }

    /// Runs everything. Never throws: failures end up in the report.
    func run() -> RunReport {
        do throws(LoadGenError) {
            try measure()
        } catch .interrupted {
            report.state = .aborted
        } catch {
            report.state = .failed
            report.failure = error.description
        }
        closeWatch()
        progress.stop()
        target.cluster?.close(keepLogs: report.state == .failed || report.dataCheckFailed)
        report.checks.insert(
            Check(
                "release_build", passed: !RunEnvironment.isDebugBuild,
                detail: "LoadGen was built for \(report.environment.build)"), at: 0)
        report.seconds = MonotonicClock.seconds(from: startedAt, to: MonotonicClock.now())
        return report
    }

    private func measure() throws(LoadGenError) {
        if plan.runsScenarios { try skipList() }
        if let cluster = target.cluster {
            try start(cluster)
        }
        if plan.runsScenarios {
            try ingestRecords()
            try writeKeys()
            try readKeys()
        }
        closeWatch()
        if plan.kind == .chaos, let cluster = target.cluster {
            try chaos(cluster)
        } else if let cluster = target.cluster {
            if !plan.injectsFaults {
                progress.say("failover was left out, as asked")
            } else if plan.nodes > 2 {
                try failover(cluster)
            } else {
                progress.say("failover needs three nodes or more: skipped")
            }
        }
        try verify()
    }

    private func start(_ cluster: EmbeddedCluster) throws(LoadGenError) {
        progress.begin("start", "\(plan.nodes) server processes", seconds: 2, live: nil)
        try cluster.startAll()
        let leader = try cluster.waitForLeader()
        watchNodes()
        if plan.runsScenarios { elections = ElectionWatch(cluster.nodes.map(\.probe)) }
        let facts = ServerFacts.ask(cluster.nodes[leader].probe)
        report.identity.backend = facts.backend
        report.identity.allocator = facts.allocator
        report.identity.durability = facts.durability
        report.identity.engine = facts.engine
        report.identity.transport = facts.transport
        report.identity.fault = facts.fault
        report.nameRun(started: started)
    }

    /// Under load alone nobody may have been elected.
    private func closeWatch() {
        guard let watch = elections else { return }
        elections = nil
        let (groups, elections) = watch.stop()
        report.checks.append(
            Check(
                "no_needless_election", passed: elections == 0,
                detail: "\(elections) elections in \(groups) groups without a fault", voidsRun: false))
    }

    func watchNodes() {
        progress.watch(target.cluster?.nodes.compactMap { node in node.process.map { (node.name, $0.pid) } } ?? [])
    }

    private func skipList() throws(LoadGenError) {
        let live = LiveCounters()
        progress.begin("skiplist", "1 M entries, in process", seconds: 1, live: live)
        report.scenarios += try SkipListScenario.run(live: live)
    }

    private func ingestRecords() throws(LoadGenError) {
        let live = LiveCounters()
        let plan = IngestPlan(
            endpoints: target.grpcEndpoints, topic: "ingest-\(codec.keyText(0).prefix(8))",
            partitions: UInt32(self.plan.partitions),
            warmupSeconds: self.plan.warmupSeconds, windowSeconds: self.plan.ingestSeconds, seed: codec.seed,
            timestamp: started.milliseconds)
        progress.begin(
            "ingest", "100 B records, batches of 1000, acks=quorum",
            seconds: plan.warmupSeconds + plan.windowSeconds,
            live: live)
        let outcome = try Blocking.run { try await IngestScenario.run(plan, live: live) }
        report.scenarios.append(outcome.result)
        ingest = (plan, outcome.ledgers)
        checkOutcomes(outcome.result, outcome.firstError)
    }

    private func keyValuePlan(
        _ endpoints: [SocketAddress], _ name: String, _ seconds: Double
    ) -> KeyValuePlan {
        KeyValuePlan(
            endpoints: endpoints, target: name, clients: plan.clients,
            threads: max(1, report.environment.vcpus / 2), warmupSeconds: plan.warmupSeconds, windowSeconds: seconds,
            seed: codec.seed)
    }

    /// The leader of the key-value group first, or every endpoint when nobody can tell.
    private func leaderPlan(_ seconds: Double) throws(LoadGenError) -> KeyValuePlan {
        guard let cluster = target.cluster else {
            return keyValuePlan(target.respEndpoints, "all endpoints", seconds)
        }
        let leader = try cluster.waitForLeader()
        return keyValuePlan([cluster.nodes[leader].resp], "the leader", seconds)
    }

    private func writeKeys() throws(LoadGenError) {
        let live = LiveCounters()
        progress.begin(
            "kv_write", "\(plan.clients) clients, closed loop", seconds: plan.warmupSeconds + plan.writeSeconds,
            live: live)
        let written = try KeyValueScenario.write(try leaderPlan(plan.writeSeconds), codec: codec, live: live)
        report.scenarios.append(written.result)
        ledgers += written.ledgers
        checkOutcomes(written.result, written.firstError)
        guard let floor = report.floor, let p50 = written.result.service?.value(at: 0.5) else { return }
        report.checks.append(
            Check(
                "above_disk_floor", passed: p50 >= floor.minimumSeconds,
                detail: "kv_write p50 \(NumberText.milliseconds(p50)) ms, fastest fdatasync "
                    + "\(NumberText.milliseconds(floor.minimumSeconds)) ms: below it nothing was made durable"))
    }

    private func readKeys() throws(LoadGenError) {
        try readKeys("kv_read", try leaderPlan(plan.readSeconds))
        guard plan.kind == .main, let cluster = target.cluster, plan.nodes > 1 else { return }
        let leader = try cluster.waitForLeader()
        let followers = cluster.nodes.indices.filter { $0 != leader }.map { cluster.nodes[$0].resp }
        try readKeys("kv_read_follower", keyValuePlan(followers, "the followers", plan.readSeconds))
    }

    private func readKeys(_ scenario: String, _ reads: KeyValuePlan) throws(LoadGenError) {
        let live = LiveCounters()
        progress.begin(
            scenario, "\(plan.clients) clients, linearizable", seconds: reads.warmupSeconds + reads.windowSeconds,
            live: live)
        let read = try KeyValueScenario.read(reads, scenario: scenario, codec: codec, ledgers: ledgers, live: live)
        report.scenarios.append(read.result)
        checkOutcomes(read.result, read.firstError)
        let wrong = read.findings.reduce(0) { $0 + $1.lost + $1.corrupt }
        let example = read.findings.lazy.compactMap(\.examples.first).first
        report.checks.append(
            Check(
                "\(scenario)_values", passed: wrong == 0,
                detail: example ?? "every value read was the newest acknowledged one", isAboutData: true))
    }

    private func failover(_ cluster: EmbeddedCluster) throws(LoadGenError) {
        let live = LiveCounters()
        progress.begin(
            "failover", "\(plan.fault.rawValue) of the leader ×\(plan.trials) under 1 000 writes/s",
            seconds: Double(plan.trials) * (plan.settleSeconds + 2), live: live)
        var scenario = FailoverScenario(
            FailoverPlan(fault: plan.fault, trials: plan.trials, settleSeconds: plan.settleSeconds, seed: plan.seed),
            cluster: cluster,
            codec: codec, live: live)
        let recorder = HistoryRecorder(prefix: "history-\(codec.keyText(0).prefix(8))")
        let (endpoints, seed) = (target.grpcEndpoints, plan.seed)
        let clients = Task { try await recorder.run(endpoints: endpoints, seed: seed) }
        defer { recorder.stop() }
        let sessions = SessionWorkload(prefix: "sessions-\(codec.keyText(0).prefix(8))")
        let counting = Task { try await sessions.run(endpoints: endpoints) }
        defer { sessions.stop() }
        let outcome = try scenario.run(progress: progress)
        recorder.stop()
        sessions.stop()
        try Blocking.run { try await clients.value }
        let verdict: SessionVerdict = try Blocking.run {
            try await counting.value
            return try await sessions.verdict(endpoints: endpoints)
        }
        progress.say(verdict.line)
        report.checks += verdict.checks
        judge(recorder.history)
        watchNodes()
        report.scenarios.append(outcome.result)
        report.failover = outcome.failover
        ledgers.append(outcome.ledger)
        report.checks.append(
            Check(
                "failover_gap_measured", passed: !outcome.failover.isCensored,
                detail: "a gap that outlasts its trial is only a lower bound"))
        if plan.fault.leavesNodeTalking {
            let trials = outcome.failover.trials
            let unmoved = trials.count { $0.replacedSeconds == nil }
            report.checks.append(
                Check(
                    "leader_replaced", passed: unmoved == 0,
                    detail: "\(unmoved) of \(trials.count) disturbed leaders stayed in office", voidsRun: false))
        }
        report.checks.append(
            Check(
                "failover_errors", passed: outcome.result.counts.error == 0,
                detail: outcome.firstError ?? "no write was refused for good", voidsRun: false))
        report.checks.append(
            Check(
                "generator_on_time", passed: outcome.latenessSeconds <= Suite.latenessSecondsMax,
                detail: "open-loop writes began p99 \(NumberText.milliseconds(outcome.latenessSeconds)) ms late",
                voidsRun: false))
    }

    /// Whether what several clients saw of the same keys could have come from one copy of the store.
    func judge(_ history: [KeyOperation]) {
        var checker = LinearizabilityChecker()
        checker.secondsMax = Suite.judgeSeconds
        let size = "\(NumberText.grouped(UInt64(history.count))) operations on contended keys"
        let verdict = checker.check(history)
        switch verdict {
        case .linearizable: progress.say("linearizable: yes (\(size))")
        case .violated(let key, _):
            progress.say("linearizable: NO, see \(key) (\(size))")
            for position in checker.witness(of: key, in: history) {
                let operation = history[position]
                let end = operation.end.map(String.init) ?? "unknown"
                progress.say("  \(operation.action) from \(operation.start) to \(end)")
            }
        case .unknown(let key): progress.say("linearizable: unknown, \(key) takes too long to judge (\(size))")
        }
        if case .unknown = verdict {
            report.checks.append(Check("history_judged", passed: false, detail: size, voidsRun: false))
        } else {
            let passed = verdict == .linearizable && !history.isEmpty
            report.checks.append(Check("history_linearizable", passed: passed, detail: size, isAboutData: true))
        }
    }

    private func verify() throws(LoadGenError) {
        let live = LiveCounters()
        progress.begin("verify", "reading back every acknowledged write", seconds: 5, live: live)
        var result = VerificationResult(afterRestart: target.cluster != nil)
        if let cluster = target.cluster {
            progress.say("verify: killing and restarting all \(plan.nodes) nodes, then reading everything back")
            for index in cluster.nodes.indices { _ = cluster.kill(index) }
            try cluster.startAll()
            _ = try cluster.waitForLeader()
            watchNodes()
        }
        let begun = MonotonicClock.now()
        let keys = ledgers.filter { !$0.touched.isEmpty }
        if !keys.isEmpty {
            let reads = keyValuePlan(target.respEndpoints, "all nodes", 0)
            let findings = try KeyValueScenario.verify(
                reads, codec: codec, ledgers: keys, seconds: Suite.verifySeconds, live: live)
            for finding in findings {
                result.keysChecked += finding.checked
                result.keysLost += finding.lost
                result.keysCorrupt += finding.corrupt
                result.unknownFound += finding.unknownApplied
                for example in finding.examples { result.note(example) }
            }
        }
        if let ingest {
            let before = result
            result = try Blocking.run {
                try await IngestVerification.run(ingest.plan, ledgers: ingest.ledgers, live: live, into: before)
            }
        }
        result.seconds = MonotonicClock.seconds(from: begun, to: MonotonicClock.now())
        report.verification = result
        checkVerification(result)
    }

    private func checkVerification(_ result: VerificationResult) {
        report.checks.append(
            Check(
                "acknowledged_writes_present", passed: result.lost == 0 && result.corrupt == 0,
                detail: "\(result.lost) lost, \(result.corrupt) corrupt of "
                    + "\(result.keysChecked) keys and \(result.recordsChecked) records", isAboutData: true))
        report.checks.append(
            Check(
                "no_duplicate_records", passed: result.recordsDuplicated == 0,
                detail: "\(result.recordsDuplicated) records appear twice"))
    }

    /// Without a fault every operation has to succeed.
    private func checkOutcomes(_ result: ScenarioResult, _ firstError: String?) {
        let failed = result.counts.error + result.counts.unknown
        report.checks.append(
            Check(
                "\(result.scenario)_outcomes", passed: failed == 0 && result.counts.ok > 0,
                detail: "\(result.counts.ok) ok, \(result.counts.error) refused, \(result.counts.unknown) unknown"
                    + (firstError.map { "; first: \($0)" } ?? "")))
    }
}
