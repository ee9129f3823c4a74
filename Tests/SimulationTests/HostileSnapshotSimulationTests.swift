// A snapshot whose files are those that were announced, checksums and all, and that no store can be made of. The member
// must find out before its own state is gone: it refuses the files, says so, and goes on.
import FileIO
import Raft
import SimulatedIO
import StrataNode
import Synchronization
import Testing

@testable import Cluster
@testable import KeyValue
@testable import Storage

@Suite struct HostileSnapshotSimulationTests {
    enum Content: String, CaseIterable, Sendable {
        /// A file of the right name that holds nothing of a store.
        case noStore
        /// No files at all.
        case empty
        /// A whole store that ends at another entry than the snapshot.
        case otherPosition
        /// A store of which one byte of the data is another.
        case damagedData
        /// A whole store whose client sessions can't be read.
        case damagedSessions
        /// A whole store that has given out nearly all its sequences.
        case usedUp
    }
    typealias Files = [(name: String, bytes: [UInt8])]

    private final class Count: Sendable {
        let value = Mutex(0)
    }

    /// Seed 2 is a cluster of LSM stores, seed 3 one of hash logs.
    @Test(arguments: Content.allCases, [UInt64(2), 3])
    func filesThatAreNoWholeStoreAreRefused(content: Content, seed: UInt64) throws {
        let cluster = try SimulatedCluster(seed: seed)
        let world = cluster.world
        #expect(world.run(for: 5_000_000_000, until: { cluster.leader != nil && cluster.hasConverged }))
        let leader = try #require(cluster.leader)
        let follower = try #require(cluster.nodes.first { $0 !== leader })
        let written = Count()
        func write(_ key: UInt8) {
            leader.node?.keyValue.put(key: [key], value: [2]) { result in
                if case .success = result { written.value.withLock { $0 += 1 } }
            }
        }
        write(1)
        #expect(world.run(for: 5_000_000_000, until: { written.value.withLock { $0 } == 1 && cluster.hasConverged }))

        let status = try #require(follower.node?.statuses.status(of: .keyValue))
        let point = SnapshotPoint(index: status.lastIndex + 1000, term: status.term)
        let files = try Self.files(content, cluster.engine, at: point)
        send(files, at: point, from: leader, to: follower, in: cluster)

        #expect(follower.node?.host.failure == nil, "seed \(seed)")
        #expect(follower.reports.texts(of: .snapshotFailed).count == 1, "seed \(seed)")
        #expect(follower.node?.statuses.outages.isEmpty == true, "seed \(seed)")
        #expect(try follower.node?.store.get([1]) == [2], "seed \(seed): the old state is gone")
        let left = try follower.fileSystem.list("data/node/keyvalue")
        #expect(!left.contains { $0.hasSuffix(".incoming") || $0.hasPrefix("checkpoint") }, "seed \(seed): \(left)")
        write(3)
        #expect(world.run(for: 5_000_000_000, until: { written.value.withLock { $0 } == 2 && cluster.hasConverged }))
        // As a crash finds it.
        follower.crash()
        try follower.start()
        #expect(world.run(for: 5_000_000_000, until: { cluster.hasConverged }), "seed \(seed)")
        #expect(try follower.node?.store.get([1]) == [2], "seed \(seed)")
    }

    /// All of a transfer, in the name of the leader.
    private func send(
        _ files: Files, at point: SnapshotPoint, from leader: SimulatedNode, to follower: SimulatedNode,
        in cluster: SimulatedCluster
    ) {
        let manifest = SnapshotManifest(
            format: cluster.engine.rawValue, checkpoint: 7, point: point,
            membership: GroupMembership(
                configuration: Configuration(voters: cluster.nodes.map(\.member.id)), version: 0),
            files: files.map { .init(name: $0.name, byteCount: UInt64($0.bytes.count), checksum: crc32c($0.bytes)) })
        func say(_ content: SnapshotMessage.Content) {
            var writer = ByteWriter()
            PeerCodec.encode(SnapshotMessage(group: .keyValue, transfer: 99, content: content), into: &writer)
            follower.post(.received(from: leader.member.id, messages: writer.bytes), lane: .snapshot)
            cluster.world.run(for: 100_000_000)
        }
        say(.offer(term: point.term, manifest))
        for (number, file) in files.enumerated() where !file.bytes.isEmpty {
            say(
                .chunk(
                    SnapshotChunk(
                        file: UInt32(number), offset: 0, checksum: crc32c(file.bytes), bytes: .slice(file.bytes[...]))))
        }
        cluster.world.run(for: 500_000_000)
    }

    private static func files(
        _ content: Content, _ engine: StorageEngineKind, at point: SnapshotPoint
    ) throws -> Files {
        let position = LogPosition(index: point.index - (content == .otherPosition ? 1 : 0), term: point.term)
        let disk = SimulatedFileSystem(seed: 1)
        try disk.createDirectory("data")
        let store = try openStore(kind: engine, directory: "data/store", fileSystem: disk)
        defer { store.close() }
        var batch = WriteBatch()
        for key in UInt8(1)...50 { try batch.put(key: [key], value: [UInt8](repeating: key, count: 100)) }
        if content == .damagedSessions {
            try batch.put(key: KeyValueLimits.reservedPrefix + Array("sessions".utf8), value: [1, 2, 3])
        }
        _ = try store.apply(batch, at: position)
        try store.flush()
        _ = try store.export(to: "data/export")
        var files: Files = []
        for name in try disk.list("data/export") {
            files.append((name, try disk.readFile("data/export/" + name) ?? []))
        }
        switch content {
        case .empty: return []
        case .noStore: return [(engine == .lsm ? "CURRENT" : "CHECKPOINT", Array("123456789".utf8))]
        case .damagedData:
            let largest = try #require(files.indices.max { files[$0].bytes.count < files[$1].bytes.count })
            files[largest].bytes[files[largest].bytes.count / 3] ^= 1
        case .usedUp:
            for place in files.indices { try useUp(&files[place]) }
        case .otherPosition, .damagedSessions: break
        }
        return files
    }
}

/// Has the file that says so end at the last sequences.
private func useUp(_ file: inout (name: String, bytes: [UInt8])) throws {
    if file.name == HashLogCheckpoint.name {
        var checkpoint = try HashLogCheckpoint.decode(file.bytes, path: file.name)
        checkpoint.lastSequence = SkipList.sequenceMax - 1
        file.bytes = checkpoint.encode()
    } else if case .manifest(let number)? = StoreFile(file.name) {
        var state = try Manifest.load(file.bytes, number: number, path: file.name)
        state.lastSequence = SkipList.sequenceMax - 1
        let disk = SimulatedFileSystem(seed: 1)
        try disk.createDirectory("data")
        _ = try Manifest(creating: number, state: state, directory: "data", fileSystem: disk)
        file.bytes = try disk.readFile("data/" + file.name) ?? []
    }
}

private func crc32c(_ bytes: [UInt8]) -> UInt32 {
    var sum = UInt32.max
    for byte in bytes {
        sum ^= UInt32(byte)
        for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1) * 0x82f6_3b78 }
    }
    return ~sum
}
