// What a node holds is bounded by what it may open, and its upkeep is bounded too: topics beyond the budget, names at
// the limit, hashes of the whole state.
import Broker
import Cluster
import FileIO
import KeyValue
import Raft
import SimulatedIO
import Synchronization
import Testing

@testable import StrataNode

@Suite struct BudgetSimulationTests {
    private static let second: UInt64 = 1_000_000_000

    /// The digits behind the last `-` are the number, so two partitions never share a file; and every file's name fits.
    @Test func everyLegalTopicHasFilesOfItsOwnWhoseNamesFit() {
        let long = String(repeating: "x", count: BrokerLimits.topicNameBytesMax)
        let names = ["a", "a-1", "x-0", "x", "node", "controller", "keyvalue", "...", String(long.dropLast()), long]
        var keys: Set<String> = ["controller", "keyvalue", "registry"]
        var folders: Set<String> = ["node"]
        var group: UInt64 = 16
        for name in names {
            #expect(BrokerLimits.check(topic: name, partitions: 256) == nil)
            for number in [0, 1, 10, 255] {
                let folder = "\(name)-\(number)"
                let key = GroupOpener.fileKey(of: folder, group: GroupID(rawValue: group))
                group += 1
                #expect(folders.insert(folder).inserted && folder.utf8.count <= 255, "\(folder)")
                #expect(keys.insert(key).inserted && "\(key).members.tmp".utf8.count <= 255, "\(key)")
            }
        }
        // Files of a folder that an older version wrote are found where they were.
        #expect(GroupOpener.fileKey(of: "events-0", group: GroupID(rawValue: 16)) == "events-0")
    }

    @Test func aNameThatIsNoFileNameNeverBecomesATopic() throws {
        let topics = TopicTable()
        let machine = ControllerMachine(topics: topics, founders: [], declared: { _ in }, created: { _ in })
        for name in ["", ".", "..", "a/b", "a\0b", "ä", String(repeating: "x", count: 250)] {
            let command = ControllerCommand.createTopic(name: name, partitions: 1).encoded
            #expect(machine.validate(command) != nil, "\(name)")
        }
        for count in [0, 257, UInt32.max] {
            #expect(machine.validate(ControllerCommand.createTopic(name: "t", partitions: count).encoded) != nil)
        }
        machine.partitionsMax = 10
        #expect(machine.validate(ControllerCommand.createTopic(name: "t", partitions: 10).encoded) == nil)
        guard
            case .invalid(.tooManyPartitions, let why)? = machine.validate(
                ControllerCommand.createTopic(name: "t", partitions: 11).encoded)
        else {
            Issue.record("a topic beyond the budget is refused")
            return
        }
        #expect(why.contains("limit of open files"))
    }

    @Test func hashesAreBoundedAndTheNextIsToldToComeAgain() throws {
        let cluster = try SimulatedCluster(seed: 5, size: 1)
        #expect(cluster.world.run(for: 5 * Self.second, until: { cluster.leader != nil }))
        let node = cluster.nodes[0]
        let hashes = try #require(node.stateHash)
        let answers = Mutex<[Result<GroupStateHash, RequestError>]>([])
        for _ in 0..<20 {
            hashes.stateHash(group: .keyValue, index: nil, from: nil) { result in answers.withLock { $0.append(result) }
            }
        }
        cluster.world.run(for: Self.second)
        let all = answers.withLock { $0 }
        #expect(all.count == 20)
        #expect(all.count { (try? $0.get()) != nil } == NodeStateHash.pendingMax)
        hashes.stop()
        answers.withLock { $0 = [] }
        hashes.stateHash(group: .keyValue, index: nil, from: nil) { result in answers.withLock { $0.append(result) } }
        cluster.world.run(for: Self.second)
        guard case .failure(.unavailable)? = answers.withLock({ $0.first }) else {
            Issue.record("a node that stops gives its hashes up")
            return
        }
    }
}
