// Two writes of one connection on their way through a follower while the leader changes: when both are answered as
// done, the first one was carried out first.
import Raft
import SegmentedLog
import Testing

@testable import Cluster

@Suite struct ForwardOrderTests {
    private static let group = GroupID(rawValue: 16)

    /// A follower of a cluster of three, and what the test says in the name of the others.
    private struct Follower {
        let node: LoneHost

        init() throws {
            node = try LoneHost(size: 3)
            try node.add(ForwardOrderTests.group, ScriptedMachine())
        }

        /// The other member with this number (1 or 2) leads.
        func lead(_ other: Int, term: Term) {
            let leader = node.members[other]
            var writer = ByteWriter()
            PeerCodec.encode(
                Message(.heartbeat, from: leader.id, to: node.members[0].id, term: term),
                group: ForwardOrderTests.group, frames: FrameBatch(), into: &writer)
            post(writer, from: other)
        }

        func answer(_ request: UInt64, from other: Int, _ result: Result<UInt64, RequestError>) {
            var writer = ByteWriter()
            PeerCodec.encode(ForwardedResult(request: request, result: result), into: &writer)
            post(writer, from: other)
        }

        private func post(_ writer: ByteWriter, from other: Int) {
            node.inbox.post(.received(from: node.members[other].id, messages: writer.bytes), lane: .control)
            node.run(turns: 1)
        }

        /// What was forwarded so far: to whom, under which request number, and the first byte of the command.
        var forwarded: [(to: NodeID, request: UInt64, command: UInt8)] {
            node.sent.flatMap { batch in
                batch.messages.compactMap { message in
                    guard case .forward(let forward) = message else { return nil }
                    return (batch.peer, forward.request, forward.payload[0])
                }
            }
        }

        func write(_ command: UInt8) -> Answer<UInt64> {
            let answer = node.propose([command], to: ForwardOrderTests.group)
            node.run(turns: 1)
            return answer
        }
    }

    /// The old leader sends the first write back when the second could already go to the new one.
    @Test func aWriteDoesNotOvertakeOneThatComesBackFromTheOldLeader() throws {
        let follower = try Follower()
        follower.lead(1, term: 1)
        _ = follower.write(1)
        #expect(follower.forwarded.map(\.command) == [1])
        follower.lead(2, term: 2)
        _ = follower.write(2)
        #expect(follower.forwarded.map(\.command) == [1], "the second write has to wait for the first one's answer")
        follower.answer(follower.forwarded[0].request, from: 1, .failure(.notLeader(leader: nil)))
        follower.node.run(turns: 2)
        #expect(follower.forwarded.map(\.command) == [1, 1, 2])
        #expect(follower.forwarded.dropFirst().allSatisfy { $0.to == follower.node.members[2].id })
    }

    /// One node refuses the first write, then leads and takes the second one.
    @Test func aWriteThatWasOvertakenFails() throws {
        let follower = try Follower()
        follower.lead(1, term: 1)
        let (first, second) = (follower.write(1), follower.write(2))
        let sent = follower.forwarded
        #expect(sent.map(\.command) == [1, 2])
        follower.answer(sent[0].request, from: 1, .failure(.notLeader(leader: nil)))
        follower.answer(sent[1].request, from: 1, .success(7))
        follower.node.run(turns: 2)
        #expect(second.result == .success(7))
        guard case .unavailable? = first.error else {
            Issue.record("the first write must fail as not written, is \(String(describing: first.result))")
            return
        }
        #expect(follower.forwarded.count == 2)
    }

    /// What waited for a leader goes before what came when there was one.
    @Test func aWriteDoesNotOvertakeOneThatWaitsForALeader() throws {
        let follower = try Follower()
        _ = follower.write(1)
        let leader = follower.node.members[1]
        var writer = ByteWriter()
        PeerCodec.encode(
            Message(.heartbeat, from: leader.id, to: follower.node.members[0].id, term: 1), group: Self.group,
            frames: FrameBatch(), into: &writer)
        follower.node.inbox.post(.received(from: leader.id, messages: writer.bytes), lane: .control)
        _ = follower.write(2)
        follower.node.run(turns: 2)
        #expect(follower.forwarded.map(\.command) == [1, 2])
    }

    /// Answers that never come hold nobody back for longer than the old leader's grace.
    @Test func aSilentOldLeaderHoldsWritesBackOnlyForAMoment() throws {
        let follower = try Follower()
        follower.lead(1, term: 1)
        let first = follower.write(1)
        follower.lead(2, term: 2)
        _ = follower.write(2)
        follower.node.run(turns: 20)
        guard case .unknown? = first.error else {
            Issue.record("\(String(describing: first.result))")
            return
        }
        #expect(follower.forwarded.map(\.command) == [1, 2])
    }

    /// The connection to the leader comes into being between two writes.
    @Test func aWriteDoesNotOvertakeOneThatWaitsForAConnection() throws {
        let follower = try Follower()
        follower.lead(1, term: 1)
        follower.node.reaches = { false }
        _ = follower.write(1)
        // What waits goes on with the next tick or with the event of the connection; this write comes before both.
        follower.node.reaches = { true }
        _ = follower.node.propose([2], to: Self.group)
        follower.node.poll()
        follower.node.run(turns: 2)
        #expect(follower.forwarded.map(\.command) == [1, 2])
    }

    /// The same between two writes of one turn.
    @Test func aWriteDoesNotOvertakeItsNeighbourThatCouldNotBeSent() throws {
        let follower = try Follower()
        follower.lead(1, term: 1)
        var asked = 0
        follower.node.reaches = {
            asked += 1
            return asked > 1
        }
        for command in [1, 2, 3] as [UInt8] { _ = follower.node.propose([command], to: Self.group) }
        follower.node.run(turns: 3)
        #expect(follower.forwarded.map(\.command) == [1, 2, 3])
    }
}
