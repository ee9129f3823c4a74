// One heartbeat takes the place of the one before it that waits (issue 15, 7.1); everything else stays, in order.
import Raft
import SegmentedLog
import Testing

@testable import Cluster
@testable import Server

@Suite struct WaitingBatchesTests {
    private static func batch(_ kinds: [(Message.Kind, UInt64)], context: UInt64 = 0) -> [UInt8] {
        var writer = ByteWriter()
        for (kind, group) in kinds {
            var message = Message(kind, from: NodeID(1), to: NodeID(2), term: 1)
            message.context = context
            PeerCodec.encode(message, group: GroupID(rawValue: group), frames: FrameBatch(), into: &writer)
        }
        return writer.bytes
    }

    private static var beat: [UInt8] {
        var writer = ByteWriter()
        PeerCodec.encodeBeat(into: &writer)
        return writer.bytes
    }

    private static func queue(_ batches: [[UInt8]], lane: PeerLane = .control) -> [[UInt8]] {
        var waiting = WaitingBatches(lane)
        for batch in batches {
            let isQueued = waiting.push(PeerBatch(batch))
            #expect(isQueued)
        }
        let bytes = waiting.bytes
        let taken = waiting.take(batchBytesMax: 1)
        #expect(bytes == taken.reduce(0) { $0 + $1.count } && waiting.bytes == 0)
        return taken
    }

    @Test(arguments: [Message.Kind.heartbeat, .heartbeatResponse])
    func theNewestHeartbeatStandsForThoseBefore(kind: Message.Kind) {
        let beats = (1...200).map { Self.batch([(kind, 1), (kind, 2)], context: $0) }
        #expect(Self.queue(beats) == [beats[199]])
        #expect(Self.queue(Array(repeating: Self.beat, count: 200)) == [Self.beat])
    }

    @Test func heartbeatsOfOtherGroupsAndOtherMessagesStay() {
        let one = Self.batch([(.heartbeat, 1)])
        let two = Self.batch([(.heartbeat, 2)])
        let answer = Self.batch([(.heartbeatResponse, 1)])
        let vote = Self.batch([(.vote, 1)])
        let mixed = Self.batch([(.heartbeat, 1), (.appendResponse, 1)])
        let all = [one, two, answer, vote, mixed]
        #expect(Self.queue(all) == all)
        let both = Self.batch([(.heartbeat, 2), (.heartbeat, 1)], context: 7)
        #expect(Self.queue(all + [both]) == [answer, vote, mixed, both])
    }

    @Test func otherLanesAreNotRead() {
        let one = Self.batch([(.heartbeat, 1)])
        #expect(Self.queue([one, one], lane: .bulk) == [one, one])
    }

    @Test func heartbeatsToAPeerThatTakesNothingAreNeverDropped() {
        let one = Self.batch([(.heartbeat, 1)])
        var waiting = WaitingBatches(bytesMax: one.count, replacesHeartbeats: true)
        for _ in 0..<100 {
            let isQueued = waiting.push(PeerBatch(one))
            #expect(isQueued)
        }
        #expect(waiting.dropped == 0 && waiting.count == 1)
        let isQueued = waiting.push(PeerBatch(Self.batch([(.vote, 1)])))
        #expect(!isQueued && waiting.dropped == 1)
    }

    @Test func theQueueOfAStreamKeepsOneToo() {
        let queue = LaneQueue(.control)
        for context in 1...100 { queue.push(PeerBatch(Self.batch([(.heartbeat, 1)], context: UInt64(context)))) }
        #expect(queue.take(batchBytesMax: 1) == [Self.batch([(.heartbeat, 1)], context: 100)])
    }
}
