// What a node has lost while it was stopped is evidence, not a new beginning: the exact cases in which acknowledged
// data was once forgotten. Each says what the node must do: refuse the replica by name, or rebuild it from its peers
// without a vote.
import Broker
import Cluster
import FileIO
import KeyValue
import Raft
import Records
import SegmentedLog
import SimulatedIO
import StrataNode
import Synchronization
import Testing

/// A cluster with the topic `tt` of one partition.
struct AbsenceCluster {
    static let second: UInt64 = 1_000_000_000
    let cluster: SimulatedCluster

    init(seed: UInt64, size: Int = 3) throws {
        cluster = try SimulatedCluster(seed: seed, size: size)
        _ = cluster.world.run(for: 5 * Self.second, until: { [cluster] in cluster.leader != nil })
        cluster.nodes[0].node?.broker.createTopic(name: "tt", partitions: 1, ifNotExists: true) { _ in }
        _ = cluster.world.run(for: 5 * Self.second, until: { [self] in leader != nil })
        try #require(leader != nil)
    }

    var leader: SimulatedNode? {
        cluster.nodes.first { $0.node?.statuses.status(of: .firstPartition)?.role == .leader }
    }

    func run(seconds: UInt64) { cluster.world.run(for: seconds * Self.second) }

    /// Produces with a quorum's acknowledgement, at the leader of the moment; returns the offset.
    func produce(_ value: String) throws -> UInt64 {
        var batch = RecordBatch()
        batch.append(key: nil, value: Array(value.utf8), timestamp: 1)
        let answer = Mutex<UInt64?>(nil)
        for _ in 0..<20 where answer.withLock({ $0 == nil }) {
            cluster.world.run(for: 5 * Self.second, until: { [self] in leader != nil })
            leader?.node?.broker.produce(topic: "tt", partition: 0, batch: batch.encoded(), acks: .quorum) { result in
                if case .success(let receipt) = result { answer.withLock { $0 = receipt.baseOffset } }
            }
            cluster.world.run(for: Self.second / 2, until: { answer.withLock { $0 != nil } })
        }
        return try #require(answer.withLock { $0 }, "nobody took \(value)")
    }

    /// The records that a node's own replica holds as committed.
    func values(on node: SimulatedNode) throws -> [String] {
        guard let partition = node.node?.topics.partition(.firstPartition) else { return [] }
        var values: [String] = []
        while UInt64(values.count) < partition.highWatermark {
            let fetched = try partition.read(from: UInt64(values.count), maxBytes: 4096)
            for batch in try RecordBatchView.batches(in: fetched.bytes) {
                values += try batch.records().map { String(decoding: $0.value ?? [], as: UTF8.self) }
            }
        }
        return values
    }

    func isWhole(_ node: SimulatedNode, _ group: GroupID = .firstPartition) -> Bool {
        let ends = cluster.nodes.compactMap { $0.node?.statuses.status(of: group)?.appliedIndex }
        return node.isUp && ends.count == cluster.nodes.count && Set(ends).count == 1
            && node.node?.statuses.status(of: group)?.leader != nil
    }
}

