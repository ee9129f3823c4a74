// Logs that are cut almost at once, so that whoever was away comes back by a snapshot: with crashes while files travel
// and while they take the place of the old ones, over both engines. Nothing acknowledged may be missing afterwards, and
// all replicas must hold the same.
import Cluster
import KeyValue
import Storage
import StrataNode
import Synchronization
import Testing

@Suite struct SnapshotSimulationTests {
    static let seeds = (0..<24).map { UInt64($0) }

    static var settings: SnapshotSettings {
        var settings = SnapshotSettings()
        settings.logRetainedBytes = 32 * 1024
        settings.logRetainedForLiveBytes = 48 * 1024
        settings.compactionInterval = 50_000_000
        settings.chunkBytes = 4 * 1024
        settings.windowBytes = 16 * 1024
        settings.bytesPerSecond = 1 << 20
        settings.syncBytes = 16 * 1024
        settings.retryInterval = 200_000_000
        settings.timeout = 1_500_000_000
        settings.checkpointLifetime = 3_000_000_000
        return settings
    }

    @Test(arguments: seeds)
    func whoeverWasAwayComesBackBySnapshot(seed: UInt64) throws {
        var run = try SnapshotRun(seed: seed)
        try run.go()
    }

    @Test func theSameSeedIsTheSameRun() throws {
        for seed in [UInt64(2), 5] {
            var first = try SnapshotRun(seed: seed)
            try first.go()
            var second = try SnapshotRun(seed: seed)
            try second.go()
            #expect(first.cluster.world.hash == second.cluster.world.hash, "seed \(seed)")
        }
    }
}

/// What was acknowledged, by key.
private final class WriteLog: Sendable {
    private struct State {
        var acknowledged: [String: String] = [:]
        var inFlight: Set<String> = []
    }
    private let state = Mutex(State())

    /// Two writes of one key at once could be applied in either order: false while one is under way.
    func begin(_ key: String) -> Bool { state.withLock { $0.inFlight.insert(key).inserted } }

    func end(_ key: String, acknowledged value: String?) {
        state.withLock { state in
            state.inFlight.remove(key)
            if let value { state.acknowledged[key] = value }
        }
    }

    var all: [(key: String, value: String)] {
        state.withLock(\.acknowledged).map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 }
    }
}

/// One run: rounds in which one node is away while the others write, with crashes at any moment after it came back.
private struct SnapshotRun {
    let seed: UInt64
    let cluster: SimulatedCluster
    private let log = WriteLog()
    private var written = 0

    init(seed: UInt64) throws {
        self.seed = seed
        cluster = try SimulatedCluster(seed: seed, snapshots: SnapshotSimulationTests.settings)
    }

    mutating func go() throws {
        let world = cluster.world
        let cluster = cluster
        let isLed = world.run(for: 5_000_000_000, until: { cluster.leader != nil })
        #expect(isLed, "seed \(seed): no leader")
        var received: UInt64 = 0
        for round in 0..<4 {
            let away = cluster.nodes[Int.random(in: 0..<3, using: &world.random)]
            if world.random.chance(0.5) { away.crash() } else { cluster.isolated = [away.member.id] }
            for _ in 0..<60 { write() }
            world.run(for: 500_000_000)
            cluster.isolated = []
            if !away.isUp { try away.start() }
            // The transfer takes some hundreds of milliseconds: crash the receiver, the sender or anybody in the
            // middle.
            for _ in 0..<(round == 3 ? 0 : 3) where world.random.chance(0.7) {
                world.run(for: UInt64.random(in: 1_000_000...400_000_000, using: &world.random))
                received += cluster.nodes.reduce(0) { $0 + ($1.node?.host.snapshotCounters.received ?? 0) }
                let victim =
                    world.random.chance(0.6) ? away : cluster.nodes[Int.random(in: 0..<3, using: &world.random)]
                victim.crash()
                if world.random.chance(0.5) { world.run(for: 200_000_000) }
                try victim.start()
            }
            cluster.lossProbability = world.random.chance(0.3) ? 0.05 : 0
            for _ in 0..<10 { write() }
        }
        try cluster.heal()
        world.run(for: 6_000_000_000)
        let isEqual = world.run(for: 40_000_000_000, until: { cluster.hasConverged })
        #expect(isEqual, "seed \(seed): no convergence")
        try check()
        received += cluster.nodes.reduce(0) { $0 + ($1.node?.host.snapshotCounters.received ?? 0) }
        #expect(received > 0, "seed \(seed): nobody needed a snapshot, so the run means nothing")
    }

    private mutating func write() {
        written += 1
        let (key, value) = ("key-\(written % 90)", "value-\(written)-" + String(repeating: "x", count: 1500))
        let node = cluster.nodes.filter { $0.isUp && !cluster.isolated.contains($0.member.id) }
            .randomElement(using: &cluster.world.random)?.node
        let log = log
        if let node, log.begin(key) {
            node.keyValue.put(key: Array(key.utf8), value: Array(value.utf8)) { result in
                if case .success = result { log.end(key, acknowledged: value) } else { log.end(key, acknowledged: nil) }
            }
        }
        cluster.world.run(for: 15_000_000)
    }

    /// Every key holds its last acknowledged value or a later one, and all replicas hold the same.
    private func check() throws {
        let all = log.all
        #expect(all.count > 50, "seed \(seed): hardly anything was acknowledged")
        for node in cluster.nodes {
            guard let store = node.node?.store else { continue }
            for (key, value) in all {
                let found = try store.get(Array(key.utf8)).map { String(decoding: $0, as: UTF8.self) }
                let number = found.flatMap { Int($0.split(separator: "-")[1]) } ?? 0
                let expected = Int(value.split(separator: "-")[1]) ?? 0
                #expect(number >= expected, "seed \(seed): \(key) is \(number), acknowledged \(expected)")
            }
        }
        let hashes = try cluster.nodes.compactMap { try $0.node?.store.stateHash() }
        #expect(hashes.count == 3 && Set(hashes).count == 1, "seed \(seed): replicas differ")
    }
}
