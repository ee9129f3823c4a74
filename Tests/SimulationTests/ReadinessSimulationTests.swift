// A node that has just started does not know what it does not know: it says "not ready" until it has applied the
// controller's log up to something confirmed, and never that a topic which exists does not. And whoever produces right
// after a topic was created waits for its leader instead of being refused.
import Broker
import Cluster
import Records
import StrataNode
import Synchronization
import Testing

@Suite struct ReadinessSimulationTests {
    /// Collects answers; the calls run on the host's turns.
    private final class Answer<Value: Sendable>: Sendable {
        private let state = Mutex<Result<Value, RequestError>?>(nil)
        var value: Result<Value, RequestError>? { state.withLock { $0 } }
        func set(_ result: Result<Value, RequestError>) { state.withLock { $0 = result } }
        var error: RequestError? {
            guard case .failure(let error)? = value else { return nil }
            return error
        }
        var isUnavailable: Bool {
            if case .unavailable? = error { return true }
            return false
        }
    }

    private static var batch: [UInt8] {
        var batch = RecordBatch()
        batch.append(key: nil, value: [1], timestamp: 1)
        return batch.encoded()
    }

    private func produce(
        _ topic: String, on node: SimulatedNode, waiting milliseconds: UInt32 = 2000
    ) -> Answer<ProduceReceipt> {
        let answer = Answer<ProduceReceipt>()
        node.node?.broker.produce(
            topic: topic, partition: 0, batch: Self.batch, acks: .quorum, waitMilliseconds: milliseconds
        ) { answer.set($0) }
        return answer
    }

    private func cluster(_ seed: UInt64) throws -> SimulatedCluster {
        let cluster = try SimulatedCluster(seed: seed)
        #expect(cluster.world.run(for: 5_000_000_000, until: { cluster.leader != nil }), "seed \(seed): no leader")
        let created = Answer<Void>()
        cluster.nodes[0].node?.broker.createTopic(name: "events", partitions: 1, ifNotExists: true) { created.set($0) }
        #expect(cluster.world.run(for: 5_000_000_000, until: { created.value != nil }), "seed \(seed)")
        return cluster
    }

    @Test(arguments: (0..<20).map { UInt64($0) })
    func theFirstProduceAfterCreationWaitsForTheLeader(seed: UInt64) throws {
        let cluster = try cluster(seed)
        // At once, on every node: one of them will lead, the others name it.
        let answers = cluster.nodes.map { produce("events", on: $0) }
        #expect(
            cluster.world.run(for: 3_000_000_000, until: { answers.allSatisfy { $0.value != nil } }), "seed \(seed)")
        var written = 0
        for answer in answers {
            switch answer.value {
            case .success: written += 1
            case .failure(.notLeader(let leader)): #expect(leader != nil, "seed \(seed): refused without a name")
            default: Issue.record("seed \(seed): \(String(describing: answer.value))")
            }
        }
        #expect(written == 1, "seed \(seed)")
    }

    @Test(arguments: (0..<20).map { UInt64($0) })
    func aNodeThatHasJustStartedNeverDeniesATopic(seed: UInt64) throws {
        let cluster = try cluster(seed)
        cluster.world.run(for: 500_000_000)
        let node = cluster.nodes[Int(seed % 3)]
        node.crash()
        cluster.world.run(for: 200_000_000)
        try node.start()
        let broker = try #require(node.node?.broker)
        let produced = produce("events", on: node)
        let (fetched, offsets) = (Answer<FetchedBatches>(), Answer<PartitionOffsets>())
        let (named, all) = (Answer<ClusterDescription>(), Answer<ClusterDescription>())
        broker.fetch(topic: "events", partition: 0, offset: 0, maxBytes: 100, waitMilliseconds: 0) { fetched.set($0) }
        broker.offsets(topic: "events", partition: 0) { offsets.set($0) }
        broker.describe(topics: ["events"], waitMilliseconds: 2000) { named.set($0) }
        broker.describe(topics: [], waitMilliseconds: 2000) { all.set($0) }
        let missing = produce("missing", on: node)
        cluster.world.run(for: 4_000_000_000)
        for error in [produced.error, fetched.error, offsets.error].compactMap({ $0 }) {
            if case .invalid = error { Issue.record("seed \(seed): \(error)") }
        }
        #expect(try named.value?.get().topics.map(\.name) == ["events"], "seed \(seed)")
        #expect(try all.value?.get().topics.map(\.name) == ["events"], "seed \(seed)")
        // One that does not exist is unknown once that is certain.
        guard case .invalid(.unknownTopic, _)? = missing.error else {
            Issue.record("seed \(seed): \(String(describing: missing.value))")
            return
        }
    }

    @Test(arguments: (0..<10).map { UInt64($0) })
    func withoutAQuorumNothingIsSaidOfTopics(seed: UInt64) throws {
        let cluster = try cluster(seed)
        cluster.world.run(for: 500_000_000)
        for node in cluster.nodes { node.crash() }
        let node = cluster.nodes[Int(seed % 3)]
        try node.start()
        let broker = try #require(node.node?.broker)
        let produced = produce("events", on: node)
        let missing = produce("missing", on: node)
        let (fetched, all) = (Answer<FetchedBatches>(), Answer<ClusterDescription>())
        broker.fetch(topic: "events", partition: 0, offset: 0, maxBytes: 100, waitMilliseconds: 0) { fetched.set($0) }
        broker.describe(topics: [], waitMilliseconds: 2000) { all.set($0) }
        cluster.world.run(for: 4_000_000_000)
        #expect(
            produced.isUnavailable && missing.isUnavailable && fetched.isUnavailable && all.isUnavailable,
            "seed \(seed)")
        // The others are back: what is not answered yet, and what comes now, is right.
        try cluster.heal()
        cluster.world.run(for: 3_000_000_000)
        let later = produce("missing", on: node)
        cluster.world.run(for: 4_000_000_000)
        guard case .invalid(.unknownTopic, _)? = later.error else {
            Issue.record("seed \(seed): \(String(describing: later.value))")
            return
        }
    }

    /// A topic that was created through one node is known to every other from then on.
    @Test(arguments: (0..<20).map { UInt64($0) })
    func aTopicIsKnownEverywhereOnceItsCreationWasAnswered(seed: UInt64) throws {
        let cluster = try cluster(seed)
        for number in 0..<5 {
            let created = Answer<Void>()
            cluster.nodes[number % 3].node?.broker.createTopic(name: "t\(number)", partitions: 1, ifNotExists: false) {
                created.set($0)
            }
            #expect(cluster.world.run(for: 5_000_000_000, until: { created.value != nil }), "seed \(seed)")
            let answers = cluster.nodes.map { produce("t\(number)", on: $0) }
            cluster.world.run(for: 3_000_000_000)
            for answer in answers {
                if case .invalid? = answer.error { Issue.record("seed \(seed): \(String(describing: answer.error))") }
            }
        }
    }
}
