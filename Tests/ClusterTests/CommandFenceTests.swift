// What may be proposed: nothing that a replica could not read, wherever it came from, and nothing that an older member
// could not read.
import Raft
import SegmentedLog
import Synchronization
import Testing

@testable import Cluster

@Suite struct CommandFenceTests {
    private static let group = GroupID(rawValue: 16)

    private final class Strict: StateMachine {
        var frameKind: FrameKind { .command }
        var appliedAtStart: LogIndex { 0 }
        private(set) var applied: [[UInt8]] = []
        func validate(_ payload: [UInt8]) -> RequestError? {
            payload.first == 9 ? .invalid(.corruptBatch, "nobody can read it") : nil
        }
        func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError> {
            applied.append(Array(entry.payload))
            return .success(entry.index)
        }
    }

    @Test func aCommandThatNobodyCanReadIsRefusedFromClientsAndFromPeers() throws {
        let node = try LoneHost()
        let machine = Strict()
        try node.add(Self.group, machine)
        node.run(turns: 100)
        let answers = [
            node.propose([1], to: Self.group), node.propose([9], to: Self.group), node.propose([2], to: Self.group),
        ]
        node.run()
        #expect(answers[1].error == .invalid(.corruptBatch, "nobody can read it"))
        guard case .success? = answers[0].result, case .success? = answers[2].result else {
            Issue.record("its neighbours must not suffer")
            return
        }
        let peer = NodeID(77)
        var writer = ByteWriter()
        PeerCodec.encode(
            ForwardedProposal(request: 5, group: Self.group, operations: 1, payload: [9, 9]), into: &writer)
        node.inbox.post(.received(from: peer, messages: writer.bytes), lane: .control)
        node.run()
        let results = node.sent.filter { $0.peer == peer }.flatMap(\.messages)
        guard case .forwardResult(let result)? = results.first else {
            Issue.record("\(results)")
            return
        }
        #expect(result.result == .failure(.invalid(.corruptBatch, "nobody can read it")))
        #expect(machine.applied == [[1], [2]])
    }

    @Test func aCommandLargerThanAFrameIsRefused() throws {
        let node = try LoneHost()
        try node.add(Self.group, ScriptedMachine())
        node.run(turns: 100)
        let answer = node.propose([UInt8](repeating: 1, count: Group.commandBytesMax + 1), to: Self.group)
        node.run()
        guard case .invalid(.valueTooLong, _)? = answer.error else {
            Issue.record("\(String(describing: answer.result))")
            return
        }
        #expect(node.host.failure == nil)
    }

    @Test func aNewCommandWaitsUntilEveryMemberCanReadIt() throws {
        let node = try LoneHost(size: 1)
        try node.add(Self.group, ScriptedMachine())
        node.run(turns: 100)
        func propose() -> Answer<UInt64> {
            let answer = Answer<UInt64>()
            var proposal = Proposal(payload: [1], completion: answer.completion)
            proposal.requiredLevel = 1
            node.inbox.post(.propose(Self.group, proposal))
            return answer
        }
        let early = propose()
        node.run(turns: 50)
        #expect(early.result == nil)
        node.inbox.post(.run { $0.adoptFeatureLevel(1) }, lane: .control)
        node.run()
        guard case .success? = early.result else {
            Issue.record("\(String(describing: early.result))")
            return
        }
        guard
            case .success? = {
                let late = propose(); node.run(); return late.result
            }()
        else {
            Issue.record("the level is there")
            return
        }
    }

    /// A member that is down may be older: nothing else can be done, but the answer says which one and what to do.
    @Test func aFencedCommandThatGivesUpNamesTheMembersThatAreMissing() throws {
        let node = try LoneHost(size: 3)
        try node.add(Self.group, ScriptedMachine())
        node.host.noteSupport(of: node.members[1].id, level: 1)
        let answer = Answer<UInt64>()
        var proposal = Proposal(payload: [1], completion: answer.completion)
        proposal.requiredLevel = 1
        node.inbox.post(.propose(Self.group, proposal))
        node.run(turns: 600)
        guard case .unavailable(let why)? = answer.error else {
            Issue.record("\(String(describing: answer.result))")
            return
        }
        #expect(why.contains("(not known of node3)") && why.contains("start") && why.contains("remove"), "\(why)")
    }

    private func propose(_ payload: [UInt8], level: UInt32, on node: LoneHost) -> Answer<UInt64> {
        let answer = Answer<UInt64>()
        var proposal = Proposal(payload: payload, completion: answer.completion)
        proposal.requiredLevel = level
        node.inbox.post(.propose(Self.group, proposal))
        return answer
    }

    /// `SET k; DEL k; SET k` on one connection, while the level is about to rise: carried out in this order.
    @Test func aWriteDoesNotOvertakeACommandThatWaitsForTheLevel() throws {
        let node = try LoneHost(size: 1)
        let machine = ScriptedMachine()
        try node.add(Self.group, machine)
        node.run(turns: 100)
        let answers = [1, 2, 3].map { propose([$0], level: $0 == 2 ? 1 : 0, on: node) }
        node.run(turns: 5)
        #expect(machine.applied == [[1]])
        node.inbox.post(.run { $0.adoptFeatureLevel(1) }, lane: .control)
        let last = propose([4], level: 0, on: node)
        node.run()
        #expect(machine.applied == [[1], [2], [3], [4]])
        for answer in answers + [last] {
            guard case .success? = answer.result else {
                Issue.record("\(String(describing: answer.result))")
                continue
            }
        }
    }

    /// A member that is older holds back nothing but the new command, which is not carried out later either.
    @Test func aWriteDoesNotWaitForALevelThatMayNeverCome() throws {
        let node = try LoneHost(size: 1)
        let machine = ScriptedMachine()
        try node.add(Self.group, machine)
        node.run(turns: 100)
        let fenced = propose([1], level: FeatureLevel.supported + 1, on: node)
        node.run(turns: 5)
        #expect(fenced.result == nil)
        let later = propose([2], level: 0, on: node)
        node.run()
        guard case .unavailable? = fenced.error, case .success? = later.result else {
            Issue.record("\(String(describing: fenced.result)), \(String(describing: later.result))")
            return
        }
        node.inbox.post(.run { $0.adoptFeatureLevel(FeatureLevel.supported + 1) }, lane: .control)
        node.run()
        #expect(machine.applied == [[2]])
    }

    @Test func theLevelRisesOnlyWhenEveryMemberHasSaidThatItCan() throws {
        let node = try LoneHost(size: 1)
        let machine = ScriptedMachine()
        try node.add(.controller, machine)
        node.run(turns: 100)
        #expect(machine.applied.first == FeatureLevel.command(raisingTo: 1))
        #expect(FeatureLevel.level(in: FeatureLevel.command(raisingTo: 3)[...]) == 3)
        for bytes in [[], [16], [16, 0, 0, 0, 0], [16, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0]] as [[UInt8]] {
            #expect(FeatureLevel.level(in: bytes[...]) == nil)
        }
        // Of a member that is older, or was never heard, nothing is assumed.
        let three = try LoneHost(size: 3)
        three.host.noteSupport(of: three.members[1].id, level: 1)
        #expect(three.host.supportedLevels[three.members[2].id] == nil)
    }
}