@Suite struct AbsenceSimulationTests {
    /// n2 has acknowledged what n3 has not; n1, which has it too, is down. n2 lost its folder.
    @Test func aDeletedTopicFolderForgetsNothingThatWasAcknowledged() throws {
        for seed in 1...6 as ClosedRange<UInt64> {
            let tt = try AbsenceCluster(seed: seed)
            let (n1, n2, n3) = (tt.cluster.nodes[0], tt.cluster.nodes[1], tt.cluster.nodes[2])
            #expect(try tt.produce("record-0") == 0)
            tt.run(seconds: 2)
            n3.stop()
            for number in 1...5 { #expect(try tt.produce("record-\(number)") == UInt64(number), "seed \(seed)") }
            n1.stop()
            n2.stop()
            try DiskImage.delete("data/tt-0", on: n2.fileSystem)
            try n2.start()
            try n3.start()
            tt.run(seconds: 5)
            #expect(tt.leader == nil, "seed \(seed): without n1 nobody has the five records, so nobody may lead")
            #expect(n2.reports.texts(of: .damagedReplica).contains { $0.contains("tt-0") }, "seed \(seed)")
            try n1.start()
            #expect(tt.cluster.world.run(for: 20 * AbsenceCluster.second, until: { tt.isWhole(n2) }), "seed \(seed)")
            #expect(try tt.produce("record-6") == 6, "seed \(seed)")
            tt.run(seconds: 2)
            for node in tt.cluster.nodes {
                #expect(try tt.values(on: node) == (0...6).map { "record-\($0)" }, "seed \(seed), \(node.member.name)")
            }
        }
    }

    @Test(arguments: ["data/node/keyvalue", "data/node/keyvalue/log", "data/node/controller", "data/tt-0"])
    func aLostFolderIsRebuiltFromThePeers(folder: String) throws {
        for seed in [2, 3] as [UInt64] {
            let tt = try AbsenceCluster(seed: seed)
            let node = tt.cluster.nodes[1]
            for number in 0..<10 {
                _ = try tt.produce("record-\(number)")
                tt.cluster.leader?.node?.keyValue.put(key: [UInt8(number)], value: [1]) { _ in }
            }
            tt.run(seconds: 2)
            node.stop()
            try DiskImage.delete(folder, on: node.fileSystem)
            try node.start()
            let isWhole = tt.cluster.world.run(for: 20 * AbsenceCluster.second) {
                [GroupID.controller, .keyValue, .firstPartition].allSatisfy { tt.isWhole(node, $0) }
            }
            #expect(isWhole, "seed \(seed): \(String(describing: node.node?.statuses.all))")
            #expect(!node.reports.texts(of: .damagedReplica).isEmpty)
            #expect(try tt.values(on: node) == (0..<10).map { "record-\($0)" }, "seed \(seed)")
        }
    }

    /// A lone replica has nobody to ask: it stays closed, the rest of the node serves.
    @Test(arguments: ["delete folder", "delete log", "empty log", "cut log", "flip"])
    func aLoneReplicaStaysClosed(how: String) throws {
        let tt = try AbsenceCluster(seed: 4, size: 1)
        let node = tt.cluster.nodes[0]
        for number in 0..<3 { _ = try tt.produce("record-\(number)") }
        node.stop()
        let path = "data/tt-0/00000000000000000000.log"
        let size = try node.fileSystem.open(path, .read).size()
        switch how {
        case "delete folder": try DiskImage.delete("data/tt-0", on: node.fileSystem)
        case "delete log": try DiskImage.delete(path, on: node.fileSystem)
        case "empty log": try DiskImage.cut(path, to: 0, on: node.fileSystem)
        case "cut log": try DiskImage.cut(path, to: size - 200, on: node.fileSystem)
        // The end is a sync marker of 48 bytes: the last batch ends before it.
        default: try DiskImage.flip(path, at: size - 48 - 5, mask: 4, on: node.fileSystem)
        }
        let before = try DiskImage(of: "data/tt-0", on: node.fileSystem)
        try node.start()
        tt.run(seconds: 3)
        let outage = try #require(node.node?.statuses.outage(of: .firstPartition), "\(how)")
        #expect(outage.name == "tt-0" && outage.reason.contains("repair --accept-loss tt-0"), "\(outage)")
        #expect(try DiskImage(of: "data/tt-0", on: node.fileSystem) == before, "\(how): nothing may be changed")
        #expect(node.node?.statuses.status(of: .keyValue)?.role == .leader)
    }

    /// Each of these files says who the replica is; without it nothing is made up.
    @Test(arguments: ["keyvalue.state", "controller.state", "registry"])
    func aMissingIdentityFileOfTheNodeIsRefused(name: String) throws {
        for size in [1, 3] {
            for isEmptied in [false, true] {
                let tt = try AbsenceCluster(seed: 5, size: size)
                let node = tt.cluster.nodes[0]
                tt.run(seconds: 2)
                node.stop()
                let path = "data/node/raft/" + name
                if isEmptied {
                    try DiskImage.cut(path, to: 0, on: node.fileSystem)
                } else {
                    try DiskImage.delete(path, on: node.fileSystem)
                }
                let error = #expect(throws: NodeError.self) { try node.start() }
                #expect(error?.description.contains(name) == true, "\(String(describing: error))")
                #expect(error?.description.contains("refused") == true)
            }
        }
    }

    /// Every file of a partition is gone, as if it had never been here.
    @Test func aPartitionWithoutAnyFileIsRefused() throws {
        let tt = try AbsenceCluster(seed: 6)
        let node = tt.cluster.nodes[2]
        _ = try tt.produce("record-0")
        tt.run(seconds: 2)
        node.stop()
        for path in ["data/tt-0", "data/node/raft/tt-0.state", "data/node/raft/tt-0.members"] {
            try DiskImage.delete(path, on: node.fileSystem)
        }
        try node.start()
        tt.run(seconds: 3)
        let outage = try #require(node.node?.statuses.outage(of: .firstPartition))
        #expect(outage.reason.contains("tt-0 is refused") && outage.reason.contains("term and vote"), "\(outage)")
        #expect(try tt.produce("record-1") == 1)
    }

    /// On a quiet cluster the controller's last entry is the creation of a topic.
    @Test func theControllersLastEntryIsNotLostWithABit() throws {
        let tt = try AbsenceCluster(seed: 7, size: 1)
        let node = tt.cluster.nodes[0]
        for isStopped in [true, false] {
            tt.run(seconds: 3)
            if isStopped { node.stop() } else { node.crash() }
            let folder = "data/node/controller/"
            let name = try #require(try node.fileSystem.list(folder).last { $0.hasSuffix(".log") })
            let size = try node.fileSystem.open(folder + name, .read).size()
            try DiskImage.flip(folder + name, at: size - 48 - 5, mask: 1, on: node.fileSystem)
            let error = #expect(throws: NodeError.self) { try node.start() }
            #expect(error?.description.contains("controller is refused") == true, "\(String(describing: error))")
            #expect(error?.description.contains(name) == true, "the file is named: \(String(describing: error))")
            try DiskImage.flip(folder + name, at: size - 48 - 5, mask: 1, on: node.fileSystem)
            try node.start()
        }
        tt.run(seconds: 3)
        #expect(node.node?.topics.record("tt") != nil)
    }
}
