// Key-value throughput and latency over RESP: closed loops of many clients, first writing, then reading what was
// written.
import LabKit

struct KeyValuePlan: Sendable {
    var endpoints: [SocketAddress]
    /// Where these lead: `leader`, `followers` or `all nodes`; for the title.
    var target: String
    var clients: Int
    var threads: Int
    var warmupSeconds: Double
    var windowSeconds: Double
    var seed: UInt64

    /// Client numbers of each thread.
    var shares: [Range<Int>] {
        let count = max(1, min(threads, clients))
        return (0..<count).map { clients * $0 / count..<clients * ($0 + 1) / count }
    }

    func loop(_ clients: Range<Int>) -> ClosedLoopPlan {
        ClosedLoopPlan(
            endpoints: endpoints, clients: clients, warmupSeconds: warmupSeconds, windowSeconds: windowSeconds)
    }
}

enum KeyValueScenario {
    /// Keys that the write scenario spreads its writes over.
    static let keys: UInt32 = 200_000

    struct Written {
        var result: ScenarioResult
        var ledgers: [KeyValueLedger]
        var firstError: String?
    }

    static func write(_ plan: KeyValuePlan, codec: KeyValueCodec, live: LiveCounters) throws(LoadGenError) -> Written {
        let shares = plan.shares
        let outcomes = try run(
            shares.enumerated().map { index, clients in
                let count = UInt32(shares.count)
                let range = keys * UInt32(index) / count..<keys * UInt32(index + 1) / count
                return (
                    plan.loop(clients),
                    KeyValueWriter(codec: codec, keys: range, clients: clients, seed: plan.seed)
                )
            }, live: live)
        let title =
            "SET over RESP to \(plan.target), 16 B keys, \(codec.valueBytes) B values, "
            + "\(NumberText.grouped(UInt64(keys))) random keys"
        return Written(
            result: result("kv_write", "put", title, plan, codec, outcomes), ledgers: outcomes.map(\.workload.ledger),
            firstError: outcomes.lazy.compactMap(\.firstError).first)
    }

    struct Read {
        var result: ScenarioResult
        var findings: [ReadFindings]
        var firstError: String?
    }

    static func read(
        _ plan: KeyValuePlan, scenario: String, codec: KeyValueCodec, ledgers: [KeyValueLedger], live: LiveCounters
    ) throws(LoadGenError) -> Read {
        let readable = ledgers.filter { !$0.written.isEmpty }
        guard !readable.isEmpty else {
            throw LoadGenError.cluster("no write was acknowledged, so there is nothing to read")
        }
        let outcomes = try run(
            plan.shares.enumerated().map { index, clients in
                (
                    plan.loop(clients),
                    KeyValueReader(
                        codec: codec, ledger: readable[index % readable.count], clients: clients, seed: plan.seed)
                )
            }, live: live)
        let title = "linearizable GET over RESP from \(plan.target), random written keys, values checked"
        return Read(
            result: result(scenario, "get", title, plan, codec, outcomes), findings: outcomes.map(\.workload.findings),
            firstError: outcomes.lazy.compactMap(\.firstError).first)
    }

    /// Reads back every key of `ledgers`.
    /// - Parameter seconds: to get through.
    static func verify(
        _ plan: KeyValuePlan, codec: KeyValueCodec, ledgers: [KeyValueLedger], seconds: Double, live: LiveCounters
    ) throws(LoadGenError) -> [ReadFindings] {
        var plan = plan
        plan.warmupSeconds = 0
        plan.windowSeconds = seconds
        plan.threads = 1
        let clients = 0..<plan.clients
        let verifier = KeyValueVerifier(codec: codec, ledgers: ledgers, clients: clients)
        let outcome = try ClosedLoop.run(plan.loop(clients), verifier, live: live)
        guard outcome.workload.isExhausted else {
            throw LoadGenError.cluster(
                "\(outcome.workload.pending.count) keys could not be read back within \(NumberText.fixed(seconds, 0)) s"
                    + (outcome.firstError.map { ": \($0)" } ?? ""))
        }
        return [outcome.workload.findings]
    }

    private static func run<Workload: ClosedLoopWorkload>(
        _ parts: [(plan: ClosedLoopPlan, workload: Workload)], live: LiveCounters
    ) throws(LoadGenError) -> [ClosedLoopOutcome<Workload>] {
        let slots = WorkerSlots<Result<ClosedLoopOutcome<Workload>, LoadGenError>>(count: parts.count)
        slots.run { index in
            do throws(LoadGenError) {
                return .success(try ClosedLoop.run(parts[index].plan, parts[index].workload, live: live))
            } catch {
                return .failure(error)
            }
        }
        var outcomes: [ClosedLoopOutcome<Workload>] = []
        for result in slots.results { outcomes.append(try result.get()) }
        return outcomes
    }

    private static func result<Workload>(
        _ scenario: String, _ operation: String, _ title: String, _ plan: KeyValuePlan, _ codec: KeyValueCodec,
        _ outcomes: [ClosedLoopOutcome<Workload>]
    ) -> ScenarioResult {
        let counts = outcomes.reduce(OperationCounts()) { $0 + $1.counts }
        var service = LatencyHistogram()
        for outcome in outcomes { service.merge(outcome.service) }
        let rate = Double(counts.ok) / plan.windowSeconds
        var result = ScenarioResult(
            scenario: scenario, operation: operation, title: title, loop: .closed, clients: plan.clients,
            windowSeconds: plan.windowSeconds, counts: counts, operationsPerSecond: rate,
            payloadBytesPerSecond: rate * Double(KeyValueCodec.keyBytes + codec.valueBytes))
        result.service = LatencySummary(service)
        return result
    }
}
