// Ingest: record batches to every partition of one topic at once, pipelined to each partition's leader over gRPC. Every
// batch is different and computed from its number; what was acknowledged goes into a ledger per partition.
import LabKit
import StrataClient
import Synchronization

struct IngestPlan: Sendable {
    var endpoints: [String]
    var topic: String
    var partitions: UInt32 = 6
    var recordBytes = 100
    var recordsPerBatch = 1000
    /// Waiting and under way, for each partition.
    var batchesInFlight = 6
    var warmupSeconds: Double
    var windowSeconds: Double
    var seed: UInt64
    /// Of all records, milliseconds since 1970.
    var timestamp: Int64
    /// Between two batches of a partition; for loads that are not meant to saturate.
    var pause = Duration.zero
    /// Looked at before each batch, to end before the window does.
    var isStopped: @Sendable () -> Bool = { false }

    func codec(_ partition: UInt32) -> IngestCodec {
        IngestCodec(
            seed: seed, partition: partition, recordBytes: recordBytes, recordsPerBatch: recordsPerBatch,
            timestamp: timestamp)
    }
}

/// One partition under load; shared by the task that sends and the connection that answers.
private final class IngestPartition: Sendable {
    struct State {
        var ledger = IngestLedger()
        var sentAt: [UInt64: UInt64] = [:]
        var service = LatencyHistogram()
        var counts = OperationCounts()
        var firstError: String?
    }

    let state = Mutex(State())
    private let window: Range<UInt64>
    private let live: LiveCounters
    private let recordsPerBatch: UInt64

    init(window: Range<UInt64>, live: LiveCounters, recordsPerBatch: Int) {
        self.window = window
        self.live = live
        self.recordsPerBatch = UInt64(recordsPerBatch)
    }

    func began(_ batch: UInt64) {
        let now = MonotonicClock.now()
        state.withLock { $0.sentAt[batch] = now }
    }

    func completed(_ batch: UInt64, _ result: Result<BatchReceipt, ClientError>) {
        let now = MonotonicClock.now()
        state.withLock { state in
            let sent = state.sentAt.removeValue(forKey: batch) ?? now
            switch result {
            case .success(let receipt):
                state.ledger.acknowledge(batch: batch, baseOffset: receipt.baseOffset)
                live.add(ok: recordsPerBatch)
                guard window.contains(now) else { return }
                state.counts.ok += recordsPerBatch
                state.service.record(now - sent)
            case .failure(let error) where error.code == .unknown || error.code == .closed:
                state.ledger.markUnknown(batch: batch)
                state.counts.unknown += recordsPerBatch
                live.add(unknown: recordsPerBatch)
                if state.firstError == nil { state.firstError = error.description }
            case .failure(let error):
                state.ledger.markRefused(batch: batch)
                state.counts.error += recordsPerBatch
                live.add(error: recordsPerBatch)
                if state.firstError == nil { state.firstError = error.description }
            }
        }
    }
}

struct IngestOutcome: Sendable {
    var result: ScenarioResult
    /// One for each partition.
    var ledgers: [IngestLedger]
    var firstError: String?
}

enum IngestScenario {
    private static let leadersSeconds = 20.0

    static func run(_ plan: IngestPlan, live: LiveCounters) async throws -> IngestOutcome {
        let client = try StrataClient(endpoints: plan.endpoints)
        do {
            try await client.createTopic(plan.topic, partitions: plan.partitions)
            try await waitForLeaders(plan, client)
            let outcome = try await load(plan, client, live)
            await client.close()
            return outcome
        } catch {
            await client.close()
            throw error
        }
    }

    /// Until every partition has a leader.
    static func waitForLeaders(_ plan: IngestPlan, _ client: StrataClient) async throws {
        let deadline = MonotonicClock.now() + UInt64(leadersSeconds * 1e9)
        while MonotonicClock.now() < deadline {
            try Interruption.check()
            let topic = try await client.topics([plan.topic]).first { $0.name == plan.topic }
            let leaders = topic?.partitions.count { $0.leader != nil } ?? 0
            if leaders == Int(plan.partitions) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw LoadGenError.cluster(
            "not every partition of \(plan.topic) has a leader after \(NumberText.fixed(leadersSeconds, 0)) s")
    }

    private static func load(
        _ plan: IngestPlan, _ client: StrataClient, _ live: LiveCounters
    ) async throws -> IngestOutcome {
        let start = MonotonicClock.now() + UInt64(plan.warmupSeconds * 1e9)
        let window = start..<start + UInt64(plan.windowSeconds * 1e9)
        let partitions = (0..<plan.partitions).map { _ in
            IngestPartition(window: window, live: live, recordsPerBatch: plan.recordsPerBatch)
        }
        await withTaskGroup(of: Void.self) { group in
            for (number, partition) in partitions.enumerated() {
                let codec = plan.codec(UInt32(number))
                let producer = PartitionProducer(
                    client, topic: plan.topic, partition: UInt32(number), acks: .quorum,
                    batchesMax: plan.batchesInFlight
                ) { partition.completed($0, $1) }
                group.addTask { await producer.run() }
                group.addTask { await send(producer, partition, codec, plan, until: window.upperBound) }
            }
            group.addTask { await show(partitions, live, plan, until: window.upperBound) }
        }
        try Interruption.check()
        return outcome(plan, partitions)
    }

    private static func send(
        _ producer: PartitionProducer, _ partition: IngestPartition, _ codec: IngestCodec, _ plan: IngestPlan,
        until end: UInt64
    ) async {
        var batch: UInt64 = 0
        while MonotonicClock.now() < end, !Interruption.isRequested, !plan.isStopped(),
            batch < IngestLedger.batchesMax
        {
            let bytes = codec.encode(batch)
            partition.began(batch)
            do {
                try await producer.send(bytes, id: batch)
            } catch {
                partition.completed(batch, .failure(error))
                break
            }
            batch += 1
            if plan.pause > .zero { try? await Task.sleep(for: plan.pause) }
        }
        producer.finish()
    }

    private static func show(
        _ partitions: [IngestPartition], _ live: LiveCounters, _ plan: IngestPlan, until end: UInt64
    ) async {
        while MonotonicClock.now() < end, !Interruption.isRequested, !plan.isStopped() {
            live.show(merged(partitions))
            try? await Task.sleep(for: .milliseconds(250))
        }
    }

    private static func merged(_ partitions: [IngestPartition]) -> LatencyHistogram {
        var service = LatencyHistogram()
        for partition in partitions { service.merge(partition.state.withLock { $0.service }) }
        return service
    }

    private static func outcome(_ plan: IngestPlan, _ partitions: [IngestPartition]) -> IngestOutcome {
        let counts = partitions.reduce(OperationCounts()) { $0 + $1.state.withLock { $0.counts } }
        let rate = Double(counts.ok) / plan.windowSeconds
        var title = "\(plan.recordBytes) B records, batches of \(plan.recordsPerBatch), \(plan.partitions) partitions, "
        title += "\(plan.batchesInFlight) batches in flight each, acks=quorum; latency is a batch's"
        var result = ScenarioResult(
            scenario: "ingest", operation: "produce", title: title, loop: .closed, clients: Int(plan.partitions),
            windowSeconds: plan.windowSeconds, counts: counts, operationsPerSecond: rate,
            payloadBytesPerSecond: rate * Double(plan.recordBytes))
        result.service = LatencySummary(merged(partitions))
        return IngestOutcome(
            result: result, ledgers: partitions.map { $0.state.withLock { $0.ledger } },
            firstError: partitions.lazy.compactMap { $0.state.withLock { $0.firstError } }.first)
    }
}
