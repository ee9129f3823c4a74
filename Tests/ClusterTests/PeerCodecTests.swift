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

    // MARK: what no honest peer sends

    /// Encodes a message with frames whatever its fields say.
    private func decoded(_ message: Message, _ frames: FrameBatch) -> [PeerMessage]? {
        var writer = ByteWriter()
        PeerCodec.encode(message, group: .keyValue, frames: frames, into: &writer)
        return PeerCodec.decode(writer.bytes)
    }

    /// One valid frame behind index 2^64-1 trapped in `index + 1`.
    @Test func anAppendBehindTheLargestIndexIsRefused() {
        var message = append()
        message.index = .max
        #expect(decoded(message, frames(7...7)) == nil)
        // The frame that would follow it, were there no overflow.
        #expect(decoded(message, frames(1...1)) == nil)
    }

    @Test(arguments: [PeerCodecLimits.positionMax + 1, 1 << 63, .max - 1, .max], Message.Kind.allCases)
    func positionsThatNoLogReachesAreRefused(value: UInt64, kind: Message.Kind) {
        let fields: [(String, WritableKeyPath<Message, UInt64>)] = [
            ("term", \.term), ("index", \.index), ("log term", \.logTerm), ("commit", \.commit), ("hint", \.rejectHint),
        ]
        for (name, field) in fields {
            var message = append()
            message.kind = kind
            message[keyPath: field] = value
            #expect(decoded(message, FrameBatch()) == nil, "\(name)")
        }
    }

    @Test func entriesOfTermsThatTheirLeaderCannotHaveAreRefused() {
        #expect(decoded(append(), frames(7...8, term: 3)) != nil)
        #expect(decoded(append(), frames(7...8, term: 4)) == nil, "newer than the leader")
        #expect(decoded(append(), frames(7...8, term: 1)) == nil, "older than the entry before")
    }

    @Test func anUnreadableChangeOfTheMembersIsRefused() {
        var batch = FrameBatch()
        batch.append(kind: .membership, index: 7, term: 3, baseOffset: 0, recordCount: 0, payload: [9, 9, 9])
        #expect(decoded(append(), batch) == nil)
        var leave = FrameBatch()
        leave.append(kind: .membership, index: 7, term: 3, baseOffset: 0, recordCount: 0, payload: [])
        #expect(decoded(append(), leave) != nil)
    }

    @Test func aForwardedProposalIsBounded() {
        for (count, isAccepted) in [
            (PeerCodecLimits.proposalBytesMax, true), (PeerCodecLimits.proposalBytesMax + 1, false),
        ] {
            var writer = ByteWriter()
            PeerCodec.encode(
                ForwardedProposal(
                    request: 1, group: .keyValue, operations: 1, payload: [UInt8](repeating: 0, count: count)),
                into: &writer)
            #expect((PeerCodec.decode(writer.bytes) != nil) == isAccepted)
        }
    }

    /// Five bytes each on the wire, thirty times as many in memory.
    @Test func aBatchHoldsABoundedNumberOfMessages() {
        var writer = ByteWriter()
        for _ in 0..<PeerCodecLimits.messagesMax { PeerCodec.encodeBeat(into: &writer) }
        #expect(PeerCodec.decode(writer.bytes)?.count == PeerCodecLimits.messagesMax)
        PeerCodec.encodeBeat(into: &writer)
        #expect(PeerCodec.decode(writer.bytes) == nil)
    }

    /// The newer version's answer is no reason to drop everything else in its batch.
    @Test func anAnswerOfANewerVersionIsUnknown() throws {
        for code: UInt8 in [5, 15, 200, 255] {
            var writer = ByteWriter()
            let start = writer.reserveLength()
            writer.write(UInt8(3))
            writer.write(UInt64(5))
            writer.write(code)
            writer.bytes.append(contentsOf: Array("new".utf8))
            writer.fillLength(from: start)
            guard case .forwardResult(let answer)? = PeerCodec.decode(writer.bytes)?.first else {
                Issue.record("code \(code) is lost")
                continue
            }
            #expect(answer.result == .failure(.unknown("new")))
        }
    }

    @Test func aLengthBeyondTheBatchReservesNothing() {
        #expect(PeerCodec.decode([0xff, 0xff, 0xff, 0xff, 1]) == nil)
        #expect(PeerCodec.decode([0xff, 0xff, 0xff]) == nil)
    }
}
