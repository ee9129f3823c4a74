// A group that can't go on is out of service with a reason; the node and its other groups go on.
import FileIO
import Raft
import SegmentedLog
import Synchronization
import Testing

@testable import Cluster

@Suite struct OutageTests {
    private static let first = GroupID(rawValue: 16)
    private static let second = GroupID(rawValue: 17)

    @Test func aGroupThatCannotApplyIsOutOfServiceAndTheOthersGoOn() throws {
        let node = try LoneHost()
        let broken = ScriptedMachine()
        broken.failures[9] = StateMachineFailure("its files are damaged", scope: .group(passes: false))
        try node.add(Self.first, broken)
        try node.add(Self.second, ScriptedMachine())
        node.host.nameOfGroup = { $0 == Self.first ? "events-0" : $0.description }
        let outages = Mutex<[GroupOutage?]>([])
        node.host.outageObserver = { _, outage in outages.withLock { $0.append(outage) } }
        node.run(turns: 100)
        let good = node.propose([1], to: Self.first)
        node.run()
        #expect(good.result == .success(2))
        let bad = node.propose([9], to: Self.first)
        node.run()
        guard case .unknown? = bad.error else {
            Issue.record("the entry may be applied elsewhere: \(String(describing: bad.result))")
            return
        }
        let late = node.propose([1], to: Self.first)
        let read = Answer<Void>()
        node.inbox.post(.read(Self.first, ReadRequest(completion: read.completion)))
        let other = node.propose([2], to: Self.second)
        node.run()
        #expect(node.host.failure == nil)
        #expect(other.result == .success(2))
        for error in [late.error, read.error] {
            guard case .unavailable(let reason)? = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(reason.contains("events-0") && reason.contains("its files are damaged"), "\(reason)")
        }
        #expect(node.host.allOutages.map(\.group) == [Self.first])
        #expect(outages.withLock { $0.count } == 1)
        #expect(node.inbox.diagnostics.total(of: .groupUnavailable) == 1)
    }

    @Test func aFailureOfTheDiskStillEndsTheNode() throws {
        let node = try LoneHost()
        let broken = ScriptedMachine()
        broken.failures[9] = StateMachineFailure("the disk failed")
        try node.add(Self.first, broken)
        node.run(turns: 100)
        _ = node.propose([9], to: Self.first)
        node.run()
        #expect(node.host.failure?.contains("the disk failed") == true)
    }

    @Test func aFailedLogWriteEndsTheNodeAndOneWithoutADescriptorDoesNot() throws {
        let receipts: [(SegmentedLogError, Bool)] = [
            (disk(.write, .device), true), (disk(.sync, .device), true), (disk(.write, .noSpace), true),
            (disk(.open, .tooManyOpenFiles), false), (SegmentedLogError(.notContiguous, "a gap"), false),
        ]
        for (error, ends) in receipts {
            let node = try LoneHost()
            try node.add(Self.first, ScriptedMachine())
            node.run(turns: 100)
            node.holdsStorage = true
            _ = node.propose([1], to: Self.first)
            node.run(turns: 2)
            let work = try #require(node.submitted.first)
            node.inbox.post(
                .stored(StorageReceipt(group: work.group, sequence: work.sequence, failed: error)), lane: .control)
            node.run(turns: 2)
            #expect((node.host.failure != nil) == ends, "\(error): \(node.host.failure ?? "goes on")")
            #expect(node.host.allOutages.isEmpty == ends, "\(error)")
        }
    }

    private func disk(_ operation: FileIOError.Operation, _ reason: FileIOError.Reason) -> SegmentedLogError {
        SegmentedLogError(
            .disk, "", cause: FileIOError(operation: operation, path: "log", reason: reason, detail: "tried"))
    }

