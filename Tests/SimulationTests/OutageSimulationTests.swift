// Whole nodes with a group in trouble: the trouble stays the group's. A topic's partition that can't be opened on a
// node is out of service there, with a reason, while the node serves everything else, also after a restart.
import Broker
import Cluster
import FileIO
import KeyValue
import Raft
import SimulatedIO
import StrataNode
import Synchronization
import Testing

@Suite struct OutageSimulationTests {
    private static let second: UInt64 = 1_000_000_000
    private static let partition = GroupID(rawValue: GroupID.firstPartition.rawValue + 1)

    private func create(_ topic: String, _ partitions: UInt32, on cluster: SimulatedCluster) throws {
        let done = Mutex<Result<Void, RequestError>?>(nil)
        cluster.nodes[0].node?.broker.createTopic(name: topic, partitions: partitions, ifNotExists: false) { result in
            done.withLock { $0 = result }
        }
        cluster.world.run(for: 2 * Self.second, until: { done.withLock { $0 != nil } })
        try done.withLock { try $0?.get() }
    }

    @Test(arguments: [FileIOError.Reason.tooManyOpenFiles, .noSpace, .other])
    func aPartitionThatCannotBeOpenedIsOutOfServiceAndTriedAgain(reason: FileIOError.Reason) throws {
        let cluster = try SimulatedCluster(seed: 11, size: 1)
        let world = cluster.world
        #expect(world.run(for: 5 * Self.second, until: { cluster.leader != nil }))
        let node = cluster.nodes[0]
        for _ in 0..<2 {
            node.fileSystem.failNext(operation: .createDirectory, reason: reason, pathSuffix: "/t-1")
        }
        try create("t", 3, on: cluster)
        world.run(for: Self.second / 2)
        let table = try #require(node.node?.statuses)
        #expect(node.node?.host.failure == nil)
        let outage = try #require(table.outage(of: Self.partition))
        #expect(outage.name == "t-1" && outage.reason.contains("/t-1") && outage.isRetried, "\(outage)")
        #expect(table.outages.count == 1)
        let answer = Mutex<RequestError?>(nil)
        node.node?.broker.fetch(topic: "t", partition: 1, offset: 0, maxBytes: 1, waitMilliseconds: 0) { result in
            if case .failure(let error) = result { answer.withLock { $0 = error } }
        }
        guard case .unavailable(let sentence)? = answer.withLock({ $0 }) else {
            Issue.record("\(String(describing: answer.withLock { $0 }))")
            return
        }
        #expect(sentence.contains("t-1 is out of service"), "\(sentence)")
        let others = [GroupID(rawValue: Self.partition.rawValue - 1), GroupID(rawValue: Self.partition.rawValue + 1)]
        for other in others { #expect(table.status(of: other)?.role == .leader, "\(other)") }
        #expect(world.run(for: 10 * Self.second, until: { table.status(of: Self.partition)?.role == .leader }))
        #expect(table.outages.isEmpty)
    }

    @Test func aDamagedPartitionLeavesTheNodeAndAllOtherGroupsInService() throws {
        let cluster = try SimulatedCluster(seed: 12, size: 1)
        let world = cluster.world
        #expect(world.run(for: 5 * Self.second, until: { cluster.leader != nil }))
        let node = cluster.nodes[0]
        try create("t", 3, on: cluster)
        world.run(for: Self.second)
        node.crash()
        // Neither slot of term and vote holds.
        let path = try #require(
            try node.fileSystem.list("data/node/raft").map { "data/node/raft/" + $0 }.first {
                $0.hasSuffix(".state") && ($0.contains("t-1") || $0.contains("17"))
            })
        for position: UInt64 in [4, 516] { try node.fileSystem.damage(path, at: position, mask: 0xff) }
        try node.start()
        #expect(world.run(for: 5 * Self.second, until: { cluster.leader != nil }))
        world.run(for: Self.second)
        let outage = try #require(node.node?.statuses.outage(of: Self.partition))
        #expect(outage.reason.contains(path) && !outage.isRetried, "\(outage)")
        let answer = Mutex<Result<UInt64, RequestError>?>(nil)
        node.node?.keyValue.put(key: [1], value: [2]) { result in answer.withLock { $0 = result } }
        world.run(for: Self.second)
        guard case .success? = answer.withLock({ $0 }) else {
            Issue.record("\(String(describing: answer.withLock { $0 }))")
            return
        }
        for number in [16, 18] as [UInt64] {
            #expect(node.node?.statuses.status(of: GroupID(rawValue: number))?.role == .leader)
        }
    }

    @Test func aDeviceThatFailsAWriteAtOpeningEndsTheNode() throws {
        let cluster = try SimulatedCluster(seed: 13, size: 1)
        #expect(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil }))
        let node = cluster.nodes[0]
        node.fileSystem.failNext(operation: .syncDirectory, reason: .device, pathSuffix: "/t-1")
        try create("t", 3, on: cluster)
        cluster.world.run(for: Self.second)
        #expect(node.node?.host.failure?.contains("t-1") == true)
    }
}
