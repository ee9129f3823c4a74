// Files and folders of stopped nodes are deleted, emptied, cut, altered and replaced by older copies, one node at a
// time. Then acknowledged data is there, or the node says which replica it refuses. The worst moment is chosen: the
// damaged node comes back beside one that lags, while the node that has everything is down.
import Broker
import Cluster
import Foundation
import Raft
import Records
import Storage
import StrataNode
import Synchronization
import Testing

@Suite struct FileFaultSimulationTests {
    /// More on demand: `STRATA_FILE_FAULT_SEEDS=2000`.
    static let seeds = (seedFirst()..<seedFirst() + seedCount(40)).map { UInt64($0) }

    @Test(arguments: seeds)
    func acknowledgedDataIsThereOrTheReplicaIsRefused(seed: UInt64) throws {
        let run = try FileFaultRun(seed: seed)
        for _ in 0..<3 { try run.round() }
        try run.finish()
    }
}

private func seedFirst() -> Int {
    ProcessInfo.processInfo.environment["STRATA_FILE_FAULT_FIRST"].flatMap { Int($0) } ?? 0
}

private func seedCount(_ usual: Int) -> Int {
    ProcessInfo.processInfo.environment["STRATA_FILE_FAULT_SEEDS"].flatMap { Int($0) } ?? usual
}

/// One seed.
final class FileFaultRun {
    private let seed: UInt64
    private let cluster: SimulatedCluster
    private let topic = TopicOracle()
    private let counters = CounterOracle(clients: 2)
    private var older: [NodeID: DiskImage] = [:]
    private var history: [String] = []
    /// Of the victim, in this round.
    private var damaged: [String] = []

    private var world: SimulatedWorld { cluster.world }
    private var trail: String {
        let states = cluster.nodes.map { node in
            "\(node.member.name): "
                + (node.node?.statuses.all ?? []).map { "\($0.group) \($0.status)" }.joined(separator: ", ")
                + node.reports.texts(of: .damagedReplica).joined(separator: " | ")
        }
        return "\(seed): " + (history + states).joined(separator: "; ")
    }

    init(seed: UInt64) throws {
        self.seed = seed
        cluster = try SimulatedCluster(seed: seed)
        _ = world.run(for: 5_000_000_000, until: { cluster.leader != nil })
        topic.create(in: cluster)
    }

    private func write(_ rounds: Int) {
        for _ in 0..<rounds {
            topic.produce(in: cluster)
            counters.advance(in: cluster)
            world.run(for: 20_000_000)
        }
    }

    func round() throws {
        let order = cluster.nodes.shuffled(using: &world.random)
        let (victim, lagging, whole) = (order[0], order[1], order[2])
        write(20)
        // Nothing of the next records reaches this one.
        cluster.isolated = [lagging.member.id]
        write(10)
        let isSealed = world.random.chance(0.7)
        if isSealed {
            victim.stop()
        } else {
            victim.crash()
        }
        history.append("\(victim.member.name) \(isSealed ? "stops" : "crashes")")
        let image = try DiskImage(of: "data", on: victim.fileSystem)
        try damage(victim, image, isSealed: isSealed)
        whole.crash()
        cluster.isolated = []
        let isUp = try start(victim, image)
        world.run(for: 3_000_000_000)
        write(5)
        if isUp { try refuseOrGoOn(victim, image) }
        try whole.start()
        if !victim.isUp { try victim.start() }
        #expect(world.run(for: 30_000_000_000, until: { self.isWhole }), "seed \(trail): no convergence")
        try refuseOrGoOn(victim, image)
        older[victim.member.id] = try DiskImage(of: "data", on: victim.fileSystem)
    }

    private func damage(_ victim: SimulatedNode, _ image: DiskImage, isSealed: Bool) throws {
        let older = older[victim.member.id]
        damaged = []
        for _ in 0..<Int.random(in: 1...3, using: &world.random) {
            guard let fault = FileFault.draw(from: image, older: older, isSealed: isSealed, &world.random) else {
                continue
            }
            history.append("\(fault)")
            damaged.append(fault.path)
            try fault.apply(to: victim.fileSystem, older: older)
        }
    }

    /// A refused node gets its files back, as from a backup made when it stopped.
    private func start(_ node: SimulatedNode, _ image: DiskImage) throws -> Bool {
        do {
            try node.start()
            return true
        } catch let error as NodeError {
            history.append("refused: \(error)")
            try image.restore("data", on: node.fileSystem)
            return false
        }
    }

    /// What is refused gets its files back, and nothing else: all other groups have gone on meanwhile, and acknowledged
    /// what no backup has.
    private func refuseOrGoOn(_ node: SimulatedNode, _ image: DiskImage) throws {
        guard let refusal = node.refusal else { return }
        history.append("refused: \(refusal)")
        var paths = damaged.filter { !$0.hasPrefix("data/node/raft") }
        if node.node?.host.failure == nil {
            paths = (node.node?.statuses.outages ?? []).flatMap { outage in
                switch outage.name {
                case "controller", "keyvalue": ["data/node/" + outage.name]
                default: ["data/" + outage.name] + ["state", "members"].map { "data/node/raft/\(outage.name).\($0)" }
                }
            }
        }
        node.crash()
        for path in paths { try image.restore(path, on: node.fileSystem) }
        history.append("restored \(paths)")
        try node.start()
    }

    private var isWhole: Bool {
        cluster.hasConverged
            && cluster.nodes.allSatisfy { $0.refusal != nil || $0.node?.topics.partition(.firstPartition) != nil }
    }

    func finish() throws {
        try cluster.heal()
        world.run(for: 8_000_000_000)
        #expect(world.run(for: 20_000_000_000, until: { self.isWhole }), "seed \(trail): no convergence")
        try topic.check(cluster, seed: seed, trail: trail)
        counters.finish(in: cluster, seed: seed)
        let hashes = try cluster.nodes.compactMap { try $0.node?.store.stateHash() }
        #expect(hashes.count == 3 && Set(hashes).count == 1, "seed \(trail): replicas differ")
    }
}
