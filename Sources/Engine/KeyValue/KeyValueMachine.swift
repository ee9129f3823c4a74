// The key-value group's state machine: the log's entries are write batches, the store is an LSM tree (or a hash log)
// that has no log of its own. Never looks at a clock but to stamp what it leads; every replica that applied the same
// entries holds the same keys and the same sessions.
public import Cluster
import FileIO
import Raft
public import SegmentedLog
public import Storage

public final class KeyValueMachine: StateMachine {
    let store: any KeyValueStore
    private(set) public var answers: [Result<UInt64, RequestError>] = []
    var sessions: SessionTable
    private var clusterClock: ClusterClock
    /// The entry that `sessions` are of, with all before it.
    private var applied: UInt64
    private var owedNanoseconds: UInt64 = 0

    public let snapshotStore: (any SnapshotStore)?
    /// A snapshot has taken the store's place: `sessions` are those of before.
    private var mustReadSessions = false
    private let diagnostics: Diagnostics

    /// Reads the sessions out of the store.
    /// - Parameters:
    ///   - snapshots: the store's files as the cluster sees them; nil for a store that is never sent.
    ///   - clock: nanoseconds of a clock that only goes forward; asked only when this node leads.
    public init(
        store: any KeyValueStore, snapshots: (any SnapshotStore)? = nil, limits: SessionLimits = SessionLimits(),
        diagnostics: Diagnostics = Diagnostics(), clock: @escaping @Sendable () -> UInt64
    ) throws(StorageError) {
        self.store = store
        self.diagnostics = diagnostics
        snapshotStore = snapshots
        applied = store.applied.index
        sessions = try SessionTable(limits: limits, store: store)
        clusterClock = ClusterClock(start: sessions.latestTime, clock: clock)
    }

    public var frameKind: FrameKind { .command }
    public var appliedAtStart: UInt64 { store.applied.index }
    public var needsBackpressure: Bool { store.needsBackpressure }

    public func takeWriteDelay() -> UInt64 {
        defer { owedNanoseconds = 0 }
        return owedNanoseconds
    }

    public func validate(_ payload: [UInt8]) -> RequestError? {
        if CommandList.isList(payload) {
            guard let list = CommandList.decode(payload[...]), !list.commands.isEmpty else { return Self.unreadable }
            return list.commands.lazy.compactMap(\.problem).first
        }
        guard payload.prefix(8).allSatisfy({ $0 == 0 }), let batch = try? WriteBatch(validating: payload),
            !batch.isEmpty
        else { return Self.unreadable }
        return KeyValueLimits.check(batch)
    }

    public func answerCount(of payload: [UInt8]) -> UInt32 {
        if CommandList.isList(payload) {
            return CommandList.decode(payload[...]).map { CommandList.answerCount(of: $0.commands) } ?? 1
        }
        return (try? WriteBatch(validating: payload)).map { UInt32(clamping: $0.count) } ?? 1
    }

    private static let unreadable = RequestError.invalid(
        .corruptBatch, "the command is malformed, or of a kind that this version does not know; it wrote nothing")

    public func join(_ commands: [[UInt8]]) -> [UInt8]? {
        if commands.contains(where: { CommandList.isList($0) }) { return CommandList.join(commands) }
        var joined = WriteBatch()
        for command in commands {
            // Commands were checked when they came in; one that is not a batch would be this node's own fault.
            guard let batch = try? WriteBatch(validating: command) else { return nil }
            joined.append(contentsOf: batch)
        }
        return joined.bytes
    }

    public func stamp(_ payload: inout [UInt8], baseOffset: UInt64, term: UInt64) {
        guard CommandList.isList(payload) else { return }
        CommandList.stamp(&payload, time: clusterClock.now(term: term))
    }

    public func didInstallSnapshot(through index: UInt64) {
        mustReadSessions = true
    }