    @Test func whatMayPassIsTriedAgainWithBackOffAndComesBack() throws {
        let node = try LoneHost()
        let attempts = Mutex<[UInt64]>([])
        let clock = Mutex<UInt64>(0)
        func run(seconds: Int) {
            for _ in 0..<(seconds * 100) {
                node.run(turns: 1)
                clock.withLock { $0 = node.now }
            }
        }
        let inbox = node.inbox
        @Sendable func fail() {
            inbox.post(
                .run { host in
                    host.setUnavailable(
                        Self.first, named: "events-0", because: "no descriptor is left",
                        retry: {
                            attempts.withLock { $0.append(clock.withLock { $0 } / 1_000_000_000) }
                            fail()
                        })
                }, lane: .control)
        }
        fail()
        run(seconds: 40)
        let times = attempts.withLock { $0 }
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(gaps == [2, 4, 8, 16], "\(times)")
        #expect(node.host.allOutages.first?.isRetried == true)
        try node.add(Self.first, ScriptedMachine())
        #expect(node.host.allOutages.isEmpty)
        run(seconds: 1)
        let answer = node.propose([1], to: Self.first)
        node.run()
        #expect(answer.result == .success(2))
    }

    /// Two writers of one log would tear it.
    @Test func aGroupIsNotOpenedAgainWhileItsOldLogMayBeWritten() throws {
        let node = try LoneHost()
        let broken = ScriptedMachine()
        broken.failures[9] = StateMachineFailure("no descriptor is left", scope: .group(passes: true))
        try node.add(Self.first, broken)
        let opened = Mutex(0)
        node.host.reopen = { _ in { opened.withLock { $0 += 1 } } }
        node.run(turns: 100)
        _ = node.propose([9], to: Self.first)
        node.run(turns: 1)
        node.holdsStorage = true
        _ = node.propose([1], to: Self.first)
        node.run(turns: 3)
        #expect(!node.host.allOutages.isEmpty)
        let isWriting = !node.submitted.isEmpty
        node.run(turns: 200)
        #expect(opened.withLock { $0 } == (isWriting ? 0 : 1))
        node.releaseStorage()
        node.run(turns: 200)
        #expect(opened.withLock { $0 } == 1)
    }

    @Test func aLeaderHandsOverBeforeItsGroupGoesOut() throws {
        let node = try LoneHost(size: 3)
        try node.add(Self.first, ScriptedMachine())
        let other = node.members[1].id
        for _ in 0..<200 where node.host.group(Self.first)?.core.role != .leader {
            node.run(turns: 1)
            answerVotes(of: node, from: other)
        }
        let group = try #require(node.host.group(Self.first))
        #expect(group.core.role == .leader)
        for _ in 0..<5 {
            node.run(turns: 1)
            answerAppends(of: node, from: other)
        }
        node.inbox.post(.run { $0.setUnavailable(Self.first, because: "tried") }, lane: .control)
        let before = node.sent.count
        node.run(turns: 1)
        let orders = node.sent[before...].flatMap(\.messages).filter { message in
            if case .raft(_, let message, _) = message { return message.kind == .timeoutNow }
            return false
        }
        #expect(orders.count == 1)
    }

    private func answerVotes(of node: LoneHost, from peer: NodeID) {
        for case .raft(let id, let message, _) in node.sent.flatMap(\.messages)
        where message.to == peer && (message.kind == .vote || message.kind == .preVote) {
            let kind: Message.Kind = message.kind == .vote ? .voteResponse : .preVoteResponse
            post(Message(kind, from: peer, to: message.from, term: message.term), id, to: node)
        }
    }

    private func answerAppends(of node: LoneHost, from peer: NodeID) {
        for case .raft(let id, let message, _) in node.sent.flatMap(\.messages)
        where message.to == peer && message.kind == .append {
            var answer = Message(.appendResponse, from: peer, to: message.from, term: message.term)
            answer.index = message.entries.last?.index ?? message.index
            post(answer, id, to: node)
        }
    }

    private func post(_ message: Message, _ id: GroupID, to node: LoneHost) {
        var writer = ByteWriter()
        PeerCodec.encode(message, group: id, frames: FrameBatch(), into: &writer)
        node.inbox.post(.received(from: message.from, messages: writer.bytes), lane: .control)
    }
}
