// `node/node.json` with a checksum that holds and members that can't belong together: refused, where it was trusted and
// ended the process as soon as a group began with them.
import Cluster
import FileIO
import Foundation
import Raft
import SimulatedIO
import Testing

@testable import Server

@Suite struct NodeIdentityTests {
    private static let path = "data/node/node.json"
    private static let founders = (1...3).map {
        Member(name: "node\($0)", incarnation: "incarnation-\($0)", address: "node\($0):1")
    }

    enum Change: CaseIterable, Sendable { case nothing, memberTwice, founderTwice, numberTwice, numberZero }

    @Test(arguments: Change.allCases) func membersThatCannotBelongTogetherAreRefused(change: Change) throws {
        let disk = SimulatedFileSystem(seed: 1)
        let made = try DataFolder(path: "data", name: "node1", fileSystem: disk)
        try made.adopt(FormedCluster(id: "c", members: Self.founders))
        made.release()
        let bytes = try #require(try disk.readFile(Self.path))
        var identity = try JSONDecoder().decode(NodeIdentity.self, from: Data(bytes))
        switch change {
        case .nothing: break
        case .memberTwice: identity.members?.append(.init(Self.founders[1]))
        case .founderTwice: identity.founders?.append(.init(Self.founders[1]))
        case .numberTwice: identity.members?[2].raftID = Self.founders[0].id.rawValue
        case .numberZero: identity.members?[2].raftID = 0
        }
        identity.checksum = try identity.expectedChecksum()
        try disk.replaceFile(Self.path, with: identity.encoded())
        if change == .nothing {
            let opened = try DataFolder(path: "data", name: nil, fileSystem: disk)
            #expect(opened.identity.cluster?.membership.initial.configuration.voters.count == 3)
            return
        }
        #expect(throws: ServerError.self) { try DataFolder(path: "data", name: nil, fileSystem: disk) }
    }
}
