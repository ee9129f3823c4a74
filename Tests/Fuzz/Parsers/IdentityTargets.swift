// The small files that say who a node is and what it holds: the registry of groups, the state file with commit index
// and floor, a log held against a floor, node.json.
import Cluster
import FileIO
import Foundation
import SegmentedLog
import SimulatedIO
import StrataNode

@testable import Server

func identityTargets(_ corpus: Corpus) throws -> [FuzzTarget] {
    let log = try corpus.load("SegmentedLog").filter { $0.name.hasSuffix(".log") || $0.name.hasSuffix(".index") }
    return [
        FuzzTarget(name: "registry") { mutator in
            let system = SimulatedFileSystem(seed: 1)
            try system.createDirectory("data/node/raft")
            let made = try GroupRegistry.open(directory: "data", mustExist: false, fileSystem: system)
            try made.note(["controller", "keyvalue"] + (0..<mutator.below(5)).map { "events-\($0)" })
            let path = "data/node/raft/registry"
            var bytes = try system.readFile(path) ?? []
            sealedTail(&bytes, &mutator)
            try system.replaceFile(path, with: bytes)
            let registry = try GroupRegistry.open(directory: "data", mustExist: true, fileSystem: system)
            try registry.note(["another"])
            let again = try GroupRegistry.open(directory: "data", mustExist: true, fileSystem: system)
            precondition(again.names == registry.names && again.contains("another"), "a registry that is not kept")
        },
        FuzzTarget(name: "state-v2") { mutator in
            let system = SimulatedFileSystem(seed: 1)
            try system.createDirectory("data")
            let made = try HardStateFile.open(path: "data/group.state", fileSystem: system)
            let floor = LogFloor(index: 9, term: 2, head: 4)
            try made.store(HardStateRecord(term: 3, vote: 7, commit: 8, isRecovering: true, floor: floor))
            try made.store(HardStateRecord(term: 4, vote: 7, commit: 9, floor: floor))
            var bytes = try system.readFile("data/group.state") ?? []
            damageState(&bytes, &mutator)
            try system.replaceFile("data/group.state", with: bytes)
            _ = HardStateFile.keepsFloor(path: "data/group.state", fileSystem: system)
            let state = try HardStateFile.open(path: "data/group.state", fileSystem: system)
            let record = state.record
            try state.settle(record)
            let again = try HardStateFile.open(path: "data/group.state", fileSystem: system)
            precondition(again.record == record, "a record that is not kept")
        },
        FuzzTarget(name: "log-floor") { mutator in
            var options = SegmentedLog.Options()
            options.segmentBytes = 1000
            options.indexIntervalBytes = 200
            let end = try SegmentedLog.open(directory: "data", fileSystem: try disk(log), options: options)
            var floor = LogFloor(index: end.lastIndex, term: end.lastTerm, head: 0)
            if mutator.chance(3, in: 4) {
                floor.index = mutator.number(near: mutator.chance(1, in: 2) ? end.lastIndex : 3)
                floor.term = mutator.number(near: floor.term)
                floor.head = mutator.chance(1, in: 2) ? 0 : mutator.number(near: end.firstIndex &- 1)
            }
            var files = log
            if mutator.chance(1, in: 3) { files.remove(at: mutator.below(files.count)) }
            if mutator.chance(1, in: 3), !files.isEmpty {
                let place = mutator.below(files.count)
                files[place].bytes.removeLast(mutator.below(files[place].bytes.count + 1))
            }
            let opened = try SegmentedLog.open(
                directory: "data", fileSystem: try disk(files), options: options, floor: floor)
            _ = opened.durableEnd
        },
        FuzzTarget(name: "node-json") { mutator in
            let system = SimulatedFileSystem(seed: 1)
            let folder = try DataFolder(path: "data", name: "node1", fileSystem: system)
            try folder.adopt(FormedCluster(id: "fuzz", members: PeerCorpus.founders))
            folder.release()
            let path = "data/node/node.json"
            var bytes = try system.readFile(path) ?? []
            if mutator.chance(3, in: 4) { mutator.reshape(&bytes, donor: bytes) }
            try system.replaceFile(path, with: sealedIdentity(bytes))
            let opened = try DataFolder(path: "data", name: nil, fileSystem: system)
            defer { opened.release() }
            _ = opened.member(address: ":1", isJoining: mutator.chance(1, in: 2))
            _ = try DataFolder.storedVoters(in: "data", fileSystem: system)
            _ = opened.identity.cluster?.membership.initial
        },
    ]
}

/// Damages the middle and makes the checksum at the end right, most of the time.
private func sealedTail(_ bytes: inout [UInt8], _ mutator: inout Mutator) {
    guard mutator.chance(4, in: 5), bytes.count > 12 else { return mutator.reshape(&bytes, donor: bytes) }
    bytes.removeLast(4)
    if mutator.chance(1, in: 2) {
        // A byte of a name, not of a length, most of the time.
        bytes[bytes.count - 1 - mutator.below(min(8, bytes.count))] = UInt8(truncatingIfNeeded: mutator.next())
    } else {
        mutator.reshape(&bytes, donor: bytes)
    }
    let sum = crc(bytes[...])
    bytes += withUnsafeBytes(of: sum.littleEndian) { Array($0) }
}

/// Damages the fields of one or both slots and makes their checksums right, most of the time.
private func damageState(_ bytes: inout [UInt8], _ mutator: inout Mutator) {
    guard bytes.count == 1024, mutator.chance(4, in: 5) else { return mutator.reshape(&bytes, donor: bytes) }
    for start in [0, 512] where mutator.chance(2, in: 3) {
        mutator.damage(&bytes, in: start + (mutator.chance(1, in: 4) ? 0 : 8)..<start + 68)
        if mutator.chance(7, in: 8) { bytes.put(crc(bytes[start..<start + 68]), at: start + 68) }
    }
}

/// Gives a node.json that can still be read the checksum that it should have.
private func sealedIdentity(_ bytes: [UInt8]) -> [UInt8] {
    guard var identity = try? JSONDecoder().decode(NodeIdentity.self, from: Data(bytes)) else { return bytes }
    identity.checksum = try? identity.expectedChecksum()
    return (try? identity.encoded()) ?? bytes
}
