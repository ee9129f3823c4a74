// What peers say, as golden bytes: every kind of message, entry and command, for the targets to damage; and frames that
// are built wrong on purpose behind good checksums, which no honest node makes.
import Broker
import Raft
import SegmentedLog

@testable import Cluster
@testable import KeyValue
@testable import Storage

enum PeerCorpus {
    static let founders = (1...3).map {
        Member(name: "node\($0)", incarnation: "incarnation-\($0)", address: "node\($0):1")
    }
    static let membership = GroupMembership(
        configuration: Configuration(voters: founders.map(\.id), learners: [NodeID(77)]), version: 3)

    static let changes: [[UInt8]] = [
        ConfigurationCodec.encode(VersionedChange(ConfigurationChange([.init(.addLearner, NodeID(9))]), version: 5)),
        ConfigurationCodec.encode(
            VersionedChange(
                ConfigurationChange([.init(.addVoter, NodeID(9)), .init(.remove, founders[2].id)]), version: 6)),
        [],
    ]

    static let controllerCommands: [[UInt8]] = [
        ControllerCommand.createTopic(name: "events", partitions: 2).encoded,
        ControllerCommand.createTopic(name: "a.b_c-9", partitions: 1).encoded,
        MembershipCommand.add(.joining(name: "node4", incarnation: "i", address: "node4:1"), .learner).encoded,
        MembershipCommand.remove(name: "node3").encoded, MembershipCommand.setRole(name: "node2", .learner).encoded,
    ]

    static let keyValueCommands: [[UInt8]] = {
        var batch = WriteBatch()
        try? batch.put(key: Array("key".utf8), value: Array("41".utf8))
        try? batch.delete(key: Array("other".utf8))
        var range = WriteBatch()
        try? range.deleteRange(from: [1], to: [9])
        let session = WriteSequence(client: 1, sequence: 2, acknowledged: 1)
        return [
            batch.bytes, range.bytes, WriteBatch().bytes,
            CommandList.encode([
                KeyValueCommand(action: .openSession), KeyValueCommand(action: .write(batch), session: session),
                KeyValueCommand(action: .increment(key: Array("key".utf8), by: 1), session: session),
            ]),
            CommandList.encode([
                KeyValueCommand(action: .increment(key: [7], by: .min)),
                KeyValueCommand(action: .closeSession(client: 1)),
                KeyValueCommand(action: .write(batch)),
                KeyValueCommand(action: .deleteCounting(keys: [Array("key".utf8), [7]])),
            ]),
        ]
    }()

    static let manifest = SnapshotManifest(
        format: "lsm", checkpoint: 5, point: SnapshotPoint(index: 70, term: 3), membership: membership,
        files: [
            .init(name: "000001.sst", byteCount: 10, checksum: 0xe306_9283),
            .init(name: "CURRENT", byteCount: 0, checksum: 0),
        ])

    static let snapshotContents: [SnapshotMessage.Content] = [
        .offer(term: 3, manifest), .want([WantedFile(file: 0, offset: 4), WantedFile(file: 1, offset: 0)]),
        .chunk(SnapshotChunk(file: 0, offset: 0, checksum: 0xe306_9283, bytes: .slice(Array("123456789".utf8)[...]))),
        .received(9), .finished(index: 70, reason: "done"),
    ]

    static func encoded(_ content: SnapshotMessage.Content, group: GroupID, transfer: UInt64) -> [UInt8] {
        var writer = ByteWriter()
        PeerCodec.encode(SnapshotMessage(group: group, transfer: transfer, content: content), into: &writer)
        return writer.bytes
    }

    static let results: [Result<UInt64, RequestError>] = [
        .success(7), .failure(.notLeader(leader: nil)), .failure(.unknown("b")), .failure(.invalid(.topicExists, "d")),
    ]

    /// One batch of each kind of message.
    static let batches: [[UInt8]] = {
        var batches = snapshotContents.map { encoded($0, group: .keyValue, transfer: 9) }
        for kind in Message.Kind.allCases {
            var writer = ByteWriter()
            var message = Message(kind, from: founders[1].id, to: founders[0].id, term: 3)
            (message.index, message.logTerm, message.commit, message.context) = (6, 2, 5, 9)
            var frames = FrameBatch()
            if kind == .append {
                for index in UInt64(7)...9 {
                    frames.append(
                        kind: .command, index: index, term: 3, baseOffset: 0, recordCount: 0,
                        payload: keyValueCommands[Int(index) % keyValueCommands.count])
                }
                frames.append(
                    kind: .membership, index: 10, term: 3, baseOffset: 0, recordCount: 0, payload: changes[0])
            }
            PeerCodec.encode(message, group: .keyValue, frames: frames, into: &writer)
            PeerCodec.encodeBeat(into: &writer)
            batches.append(writer.bytes)
        }
        for result in results {
            var writer = ByteWriter()
            PeerCodec.encode(ForwardedResult(request: 5, result: result), into: &writer)
            PeerCodec.encode(
                ForwardedProposal(request: 5, group: .keyValue, operations: 1, payload: keyValueCommands[0]),
                into: &writer)
            PeerCodec.encode(TransferRequest(group: .controller, target: founders[1].id), into: &writer)
            batches.append(writer.bytes)
        }
        return batches
    }()
}

extension Mutator {
    /// A number that is near `value` or nowhere near anything.
    mutating func number(near value: UInt64) -> UInt64 {
        switch below(12) {
        case 0: .max - UInt64(below(3))
        case 1: 1 << UInt64(below(64))
        case 2: next()
        case 3: (1 << 62) - UInt64(below(3)) &+ 1
        case 4: 0
        case 5: value &+ UInt64(below(5))
        case 6: value &- UInt64(below(5))
        default: value
        }
    }
}
