// Networks whose round trips are longer than the election times that were set: the times follow what is measured, so
// that a cluster elects, keeps its leader and acknowledges writes (issue 15, 7.4).
import Cluster
import KeyValue
import Raft
import StrataNode
import Synchronization
import Testing

@Suite struct FarNetworkSimulationTests {
    static let second: UInt64 = 1_000_000_000
    static let millisecond: UInt64 = 1_000_000

    private func cluster(_ seed: UInt64, oneWay: ClosedRange<UInt64>, loss: Double = 0) throws -> SimulatedCluster {
        let cluster = try SimulatedCluster(seed: seed)
        cluster.delayMin = oneWay.lowerBound * Self.millisecond
        cluster.delayMax = oneWay.upperBound * Self.millisecond
        cluster.lossProbability = loss
        cluster.resendDelay = 2 * cluster.delayMax
        return cluster
    }

    private func write(_ number: Int, in cluster: SimulatedCluster) -> Bool {
        let answer = Mutex<Bool?>(nil)
        cluster.nodes[number % 3].node?.keyValue.put(key: [UInt8(number % 256)], value: [1]) { result in
            answer.withLock { state in
                if case .success = result { state = true } else { state = false }
            }
        }
        cluster.world.run(for: 6 * Self.second, until: { answer.withLock { $0 } != nil })
        return answer.withLock { $0 } == true
    }

    private func candidacies(_ cluster: SimulatedCluster) -> UInt64 {
        cluster.nodes.reduce(0) { $0 + ($1.counters?.candidacies.load(ordering: .relaxed) ?? 0) }
    }

    /// Round trips of 60 ms caused candidacies, and with 200 ms no write was acknowledged.
    @Test(arguments: [UInt64(30), 100, 250], [UInt64(1), 2, 3])
    func writesAreAcknowledgedOverALongWay(oneWay: UInt64, seed: UInt64) throws {
        let cluster = try cluster(seed, oneWay: oneWay...(oneWay + 1))
        cluster.world.run(for: 10 * Self.second)
        let before = candidacies(cluster)
        for number in 0..<10 { #expect(write(number, in: cluster), "seed \(seed): write \(number)") }
        cluster.world.run(for: 20 * Self.second)
        #expect(candidacies(cluster) == before, "seed \(seed): elections without a reason")
    }

    @Test(arguments: [UInt64(1), 2, 3, 4, 5, 6])
    func aClusterKeepsItsLeaderThoughDelaysVaryAndPacketsAreLost(seed: UInt64) throws {
        let cluster = try cluster(seed, oneWay: 60...140, loss: 0.05)
        cluster.world.run(for: 10 * Self.second)
        let before = candidacies(cluster)
        for number in 0..<10 { #expect(write(number, in: cluster), "seed \(seed): write \(number)") }
        cluster.world.run(for: 60 * Self.second)
        #expect(candidacies(cluster) == before, "seed \(seed): elections without a reason")
    }

    @Test(arguments: [UInt64(1), 2])
    func timesAreThoseThatWereSetAgainOnceTheWayIsShort(seed: UInt64) throws {
        let cluster = try cluster(seed, oneWay: 60...140)
        cluster.world.run(for: 10 * Self.second)
        func longest() -> UInt64 {
            cluster.nodes.compactMap { $0.counters?.lossMilliseconds.load(ordering: .relaxed) }.max() ?? 0
        }
        #expect(longest() > 300, "seed \(seed)")
        (cluster.delayMin, cluster.delayMax, cluster.resendDelay) = (50_000, 2_000_000, 0)
        cluster.world.run(for: 60 * Self.second)
        #expect(longest() == 150, "seed \(seed)")
    }
}
