// Three nodes elect, write, crash and recover, once for every seed. An acknowledged write must be there afterwards, a
// write that was refused as "not applied" must not be, and all replicas must hold the same.
import Cluster
import KeyValue
import Storage
import StrataNode
import Synchronization
import Testing

/// What one writer knows of its key: values are the numbers 1, 2, 3 … in the order in which they were tried.
private final class KeyOracle: Sendable {
    struct State {
        var attempted: UInt64 = 0
        var acknowledged: UInt64 = 0
        var inFlight = false
    }
    let key: [UInt8]
    let state = Mutex(State())

    init(_ number: Int) { key = Array("key-\(number)".utf8) }
}

private func number(_ bytes: [UInt8]) -> UInt64 {
    UInt64(String(decoding: bytes, as: UTF8.self)) ?? .max
}

@Suite struct ClusterSimulationTests {
    static let seeds = (0..<200).map { UInt64($0) }

    @Test(arguments: seeds)
    func survivesCrashes(seed: UInt64) throws {
        _ = try run(seed: seed)
    }

    @Test func theSameSeedIsTheSameRun() throws {
        for seed in [UInt64(3), 17, 42] {
            #expect(try run(seed: seed) == run(seed: seed), "seed \(seed)")
        }
    }

    /// Runs one seed and returns the hash of everything that happened.
    private func run(seed: UInt64) throws -> UInt64 {
        let cluster = try SimulatedCluster(seed: seed)
        let world = cluster.world
        #expect(world.run(for: 5_000_000_000, until: { cluster.leader != nil }), "seed \(seed): no leader")
        let oracles = (0..<8).map { KeyOracle($0) }
        let topic = TopicOracle()
        let counters = CounterOracle(clients: 3)
        topic.create(in: cluster)
        for step in 0..<40 {
            if world.random.chance(0.15) { cluster.nodes.randomElement(using: &world.random)?.crash() }
            if world.random.chance(0.1) {
                cluster.isolated = world.random.chance(0.5) ? [] : [cluster.nodes[step % 3].member.id]
            }
            cluster.lossProbability = world.random.chance(0.3) ? 0.1 : 0
            for node in cluster.nodes where !node.isUp && world.random.chance(0.4) { try node.start() }
            for _ in 0..<5 {
                for oracle in oracles { write(oracle, cluster) }
                topic.produce(in: cluster)
                counters.advance(in: cluster)
                world.run(for: 20_000_000)
            }
        }
        try cluster.heal()
        // The last unknown writes end within the request timeout.
        world.run(for: 8_000_000_000)
        #expect(world.run(for: 20_000_000_000, until: { cluster.hasConverged }), "seed \(seed): no convergence")
        for oracle in oracles { check(oracle, cluster, seed: seed) }
        let acknowledged = oracles.reduce(0) { $0 + $1.state.withLock(\.acknowledged) }
        #expect(acknowledged > 30, "seed \(seed): the run was too harsh to mean anything")
        try topic.check(cluster, seed: seed)
        counters.finish(in: cluster, seed: seed)
        let hashes = try cluster.nodes.compactMap { try $0.node?.store.stateHash() }
        #expect(hashes.count == 3 && Set(hashes).count == 1, "seed \(seed): replicas differ")
        try compareHashes(cluster, seed: seed)
        return world.hash
    }

    /// The same moment on every node, asked for before it came: all must answer for the very entry, and the same.
    private func compareHashes(_ cluster: SimulatedCluster, seed: UInt64) throws {
        let index = try #require(cluster.leader?.node?.statuses.status(of: .keyValue)?.lastIndex) + 1
        for (group, index) in [(GroupID.keyValue, index), (.firstPartition, nil)] {
            let answers = Mutex<[Result<GroupStateHash, RequestError>]>([])
            for node in cluster.nodes {
                node.stateHash?.stateHash(group: group, index: index, from: nil) { result in
                    answers.withLock { $0.append(result) }
                }
            }
            cluster.world.run(for: 100_000_000)
            for _ in 0..<3 {
                cluster.leader?.node?.keyValue.put(key: [1], value: [2]) { _ in }
                cluster.world.run(for: 100_000_000)
            }
            let hashes = answers.withLock { $0 }.compactMap { try? $0.get() }
            #expect(hashes.count == 3 && Set(hashes).count == 1, "seed \(seed), \(group): \(answers.withLock { $0 })")
            if let index { #expect(hashes.allSatisfy { $0.applied == index }, "seed \(seed)") }
        }
    }

    private func write(_ oracle: KeyOracle, _ cluster: SimulatedCluster) {
        guard let node = cluster.nodes.filter(\.isUp).randomElement(using: &cluster.world.random)?.node else { return }
        let value = oracle.state.withLock { state -> UInt64? in
            guard !state.inFlight else { return nil }
            state.inFlight = true
            state.attempted += 1
            return state.attempted
        }
        guard let value else { return }
        node.keyValue.put(key: oracle.key, value: Array("\(value)".utf8)) { result in
            oracle.state.withLock { state in
                state.inFlight = false
                if case .success = result { state.acknowledged = value }
            }
        }
    }

    /// Reads through every node; the value must not be older than the last acknowledged one.
    private func check(_ oracle: KeyOracle, _ cluster: SimulatedCluster, seed: UInt64) {
        for node in cluster.nodes {
            let expected = oracle.state.withLock { $0 }
            let box = AnswerBox()
            node.node?.keyValue.get(key: oracle.key, consistency: .linearizable) { box.set($0) }
            cluster.world.run(for: 5_000_000_000, until: { box.value != nil })
            guard case .success(let bytes)? = box.value else {
                Issue.record("seed \(seed): read failed: \(String(describing: box.value))")
                continue
            }
            let value = bytes.map(number) ?? 0
            #expect(
                value >= expected.acknowledged && value <= expected.attempted,
                "seed \(seed): \(String(decoding: oracle.key, as: UTF8.self)) is \(value), acknowledged \(expected.acknowledged)"
            )
        }
    }
}

private final class AnswerBox: Sendable {
    private let content = Mutex<Result<[UInt8]?, RequestError>?>(nil)
    var value: Result<[UInt8]?, RequestError>? { content.withLock { $0 } }
    func set(_ result: Result<[UInt8]?, RequestError>) { content.withLock { $0 = result } }
}
