// What a node watches for all its groups: idle groups sleep and wake when their leader's node dies or falls silent, a
// leader with a stuck disk goes, and a process that stood still knows it.
import Broker
import Cluster
import KeyValue
import Raft
import StrataNode
import Synchronization
import Testing

@Suite struct LivenessSimulationTests {
    static let partitions = 40
    static let second: UInt64 = 1_000_000_000

    /// A cluster whose groups have long been idle.
    private func sleepingCluster(seed: UInt64) throws -> SimulatedCluster {
        let cluster = try SimulatedCluster(seed: seed)
        #expect(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil }), "seed \(seed): no leader")
        cluster.nodes[0].node?.broker.createTopic(
            name: "idle", partitions: UInt32(Self.partitions), ifNotExists: true
        ) { _ in }
        cluster.world.run(for: 10 * Self.second)
        #expect(
            cluster.nodes.allSatisfy { $0.node?.statuses.all.count == Self.partitions + 2 },
            "seed \(seed): partitions are missing")
        return cluster
    }

    /// How many groups are led by a node that is up and reachable.
    private func ledGroups(_ cluster: SimulatedCluster, without: SimulatedNode) -> Int {
        var led: Set<GroupID> = []
        for node in cluster.nodes where node.isUp && node !== without {
            for (group, status) in node.node?.statuses.all ?? [] where status.role == .leader { led.insert(group) }
        }
        return led.count
    }

    private func leader(of cluster: SimulatedCluster) throws -> SimulatedNode {
        try #require(cluster.leader)
    }

    @Test(arguments: [UInt64(1), 2])
    func idleGroupsAreSilentAndStillTakeWrites(seed: UInt64) throws {
        let cluster = try sleepingCluster(seed: seed)
        let before = cluster.bytesSent
        cluster.world.run(for: 2 * Self.second)
        // Twenty beats a second from each of three nodes to two others, and a question a second with its answer.
        let (beats, echoes) = (2 * 21 * 6 * 5, 3 * 6 * 2 * 80)
        #expect(cluster.bytesSent - before <= beats + echoes, "seed \(seed): idle groups talk")
        let done = Mutex(false)
        try leader(of: cluster).node?.keyValue.put(key: [1], value: [2]) { result in
            if case .success = result { done.withLock { $0 = true } }
        }
        #expect(
            cluster.world.run(for: Self.second / 10, until: { done.withLock { $0 } }), "seed \(seed): no quick wake-up")
    }

    @Test(arguments: [UInt64(3), 4])
    func aDeadNodesGroupsWakeAndElect(seed: UInt64) throws {
        let cluster = try sleepingCluster(seed: seed)
        let dead = try leader(of: cluster)
        dead.crash()
        let all = cluster.world.run(
            for: Self.second, until: { ledGroups(cluster, without: dead) == Self.partitions + 2 })
        #expect(all, "seed \(seed): groups without a leader a second after the crash")
    }

    @Test(arguments: [UInt64(5), 6])
    func aSilentNodesGroupsWakeAndElect(seed: UInt64) throws {
        let cluster = try sleepingCluster(seed: seed)
        let silent = try leader(of: cluster)
        cluster.isolated = [silent.member.id]
        let all = cluster.world.run(
            for: Self.second, until: { ledGroups(cluster, without: silent) == Self.partitions + 2 })
        #expect(all, "seed \(seed): groups without a leader a second after the cut")
        try cluster.heal()
        #expect(cluster.world.run(for: 20 * Self.second, until: { cluster.hasConverged }), "seed \(seed)")
    }

    @Test(arguments: [UInt64(7), 8])
    func aLeaderWithAStuckDiskIsReplaced(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        #expect(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil }), "seed \(seed): no leader")
        cluster.world.run(for: Self.second)
        let stalled = try leader(of: cluster)
        stalled.diskStalledUntil = cluster.world.now + 4 * Self.second
        stalled.node?.keyValue.put(key: [1], value: [2]) { _ in }
        let replaced = cluster.world.run(for: Self.second, until: { cluster.leader.map { $0 !== stalled } ?? false })
        #expect(replaced, "seed \(seed): still led by the node with the stuck disk")
        cluster.world.run(
            for: 2 * Self.second,
            until: { stalled.node?.statuses.status(of: .keyValue)?.role == .leader })
        #expect(cluster.leader !== stalled, "seed \(seed): it leads again while its disk is stuck")
        #expect(stalled.node?.host.storageStalls == 1, "seed \(seed)")
        #expect(cluster.world.run(for: 20 * Self.second, until: { cluster.hasConverged }), "seed \(seed)")
    }

    /// Issue 15, 7.2: the store of a leader stood still, its health was ok, and it went on leading.
    @Test(arguments: [UInt64(12), 13])
    func aLeaderWhoseMaintenanceStandsStillSaysSoAndIsReplaced(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        #expect(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil }), "seed \(seed): no leader")
        cluster.world.run(for: Self.second)
        let stalled = try leader(of: cluster)
        let status = NodeStatusReader(
            node: try #require(stalled.node), cluster: stalled.formed, member: stalled.member)
        #expect(status.status().isHealthy)
        stalled.maintenanceStuck = cluster.world.now
        cluster.world.run(for: 4 * Self.second)
        #expect(cluster.leader === stalled, "seed \(seed): a slow store is no reason yet")
        let replaced = cluster.world.run(
            for: 2 * Self.second, until: { cluster.leader.map { $0 !== stalled } ?? false })
        #expect(replaced, "seed \(seed): still led by the node whose store stands still")
        #expect(!status.status().isHealthy && status.status().problem?.contains("background work") == true)
        #expect(stalled.diagnostics?.total(of: .maintenanceStalled) == 1)
        cluster.world.run(
            for: 3 * Self.second,
            until: { stalled.node?.statuses.status(of: .keyValue)?.role == .leader })
        #expect(cluster.leader !== stalled, "seed \(seed): it leads again while its store stands still")
        stalled.maintenanceStuck = nil
        #expect(cluster.world.run(for: 2 * Self.second, until: { status.status().isHealthy }), "seed \(seed)")
    }

    @Test func aPauseIsNoticed() throws {
        let cluster = try SimulatedCluster(seed: 9)
        #expect(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil }))
        let paused = try leader(of: cluster)
        let before = paused.node?.host.pauses ?? 0
        paused.pausedUntil = cluster.world.now + Self.second
        cluster.world.run(for: 2 * Self.second)
        #expect(paused.node?.host.pauses == before + 1)
        #expect(cluster.leader != nil && cluster.leader !== paused)
    }

    private func read(_ node: SimulatedNode, _ consistency: ReadConsistency, in cluster: SimulatedCluster) -> Bool? {
        let answer = Mutex<Bool?>(nil)
        node.node?.keyValue.get(key: [1], consistency: consistency) { result in
            answer.withLock { state in
                if case .success = result { state = true } else { state = false }
            }
        }
        cluster.world.run(for: 6 * Self.second, until: { answer.withLock { $0 } != nil })
        return answer.withLock { $0 }
    }

    @Test func leasesSparePeersAndEndWithAPause() throws {
        let cluster = try SimulatedCluster(seed: 10, leaseReads: true)
        #expect(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil }))
        cluster.world.run(for: Self.second / 2)
        let leader = try leader(of: cluster)
        let counters = try #require(leader.counters)
        let before = counters.leaseReads.load(ordering: .relaxed)
        #expect(read(leader, .lease, in: cluster) == true)
        #expect(counters.leaseReads.load(ordering: .relaxed) == before + 1, "the lease did not serve")
        // It comes back from a pause into a cluster with another leader: nothing may be answered by the old lease.
        leader.pausedUntil = cluster.world.now + Self.second
        cluster.world.run(for: Self.second - 1)
        let served = counters.leaseReads.load(ordering: .relaxed)
        #expect(read(leader, .lease, in: cluster) == true)
        #expect(counters.leaseReads.load(ordering: .relaxed) == served, "an old lease answered after a pause")
    }

    @Test func boundedReadsEndWithTheLeadersSilence() throws {
        let cluster = try sleepingCluster(seed: 11)
        let leader = try leader(of: cluster)
        let follower = try #require(cluster.nodes.first { $0 !== leader })
        #expect(read(follower, .bounded(milliseconds: 200), in: cluster) == true)
        cluster.isolated = [follower.member.id]
        cluster.world.run(for: Self.second)
        #expect(read(follower, .bounded(milliseconds: 200), in: cluster) == false)
        #expect(read(follower, .stale, in: cluster) == true)
    }
}
