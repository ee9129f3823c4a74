// What one host encodes another decodes, and nothing that was damaged on the way is half accepted.
import Raft
import SegmentedLog
import Testing

@testable import Cluster

@Suite struct PeerCodecTests {
    private func frames(_ range: ClosedRange<UInt64>, term: UInt64 = 3) -> FrameBatch {
        var batch = FrameBatch()
        for index in range {
            batch.append(
                kind: .command, index: index, term: term, baseOffset: 0, recordCount: 0,
                payload: Array("payload \(index)".utf8))
        }
        return batch
    }

    private func append() -> Message {
        var message = Message(.append, from: NodeID(1), to: NodeID(2), term: 3)
        message.index = 6
        message.logTerm = 2
        message.commit = 5
        message.context = 9
        return message
    }

    @Test func anAppendCarriesItsFrames() throws {
        var writer = ByteWriter()
        PeerCodec.encode(append(), group: .keyValue, frames: frames(7...9), into: &writer)
        let decoded = try #require(PeerCodec.decode(writer.bytes))
        guard case .raft(let group, let message, let batch) = decoded[0] else {
            Issue.record("not a Raft message")
            return
        }
        var expected = append()
        expected.entries = frames(7...9).headers.map(EntryHeader.init)
        #expect(group == .keyValue)
        #expect(message == expected)
        #expect(batch.bytes == frames(7...9).bytes)
    }

    @Test func everyKindOfMessageSurvives() throws {
        for kind in Message.Kind.allCases {
            var message = append()
            message.kind = kind
            message.reject = true
            message.force = true
            message.rejectHint = 77
            var writer = ByteWriter()
            PeerCodec.encode(message, group: GroupID(rawValue: 40), frames: FrameBatch(), into: &writer)
            guard case .raft(let group, let decoded, _)? = PeerCodec.decode(writer.bytes)?.first else {
                Issue.record("\(kind) is lost")
                continue
            }
            #expect(decoded == message)
            #expect(group.rawValue == 40)
        }
    }

    @Test func forwardedProposalsAndAnswersSurvive() throws {
        let results: [Result<UInt64, RequestError>] = [
            .success(7), .failure(.notLeader(leader: nil)), .failure(.unavailable("a")), .failure(.unknown("b")),
            .failure(.storage("c")), .failure(.invalid(.topicExists, "d")), .failure(.invalid(.offsetOutOfRange, "e")),
        ]
        for result in results {
            var writer = ByteWriter()
            PeerCodec.encode(
                ForwardedProposal(request: 5, group: .keyValue, operations: 2, payload: [1, 2, 3]), into: &writer)
            PeerCodec.encode(ForwardedResult(request: 5, result: result), into: &writer)
            let decoded = try #require(PeerCodec.decode(writer.bytes))
            guard case .forward(let forward) = decoded[0], case .forwardResult(let answer) = decoded[1] else {
                Issue.record("lost")
                continue
            }
            #expect(forward.payload == [1, 2, 3] && forward.operations == 2 && forward.request == 5)
            #expect(answer.result == result)
        }
    }

    @Test func damageIsNeverAccepted() {
        var writer = ByteWriter()
        PeerCodec.encode(append(), group: .keyValue, frames: frames(7...8), into: &writer)
        for cut in 0..<writer.bytes.count where cut > 0 {
            #expect(PeerCodec.decode(Array(writer.bytes[..<cut])) == nil)
        }
        // A flipped bit in the frames is caught by their checksums.
        let start = writer.bytes.count - frames(7...8).byteCount
        for position in start..<writer.bytes.count {
            var bytes = writer.bytes
            bytes[position] ^= 0x10
            #expect(PeerCodec.decode(bytes) == nil, "byte \(position)")
        }
    }
}
