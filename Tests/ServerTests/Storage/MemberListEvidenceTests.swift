// A list of a group's members that is damaged, missing or newer than its log is found by `storage verify`, not at the
// next start.
import ArgumentParser
import Cluster
import FileIO
import Foundation
import PosixIO
import Raft
import SegmentedLog
import StrataNode
import TestSupport
import Testing

@testable import Server

@Suite struct MemberListEvidenceTests {
    private let folder: TemporaryFolder
    private let disk = PosixFileSystem()
    private var members: MembershipFile {
        MembershipFile(path: folder.path + "/node/raft/controller.members", fileSystem: disk)
    }

    init() throws {
        folder = try TemporaryFolder()
        try DataFolder(path: folder.path, name: "n1", fileSystem: disk).release()
        for name in ["raft", "controller"] {
            try FileManager.default.createDirectory(
                atPath: folder.path + "/node/" + name, withIntermediateDirectories: true)
        }
        let log = try SegmentedLog.open(
            directory: folder.path + "/node/controller", fileSystem: disk, options: SegmentedLog.Options(), floor: nil)
        #expect(log.lastIndex == 0)
        try HardStateFile.replace(
            path: folder.path + "/node/raft/controller.state", with: HardStateRecord(term: 1), fileSystem: disk)
    }

    private func contradictions() throws -> [String] {
        let logs = try SegmentedLog.verifyAll(below: folder.path, fileSystem: disk)
        return try EvidenceCheck.contradictions(in: folder.path, logs: logs, fileSystem: disk)
    }

    private func verify() throws { try StorageVerifyCommand.parse([folder.path]).run() }

    @Test func aWholeListIsGood() throws {
        try members.store(
            index: 0, membership: GroupMembership(configuration: Configuration(voters: [NodeID(1)]), version: 0))
        #expect(try contradictions().isEmpty)
        try verify()
    }

    @Test func aMissingListIsSaid() throws {
        let found = try contradictions()
        #expect(found.count == 1 && found[0].contains("list of its members is missing"))
        #expect(throws: CommandError.self) { try verify() }
    }

    @Test func aDamagedListIsSaid() throws {
        try members.store(
            index: 0, membership: GroupMembership(configuration: Configuration(voters: [NodeID(1)]), version: 0))
        var bytes = try Data(contentsOf: URL(fileURLWithPath: members.path))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: members.path))
        let found = try contradictions()
        #expect(found.count == 1 && found[0].contains("controller.members"))
        #expect(throws: CommandError.self) { try verify() }
    }

    @Test func aListThatIsAheadOfItsLogIsSaid() throws {
        try members.store(
            index: 7, membership: GroupMembership(configuration: Configuration(voters: [NodeID(1)]), version: 0))
        let found = try contradictions()
        #expect(
            found.count == 1 && found[0].contains("the members are known as of entry 7, yet the log ends at entry 0"))
        #expect(throws: CommandError.self) { try verify() }
    }
}
