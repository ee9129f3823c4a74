// A lone node whose key-value group has lost its log, its store or both stays closed until an operator accepts the
// loss; then it goes on with what is left, and never with less.
import Cluster
import FileIO
import KeyValue
import SegmentedLog
import SimulatedIO
import Storage
import StrataNode
import Synchronization
import Testing

@Suite struct RepairSimulationTests {
    private static let second: UInt64 = 1_000_000_000
    private let cluster: SimulatedCluster
    private var node: SimulatedNode { cluster.nodes[0] }

    init() throws {
        // Even seeds run with the LSM tree, whose files are few until it is told to write them.
        cluster = try SimulatedCluster(seed: 40, size: 1)
        try serve()
    }

    private func serve() throws {
        try #require(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil && cluster.hasConverged }))
    }

    private func put(_ key: UInt8) throws {
        let answers = Mutex(0)
        node.node?.keyValue.put(key: [key], value: [key]) { result in
            if case .success = result { answers.withLock { $0 += 1 } }
        }
        try #require(cluster.world.run(for: 5 * Self.second, until: { answers.withLock { $0 } == 1 }))
    }

    private func keys() throws -> [UInt8] {
        try (1...9).filter { try node.node?.store.get([$0]) != nil }
    }

    /// Keys 1 to 3 are in the store's files, 4 and 5 in the log alone.
    private func stopWithBoth() throws {
        for key in UInt8(1)...3 { try put(key) }
        try node.node?.store.flush()
        for key in UInt8(4)...5 { try put(key) }
        cluster.world.run(for: 2 * Self.second)
        node.stop()
    }

    private func expectRefusal() throws {
        let error = #expect(throws: NodeError.self) { try node.start() }
        #expect(error?.description.contains("repair --accept-loss keyvalue") == true, "\(String(describing: error))")
    }

    private func accept(_ engine: StorageEngineKind? = nil) throws -> GroupRepair.Report {
        let report = try GroupRepair.acceptLoss(
            of: "keyvalue", in: "data", engine: engine, fileSystem: node.fileSystem)
        try node.start()
        try serve()
        return report
    }

    @Test(arguments: ["delete", "empty", "cut", "flip"])
    func withoutItsLogItGoesOnFromItsStore(how: String) throws {
        try stopWithBoth()
        let folder = "data/node/keyvalue/log"
        let name = try #require(try node.fileSystem.list(folder).first { $0.hasSuffix(".log") })
        let size = try node.fileSystem.open("\(folder)/\(name)", .read).size()
        switch how {
        case "delete": try DiskImage.delete(folder, on: node.fileSystem)
        case "empty": try DiskImage.cut("\(folder)/\(name)", to: 0, on: node.fileSystem)
        case "cut": try DiskImage.cut("\(folder)/\(name)", to: size / 4, on: node.fileSystem)
        default: try DiskImage.flip("\(folder)/\(name)", at: size / 4, mask: 4, on: node.fileSystem)
        }
        try expectRefusal()
        let report = try accept()
        #expect(report.recordedIndex > report.lastIndex && report.lostFront == nil)
        #expect(try keys() == [1, 2, 3])
        try put(6)
        node.stop()
        try node.start()
        try serve()
        #expect(try keys() == [1, 2, 3, 6])
    }

    @Test func withoutStoreAndLogItBeginsAnew() throws {
        try stopWithBoth()
        try DiskImage.delete("data/node/keyvalue", on: node.fileSystem)
        try expectRefusal()
        let report = try accept(.lsm)
        #expect(report.lastIndex == 0 && report.recordedIndex > 0)
        #expect(try keys().isEmpty)
        try put(6)
        #expect(try keys() == [6])
    }

    /// The log begins behind what the lost store had: what it holds is not lost.
    @Test(arguments: StorageEngineKind.allCases)
    func withoutItsStoreItGoesOnFromItsLog(engine: StorageEngineKind) throws {
        let disk = SimulatedFileSystem(seed: 3)
        for folder in ["data", "data/node", "data/node/raft", "data/node/keyvalue"] { try disk.createDirectory(folder) }
        var options = SegmentedLog.Options()
        options.naming = .index
        let log = try SegmentedLog.open(
            directory: "data/node/keyvalue/log", fileSystem: disk, options: options, floor: nil)
        try log.reset(to: 100, term: 3, nextOffset: 0)
        var frames = FrameBatch()
        for index in UInt64(101)...102 {
            frames.append(kind: .noop, index: index, term: 3, baseOffset: 0, recordCount: 0, payload: [])
        }
        try log.append(frames, durability: .power)
        try HardStateFile.replace(
            path: "data/node/raft/keyvalue.state", with: HardStateRecord(term: 4), fileSystem: disk)
        let report = try GroupRepair.acceptLoss(of: "keyvalue", in: "data", engine: engine, fileSystem: disk)
        #expect(report.lostFront == 1...100 && report.lastIndex == 102 && report.kept.isEmpty)
        let store = try openStore(kind: engine, directory: "data/node/keyvalue/\(engine.rawValue)", fileSystem: disk)
        #expect(store.flushed == LogPosition(index: 100, term: 3))
        store.close()
        let state = try #require(try HardStateFile.read(path: "data/node/raft/keyvalue.state", fileSystem: disk))
        #expect(state.term == 4 && state.floor.index == 102)
    }

    /// An operator's order throws nothing away.
    @Test func aFourthDamagedCopyIsNotThrownAway() throws {
        try stopWithBoth()
        let folder = "data/node/keyvalue/log"
        let name = try #require(try node.fileSystem.list(folder).first { $0.hasSuffix(".log") })
        for number in 1...DamagedFolder.copiesMax {
            try node.fileSystem.createDirectory("\(folder)~damaged-\(number)")
        }
        let size = try node.fileSystem.open("\(folder)/\(name)", .read).size()
        try DiskImage.flip("\(folder)/\(name)", at: size / 4, mask: 4, on: node.fileSystem)
        let before = try DiskImage(of: folder, on: node.fileSystem)
        #expect(throws: NodeError.self) {
            try GroupRepair.acceptLoss(of: "keyvalue", in: "data", fileSystem: node.fileSystem)
        }
        #expect(try DiskImage(of: folder, on: node.fileSystem) == before)
    }
}
