// What the producers of a simulated run know: every acknowledged record by its offset. After the run every node must
// hold exactly these, at these offsets, and all nodes the same log.
import Broker
import Cluster
import Records
import StrataNode
import Synchronization
import Testing

final class TopicOracle: Sendable {
    private struct State {
        var next = 0
        var acknowledged: [UInt64: String] = [:]
        var refused: Set<String> = []
    }
    private let state = Mutex(State())
    private static let topic = "events"

    /// Asks for the topic on some node; the request waits there for a leader.
    func create(in cluster: SimulatedCluster) {
        cluster.nodes[0].node?.broker.createTopic(name: Self.topic, partitions: 1, ifNotExists: true) { _ in }
        cluster.world.run(for: 1_000_000_000)
    }

    /// Sends one record to a random node; only the leader takes it.
    func produce(in cluster: SimulatedCluster) {
        guard let node = cluster.nodes.filter(\.isUp).randomElement(using: &cluster.world.random)?.node else { return }
        let value = state.withLock { state in
            state.next += 1
            return "record-\(state.next)"
        }
        var batch = RecordBatch()
        batch.append(key: nil, value: Array(value.utf8), timestamp: 1)
        node.broker.produce(topic: Self.topic, partition: 0, batch: batch.encoded(), acks: .quorum) { [self] result in
            state.withLock { state in
                switch result {
                case .success(let receipt): state.acknowledged[receipt.baseOffset] = value
                case .failure(.unknown): break
                case .failure: state.refused.insert(value)
                }
            }
        }
    }

    /// - Parameter trail: what happened, for a failure's sake.
    func check(_ cluster: SimulatedCluster, seed: UInt64, trail: String = "") throws {
        let seed = trail.isEmpty ? "\(seed)" : trail
        let logs = try cluster.nodes.map { node -> [String] in
            let partition = try #require(node.node?.topics.partition(.firstPartition), "seed \(seed): no partition")
            var values: [String] = []
            while UInt64(values.count) < partition.highWatermark {
                let fetched = try partition.read(from: UInt64(values.count), maxBytes: 4096)
                for batch in try RecordBatchView.batches(in: fetched.bytes) {
                    for record in try batch.records() {
                        #expect(record.offset == UInt64(values.count), "seed \(seed): offsets have a hole")
                        values.append(String(decoding: record.value ?? [], as: UTF8.self))
                    }
                }
            }
            return values
        }
        #expect(Set(logs).count == 1, "seed \(seed): partitions differ")
        let (acknowledged, refused) = state.withLock { ($0.acknowledged, $0.refused) }
        #expect(acknowledged.count > 10, "seed \(seed): hardly anything was produced")
        for (offset, value) in acknowledged {
            #expect(Int(offset) < logs[0].count && logs[0][Int(offset)] == value, "seed \(seed): \(value) is lost")
        }
        for value in logs[0] {
            #expect(!refused.contains(value), "seed \(seed): \(value) was refused and yet is there")
        }
        #expect(Set(logs[0]).count == logs[0].count, "seed \(seed): a record is there twice")
    }
}