    public func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError> {
        if !answers.isEmpty { answers = [] }
        let position = LogPosition(index: entry.index, term: entry.term)
        defer { owedNanoseconds += store.writeDelayNanoseconds(bytes: entry.payload.count) }
        do throws(StorageError) {
            if CommandList.isList(entry.payload) {
                guard let list = CommandList.decode(entry.payload) else { return try skip(entry, at: position) }
                return try applyList(list, entry, at: position)
            }
            guard let batch = try? WriteBatch(validating: Array(entry.payload)) else {
                return try skip(entry, at: position)
            }
            let first = try store.apply(batch, at: position)
            applied = entry.index
            return .success(first)
        } catch {
            throw StateMachineFailure("\(error)", scope: error.scope)
        }
    }

    /// A committed entry that can't be read changes nothing, on any replica.
    private func skip(
        _ entry: CommittedEntry, at position: LogPosition
    ) throws(StorageError) -> Result<UInt64, RequestError> {
        _ = try store.apply(WriteBatch(), at: position)
        // Whatever it did to the sessions in memory is taken back.
        mustReadSessions = true
        applied = entry.index
        diagnostics.report(.unreadableCommand, "entry \(entry.index) of keyvalue: \(Self.unreadable)")
        return .failure(Self.unreadable)
    }

    private func applyList(
        _ list: (time: UInt64, commands: [KeyValueCommand]), _ entry: CommittedEntry, at position: LogPosition
    ) throws(StorageError) -> Result<UInt64, RequestError> {
        if mustReadSessions || store.applied.index != applied {
            mustReadSessions = false
            sessions = try SessionTable(limits: sessions.limits, store: store)
            clusterClock.saw(sessions.latestTime)
        }
        clusterClock.saw(list.time)
        var run = CommandRun(machine: self, index: entry.index, time: list.time)
        do throws(StorageError) {
            for command in list.commands { try run.perform(command) }
            try run.finish()
        } catch {
            switch error {
            case .keyTooLong, .valueTooLong, .invalidBatch: return try skip(entry, at: position)
            default: throw error
            }
        }
        answers = run.answers
        let first = try store.apply(run.batch, at: position)
        applied = entry.index
        return .success(first)
    }
}

extension StorageError {
    /// Whose trouble it is: a damaged file of the store is the group's, a disk that keeps nothing is the node's.
    public var scope: FailureScope {
        switch self {
        case .io(let error):
            switch error.operation {
            case .read, .map, .size, .list, .exists: .group(passes: false)
            case .open where error.reason == .tooManyOpenFiles || error.reason == .notFound: .group(passes: false)
            default: .node
            }
        case .readOnly, .outOfMemory: .node
        case .corruption, .missingFile, .unsupportedVersion, .keyTooLong, .valueTooLong, .invalidBatch, .staleEntry,
            .exhausted:
            .group(passes: false)
        }
    }
}

/// The time that sessions expire by: milliseconds that only run while there is a leader. Each leader goes on from the
/// newest time in the log, with the pace of its own clock; nobody compares two nodes' clocks.
private struct ClusterClock {
    private var newest: UInt64
    private var anchor: (term: UInt64, time: UInt64, nanoseconds: UInt64)?
    private let clock: @Sendable () -> UInt64

    init(start: UInt64, clock: @escaping @Sendable () -> UInt64) {
        newest = start
        self.clock = clock
    }

    mutating func saw(_ time: UInt64) {
        newest = max(newest, time)
    }

    mutating func now(term: UInt64) -> UInt64 {
        let nanoseconds = clock()
        guard let anchor, anchor.term == term else {
            anchor = (term, newest, nanoseconds)
            return newest
        }
        let passed = (nanoseconds - min(nanoseconds, anchor.nanoseconds)) / 1_000_000
        // A time comes out of the log, where a peer may have written any.
        let (time, overflow) = anchor.time.addingReportingOverflow(passed)
        return max(newest, overflow ? .max : time)
    }
}
