// Batches that hold frames by reference say the same on the wire as those that copy them; a turn takes in a bounded
// part of what waits.
import Raft
import SegmentedLog
import Testing

@testable import Cluster

@Suite struct PeerBatchTests {
    private static func frames(from index: UInt64, payloadBytes: Int) -> FrameBatch {
        var frames = FrameBatch()
        frames.append(
            kind: .command, index: index, term: 1, baseOffset: 0, recordCount: 0,
            payload: [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: payloadBytes))
        return frames
    }

    @Test func theWireIsTheSame() throws {
        var batch = PeerBatchWriter()
        var writer = ByteWriter()
        for (number, bytes) in [0, 100, 4095, 4096, 100_000, 10].enumerated() {
            let index = UInt64(number) + 1
            let frames = bytes == 0 ? FrameBatch() : Self.frames(from: index, payloadBytes: bytes)
            var message = Message(.append, from: NodeID(1), to: NodeID(2), term: 1)
            message.index = index - 1
            message.logTerm = index == 1 ? 0 : 1
            batch.add(message, of: GroupID(rawValue: 16), frames: frames)
            PeerCodec.encode(message, group: GroupID(rawValue: 16), frames: frames, into: &writer)
        }
        #expect(batch.byteCount == writer.bytes.count)
        let taken = batch.take()
        #expect(taken.joined == writer.bytes && taken.byteCount == writer.bytes.count)
        #expect(batch.isEmpty && taken.pieces.count > 3)
        #expect(PeerCodec.decode(taken.joined)?.count == 6)
    }

    @Test func aTurnTakesInABoundedPartInOrder() {
        let inbox = HostInbox {}
        let half = HostInbox.turnBytesMax / 2
        for number in 0..<5 {
            inbox.post(
                .propose(
                    GroupID(rawValue: UInt64(number)), Proposal(payload: .init(repeating: 0, count: half)) { _ in }))
        }
        inbox.post(.disconnected(NodeID(1)), lane: .control)
        func groups(_ events: [HostEvent]) -> [UInt64] {
            events.compactMap { if case .propose(let id, _) = $0 { id.rawValue } else { nil } }
        }
        let first = inbox.take()
        #expect(first.control.count == 1 && groups(first.bulk) == [0, 1] && !first.isAll)
        #expect(!inbox.prepareToSleep())
        let second = inbox.take()
        #expect(second.control.isEmpty && groups(second.bulk) == [2, 3] && !second.isAll)
        let last = inbox.take()
        #expect(groups(last.bulk) == [4] && last.isAll)
        #expect(inbox.prepareToSleep())
    }
}
