// A host of a cluster of one or of three, in which nobody is at the other end of the network: its storage is a
// simulated disk that is done at once, its clock is moved by the test. Everything runs on the test's thread.
import FileIO
import Raft
import SegmentedLog
import SimulatedIO
import Synchronization

@testable import Cluster

/// A machine that does what the test tells it with an entry.
final class ScriptedMachine: StateMachine {
    var frameKind: FrameKind { .command }
    var appliedAtStart: LogIndex { 0 }
    private(set) var applied: [[UInt8]] = []
    /// Thrown for an entry whose payload begins with the byte.
    var failures: [UInt8: StateMachineFailure] = [:]
    /// Refused before it is proposed.
    var refused: Set<UInt8> = []

    func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError> {
        if let first = entry.payload.first, let failure = failures[first] { throw failure }
        applied.append(Array(entry.payload))
        return .success(entry.index)
    }
}

/// What a request was answered.
final class Answer<Value: Sendable>: Sendable {
    private let state = Mutex<Result<Value, RequestError>?>(nil)
    var result: Result<Value, RequestError>? { state.withLock { $0 } }
    var completion: @Sendable (Result<Value, RequestError>) -> Void {
        { [self] result in state.withLock { $0 = result } }
    }

    var error: RequestError? {
        if case .failure(let error)? = result { return error }
        return nil
    }
}

final class LoneHost: HostEnvironment {
    let fileSystem = SimulatedFileSystem(seed: 1)
    let inbox: HostInbox
    private(set) var host: ClusterHost!
    let members: [Member]
    private(set) var now: UInt64 = 1_000_000_000
    private(set) var submitted: [StorageWork] = []
    var holdsStorage = false
    /// Asked for each proposal that is to be forwarded.
    var reaches: () -> Bool = { true }
    private(set) var sent: [(lane: PeerLane, peer: NodeID, messages: [PeerMessage])] = []

    init(size: Int = 1) throws {
        members = (1...size).map { Member(name: "node\($0)", incarnation: "\($0)", address: "host:\($0)") }
        inbox = HostInbox {}
        try fileSystem.createDirectory("data")
        host = ClusterHost(
            member: members[0], members: MembershipTable(ClusterMembership(founders: members)), founders: members,
            settings: ClusterHost.Settings(), seed: 1, inbox: inbox, environment: self
        ) { _, _ in }
    }

    func add(_ id: GroupID, _ machine: any StateMachine) throws {
        host.addGroup(
            id, log: try SegmentedLog.open(directory: "data/log-\(id.rawValue)", fileSystem: fileSystem),
            hardStateFile: try HardStateFile.open(path: "data/state-\(id.rawValue)", fileSystem: fileSystem),
            hardState: HardState(),
            history: MembershipHistory(base: (0, ClusterMembership(founders: members).initial)), machine: machine,
            durability: .power)
    }

    /// Lets time pass, a tick a turn.
    func run(turns: Int = 10) {
        for _ in 0..<turns {
            now += 10_000_000
            _ = host.poll(now: now)
        }
    }

    /// A turn in which no time passes.
    func poll() { _ = host.poll(now: now) }

    func propose(_ payload: [UInt8], to id: GroupID) -> Answer<UInt64> {
        let answer = Answer<UInt64>()
        inbox.post(.propose(id, Proposal(payload: payload, completion: answer.completion)))
        return answer
    }

    func releaseStorage() {
        let works = submitted
        submitted = []
        for work in works { inbox.post(.stored(work.perform()), lane: .control) }
    }

    func submit(_ work: StorageWork) {
        submitted.append(work)
        if !holdsStorage { releaseStorage() }
    }

    func canReach(_ peer: NodeID) -> Bool { reaches() }
    func submit(_ work: SnapshotWork) {}
    func fetch(_ fetch: LogFetch) { inbox.post(.fetched(fetch.perform())) }

    func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID) {
        sent.append((lane, peer, PeerCodec.decode(messages.joined) ?? []))
    }
}
