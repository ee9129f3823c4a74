// Leadership handed over on purpose, on a network that loses nothing: writers at every node notice a pause and no
// error, and the pause is far below an election timeout.
import Cluster
import KeyValue
import StrataNode
import Synchronization
import Testing

@Suite struct HandoverSimulationTests {
    private final class Answers: Sendable {
        let state = Mutex((now: UInt64(0), acknowledged: 0, failed: [RequestError](), last: UInt64(0), gap: UInt64(0)))
        func add(_ result: Result<UInt64, RequestError>) {
            state.withLock { state in
                let now = state.now
                switch result {
                case .success:
                    state.acknowledged += 1
                    if state.last > 0 { state.gap = max(state.gap, now - state.last) }
                    state.last = now
                case .failure(let error): state.failed.append(error)
                }
            }
        }
    }

    @Test(arguments: (0..<20).map { UInt64($0) })
    func aLeaderThatGoesHandsOverWithoutAFailedWrite(seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        let world = cluster.world
        #expect(world.run(for: 5_000_000_000, until: { cluster.leader != nil }), "seed \(seed): no leader")
        let leader = try #require(cluster.leader)
        let answers = Answers()
        var sent = 0
        func write(for duration: UInt64) {
            for _ in 0..<(duration / 1_000_000) {
                let node = cluster.nodes[sent % 3]
                sent += 1
                node.node?.keyValue.put(key: Array("k\(sent)".utf8), value: [1]) { answers.add($0) }
                world.run(for: 1_000_000)
                answers.state.withLock { $0.now = world.now }
            }
        }
        write(for: 300_000_000)
        let isComplete = Mutex<Bool?>(nil)
        leader.post(
            .run { $0.handOver(within: 200_000_000) { done in isComplete.withLock { $0 = done } } }, lane: .control)
        write(for: 300_000_000)
        #expect(isComplete.withLock { $0 } == true, "seed \(seed)")
        let next = try #require(cluster.leader, "seed \(seed): nobody leads")
        #expect(next !== leader, "seed \(seed)")
        world.run(for: 1_000_000_000)
        answers.state.withLock { state in
            #expect(state.failed.isEmpty, "seed \(seed): \(state.failed)")
            #expect(state.acknowledged == sent, "seed \(seed)")
            // Virtual time: a round is at most 2 ms of network and 3 ms of disk.
            #expect(state.gap < 60_000_000, "seed \(seed): \(state.gap / 1_000_000) ms without a write")
        }
    }

    @Test func leadershipGoesWhereItIsSent() throws {
        let cluster = try SimulatedCluster(seed: 7)
        #expect(cluster.world.run(for: 5_000_000_000, until: { cluster.leader != nil }))
        cluster.world.run(for: 500_000_000)
        for target in cluster.nodes {
            let id = target.member.id
            cluster.leader?.post(.run { _ = $0.requestTransfer(of: .keyValue, to: id) }, lane: .control)
            #expect(cluster.world.run(for: 1_000_000_000, until: { cluster.leader === target }))
            cluster.world.run(for: 200_000_000)
        }
    }
}
