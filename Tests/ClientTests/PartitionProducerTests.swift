// The pipelined producer: everything is completed once, a change of leader loses nothing, a broken stream is honest.
import Foundation
import GRPCCore
import StrataProtocol
import Synchronization
import Testing

@testable import StrataClient

@Suite struct PartitionProducerTests {
    private final class Results: Sendable {
        let state = Mutex<[UInt64: [Result<BatchReceipt, ClientError>]]>([:])

        func add(_ id: UInt64, _ result: Result<BatchReceipt, ClientError>) {
            state.withLock { $0[id, default: []].append(result) }
        }

        var acknowledged: Int {
            state.withLock { $0.values.count { $0.count == 1 && (try? $0[0].get()) != nil } }
        }

        var unknown: Int {
            state.withLock { results in
                results.values.count { results in
                    if case .failure(let error) = results[0] {
                        results.count == 1 && error.code == .unknown
                    } else {
                        false
                    }
                }
            }
        }

        var total: Int { state.withLock { $0.count } }
    }

    /// Sends `count` batches; `between` runs before each.
    private func produce(
        _ count: UInt64, to addresses: [String], between: @Sendable (UInt64) -> Void = { _ in }
    ) async throws -> Results {
        let client = try StrataClient(endpoints: addresses)
        let results = Results()
        let producer = PartitionProducer(client, topic: "events", partition: 0, batchesMax: 4) { results.add($0, $1) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await producer.run() }
            for id in 0..<count {
                between(id)
                try? await producer.send([UInt8(truncatingIfNeeded: id)], id: id)
            }
            producer.finish()
        }
        await expect(.closed) { try await producer.send([1], id: 1) }
        await client.close()
        return results
    }

    @Test func everyBatchIsAcknowledgedOnce() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            let results = try await produce(200, to: addresses)
            #expect(results.acknowledged == 200)
            #expect(cluster.state.withLock { $0.batches.count } == 200)
            #expect(cluster.state.withLock { $0.batches.map { $0[0] } } == (0..<200).map { UInt8($0) })
        }
    }

    @Test func aChangeOfLeaderLosesAndDoublesNothing() async throws {
        try await FakeCluster.with(nodes: 3) { cluster, addresses in
            let results = try await produce(300, to: addresses) { id in
                if id % 60 == 59 { cluster.state.withLock { $0.leader = ($0.leader + 1) % 3 } }
            }
            #expect(results.total == 300)
            #expect(results.acknowledged == 300)
            #expect(cluster.state.withLock { $0.batches.count } == 300)
        }
    }

    @Test func refusedBatchesAreSentAgain() async throws {
        let script: @Sendable (Int) -> FakeCluster.Step = { $0 % 7 == 0 ? .fail(.errorNotEnoughReplicas) : .honest }
        try await FakeCluster.with(nodes: 1, script: script) { cluster, addresses in
            let results = try await produce(50, to: addresses)
            #expect(results.acknowledged == 50)
            #expect(cluster.state.withLock { $0.batches.count } == 50)
        }
    }

    @Test func aBrokenStreamLeavesUnknownsAndGoesOn() async throws {
        let broken = FakeCluster.Step.status(RPCError(code: .unavailable, message: "gone"))
        try await FakeCluster.with(nodes: 1, script: { $0 == 20 ? broken : .honest }) { cluster, addresses in
            let results = try await produce(60, to: addresses)
            #expect(results.total == 60)
            #expect(results.unknown >= 1)
            #expect(results.acknowledged + results.unknown == 60)
            #expect(results.acknowledged <= cluster.state.withLock { $0.batches.count })
        }
    }

    @Test func withoutALeaderBatchesExpire() async throws {
        var options = ClientOptions()
        options.requestTimeout = .milliseconds(300)
        let client = try StrataClient(endpoints: ["127.0.0.1:1"], options: options)
        let results = Results()
        let producer = PartitionProducer(client, topic: "events", partition: 0) { results.add($0, $1) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await producer.run() }
            try? await producer.send([1], id: 1)
            producer.finish()
        }
        #expect(results.total == 1)
        #expect(results.acknowledged == 0 && results.unknown == 0)
        await client.close()
    }
}

/// Counts across tasks.
final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    var value: Int { count.load(ordering: .relaxed) }

    func add() { count.add(1, ordering: .relaxed) }
}
