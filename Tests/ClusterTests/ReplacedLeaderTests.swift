// A write on its way to a leader that stops answering without losing its connection: it must end when another node
// leads.
import FileIO
import Raft
import SegmentedLog
import SimulatedIO
import Synchronization
import Testing

@testable import Cluster

@Suite struct ReplacedLeaderTests {
    private final class Machine: StateMachine {
        var frameKind: FrameKind { .command }
        var appliedAtStart: LogIndex { 0 }
        func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError> { .success(0) }
    }

    /// Storage that is done at once, and nobody at the other end of the network.
    private final class Environment: HostEnvironment {
        var inbox: HostInbox?
        func submit(_ work: StorageWork) { inbox?.post(.stored(work.perform()), lane: .control) }
        func submit(_ work: SnapshotWork) {}
        func fetch(_ fetch: LogFetch) { inbox?.post(.fetched(fetch.perform())) }
        func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID) {}
    }

    private static func heartbeat(from leader: Member, to member: Member, term: Term) -> HostEvent {
        var writer = ByteWriter()
        PeerCodec.encode(
            Message(.heartbeat, from: leader.id, to: member.id, term: term), group: .keyValue, frames: FrameBatch(),
            into: &writer)
        return .received(from: leader.id, messages: writer.bytes)
    }

    @Test func aForwardedWriteEndsWhenItsLeaderIsReplaced() throws {
        let members = (1...3).map { Member(name: "node\($0)", incarnation: "\($0)", address: "host:\($0)") }
        let fileSystem = SimulatedFileSystem(seed: 1)
        try fileSystem.createDirectory("data")
        let inbox = HostInbox {}
        let environment = Environment()
        environment.inbox = inbox
        let host = ClusterHost(
            member: members[0], members: MembershipTable(ClusterMembership(founders: members)), founders: members,
            settings: ClusterHost.Settings(), seed: 1, inbox: inbox,
            environment: environment
        ) { _, _ in }
        host.addGroup(
            .keyValue, log: try SegmentedLog.open(directory: "data/log", fileSystem: fileSystem),
            hardStateFile: try HardStateFile.open(path: "data/state", fileSystem: fileSystem), hardState: HardState(),
            history: MembershipHistory(base: (0, ClusterMembership(founders: members).initial)),
            machine: Machine(), durability: .power)
        let answer = Mutex<Result<UInt64, RequestError>?>(nil)
        var now: UInt64 = 1_000_000_000
        func turn() {
            now += 10_000_000
            _ = host.poll(now: now)
        }
        inbox.post(Self.heartbeat(from: members[1], to: members[0], term: 1), lane: .control)
        turn()
        inbox.post(
            .propose(.keyValue, Proposal(payload: [1]) { result in answer.withLock { $0 = result } }), lane: .bulk)
        for _ in 0..<5 { turn() }
        #expect(answer.withLock { $0 } == nil)
        inbox.post(Self.heartbeat(from: members[2], to: members[0], term: 2), lane: .control)
        for _ in 0..<4 { turn() }
        guard case .failure(.unknown) = answer.withLock({ $0 }) else {
            Issue.record("the write must end as unknown, is \(String(describing: answer.withLock { $0 }))")
            return
        }
    }
}
