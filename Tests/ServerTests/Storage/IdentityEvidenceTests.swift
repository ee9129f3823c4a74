// What `storage repair` and `storage verify` make of a data folder whose identity or registry is gone: nothing is
// guessed. A node of three whose node.json is missing must not pass for a lone one.
import ArgumentParser
import Foundation
import PosixIO
import TestSupport
import Testing

@testable import Server

@Suite struct IdentityEvidenceTests {
    private let folder: TemporaryFolder
    private let disk = PosixFileSystem()
    private var identityPath: String { folder.path + "/node/node.json" }

    init() throws {
        folder = try TemporaryFolder()
        let data = try DataFolder(path: folder.path, name: "n1", fileSystem: disk)
        try data.noteRegistry()
        data.release()
        try FileManager.default.createDirectory(
            atPath: folder.path + "/node/raft", withIntermediateDirectories: true)
        try Data("[]".utf8).write(to: URL(fileURLWithPath: folder.path + "/node/raft/registry"))
    }

    @Test func aLoneNodeHasOneVoter() throws {
        #expect(try DataFolder.storedVoters(in: folder.path, fileSystem: disk) == 1)
        #expect(try DataFolder.doubts(in: folder.path, fileSystem: disk).isEmpty)
    }

    @Test func aMissingIdentityIsNotALoneNode() throws {
        try FileManager.default.removeItem(atPath: identityPath)
        #expect(throws: ServerError.self) { try DataFolder.storedVoters(in: folder.path, fileSystem: disk) }
        let doubts = try DataFolder.doubts(in: folder.path, fileSystem: disk)
        #expect(doubts.count == 1 && doubts[0].contains("node/node.json is missing"))
    }

    @Test func repairRefusesAMissingIdentity() throws {
        try FileManager.default.removeItem(atPath: identityPath)
        let command = try StorageRepairCommand.parse(["--accept-loss", "tt-0", "--data", folder.path])
        let error = #expect(throws: CommandError.self) { try command.run() }
        #expect(error.map { "\($0)" }?.contains("node/node.json is missing") == true)
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/tt-0"))
    }

    @Test func aChangedIdentityIsNotBelieved() throws {
        let text = try String(contentsOfFile: identityPath, encoding: .utf8)
        let changed = text.replacingOccurrences(of: "\"n1\"", with: "\"n2\"")
        #expect(changed != text)
        try changed.write(toFile: identityPath, atomically: true, encoding: .utf8)
        #expect(throws: ServerError.self) { try DataFolder.storedVoters(in: folder.path, fileSystem: disk) }
        let doubts = try DataFolder.doubts(in: folder.path, fileSystem: disk)
        #expect(doubts.count == 1 && doubts[0].contains("node/node.json is damaged"))
    }

    @Test func aMissingRegistryIsSaid() throws {
        try FileManager.default.removeItem(atPath: folder.path + "/node/raft/registry")
        let doubts = try DataFolder.doubts(in: folder.path, fileSystem: disk)
        #expect(doubts.count == 1 && doubts[0].contains("node/raft/registry is missing"))
    }

    @Test func aFolderThatIsNoNodesRaisesNoDoubt() throws {
        let other = try TemporaryFolder()
        #expect(try DataFolder.doubts(in: other.path, fileSystem: disk).isEmpty)
    }
}
