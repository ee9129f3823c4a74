// What a host needs from outside: somebody who writes its logs, somebody who reads old entries back, somebody who
// carries bytes to peers. The Server gives threads and sockets, the simulator gives a virtual disk and a virtual
// network; the host never waits for either, answers come back through its inbox.
public import FileIO
public import Raft
public import SegmentedLog

/// The outside of a ``ClusterHost``. Calls come from the host's thread and must return at once.
public protocol HostEnvironment: AnyObject {
    /// Carries out log writes strictly in the order given, then posts ``HostEvent/stored(_:)`` for each.
    func submit(_ work: StorageWork)

    /// Reads old entries, in any order, then posts ``HostEvent/fetched(_:)``.
    func fetch(_ fetch: LogFetch)

    /// Carries out background work around snapshots beside the log's writes, then posts ``HostEvent/snapshot(_:_:)``
    /// for each. Strictly in the order given, save what is ``SnapshotWork/isIndependent``. What a work sends goes to
    /// its lane as ``send(_:lane:to:)`` would.
    func submit(_ work: SnapshotWork)

    /// Sends one batch of encoded messages. May drop it; must not block, must not reorder within a lane.
    func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID)

    /// False while there is no connection on which something could be sent.
    func canReach(_ peer: NodeID) -> Bool

    /// Since when, on the clock of the host's turns, the oldest of the log writers' operations under way has been
    /// running; nil when none is. Tells a disk that is stuck from one that has much to do.
    func storageBusySince() -> UInt64?

    /// Since when, on the same clock, the store's background work has finished nothing although writers wait for it;
    /// nil when it gets on or has nothing to do.
    func maintenanceStuckSince() -> UInt64?
}

extension HostEnvironment {
    public func canReach(_ peer: NodeID) -> Bool { true }
    public func storageBusySince() -> UInt64? { nil }
    public func maintenanceStuckSince() -> UInt64? { nil }
}

/// One group's durable work of one turn: hard state, then a received snapshot, then truncation, then entries, then one
/// sync.
public struct StorageWork: Sendable {
    /// What is recorded of a log that nobody is writing to; see Docs/Decisions/0010-absence-is-evidence.md.
    public enum Seal: Sendable {
        /// How far the log is durable, beside the term and the vote.
        case floor
        /// The same in both slots, and a sync marker at the log's end.
        case end
    }

    public var group: GroupID
    /// Counts up within the group; completions must keep the order.
    public var sequence: UInt64
    public var log: SegmentedLog
    public var hardStateFile: HardStateFile
    public var hardState: HardState?
    public var install: SnapshotInstall?
    public var truncateFrom: LogIndex?
    public var frames: [FrameBatch] = []
    /// Done before the entries, which it says nothing about.
    public var seal: Seal?
    public var durability: WriteDurability

    /// Does the work. Blocks; call it on a thread that may.
    ///
    /// - Parameter later: further works of the same group, in order, whose entries ride on the same write and sync.
    public func perform(with later: [StorageWork] = []) -> StorageReceipt {
        let last = later.last ?? self
        do {
            let all = try prepare(with: later)
            if !all.isEmpty {
                try log.append(all, durability: durability)
                try recordNewSegment()
            }
            return StorageReceipt(group: group, sequence: last.sequence, failure: nil)
        } catch {
            return StorageReceipt(group: group, sequence: last.sequence, failed: error)
        }
    }

    /// Hard state, snapshot and truncation; returns the entries that are left to append.
    func prepare(with later: [StorageWork]) throws -> FrameBatch {
        let hardState = later.last(where: { $0.hardState != nil })?.hardState ?? hardState
        if let install {
            // Until the snapshot is in its place the log may be older, shorter or empty.
            try store(hardState, floor: .none)
            try install.perform(log: log)
            try store(nil, floor: log.durableEnd)
        } else {
            try store(hardState, floor: floor(isStoring: hardState != nil))
        }
        if let truncateFrom { try log.truncate(from: truncateFrom) }
        if let seal {
            if seal == .end { try log.markEnd() }
            var record = hardStateFile.record
            record.floor = log.durableEnd
            if seal == .end { try hardStateFile.settle(record) } else { try store(nil, floor: record.floor) }
        }
        if later.isEmpty, frames.count == 1 { return frames[0] }
        var all = FrameBatch()
        for batch in frames { all.append(contentsOf: batch) }
        for work in later {
            for batch in work.frames { all.append(contentsOf: batch) }
        }
        return all
    }

    /// What the log is known to hold, to be stored before this work's truncation: it moves with a hard state that is
    /// stored anyway, and never claims what the truncation takes away.
    private func floor(isStoring: Bool) -> LogFloor {
        let known = hardStateFile.record.floor
        guard let truncateFrom else { return isStoring ? log.durableEnd : known }
        let left = log.durableEnd(truncatingFrom: truncateFrom)
        return isStoring || known.index >= truncateFrom || known.head > left.head ? left : known
    }

    /// After entries were appended: a new segment is noted before anybody learns what is in it.
    func recordNewSegment() throws(SegmentedLogError) {
        if log.sealedIndex > hardStateFile.record.floor.head { try store(nil, floor: log.durableEnd) }
    }

    /// Stores what has changed, if anything has.
    private func store(_ hardState: HardState?, floor: LogFloor) throws(SegmentedLogError) {
        let stored = hardStateFile.record
        var record = stored
        record.floor = floor
        if let hardState {
            record.term = hardState.term
            record.vote = hardState.vote?.rawValue ?? 0
            record.commit = hardState.commit
            record.isRecovering = hardState.isRecovering
        }
        if record != stored { try hardStateFile.store(record) }
    }

    /// Durable writes that ``perform(with:)`` takes.
    public func syncs(with later: [StorageWork] = []) -> Int {
        let works = [self] + later
        return (works.contains { $0.hardState != nil } ? 1 : 0) + (works.contains { !$0.frames.isEmpty } ? 1 : 0)
            + (seal == nil ? 0 : seal == .end ? 3 : 1)
    }

    /// True when `next` may share this work's write: same group, and nothing has to be cut in between.
    public func canAbsorb(_ next: StorageWork) -> Bool {
        next.group == group && next.truncateFrom == nil && next.install == nil && next.seal == nil
            && next.durability == durability
    }
}

/// The end of a ``StorageWork``: everything of the group up to `sequence` is durable, or it failed.
public struct StorageReceipt: Sendable {
    public var group: GroupID
    public var sequence: UInt64
    public var failure: String?
    /// Whose trouble the failure is.
    var scope = FailureScope.node

    init(group: GroupID, sequence: UInt64, failure: String?) {
        self.group = group
        self.sequence = sequence
        self.failure = failure
    }

    init(group: GroupID, sequence: UInt64, failed error: any Error) {
        self.init(group: group, sequence: sequence, failure: "\(error)")
        scope = FailureScope(running: error)
    }
}

/// A request for entries that are no longer in memory.
public struct LogFetch: Sendable {
    public enum Purpose: Hashable, Sendable { case replication, apply }
    public var group: GroupID
    public var purpose: Purpose
    public var log: SegmentedLog
    public var from: LogIndex
    public var through: LogIndex
    public var maxBytes: Int

    /// Reads. Blocks; call it on a thread that may.
    public func perform() -> LogFetchResult {
        do throws(SegmentedLogError) {
            let frames = try log.read(from: from, through: through, maxBytes: maxBytes)
            return LogFetchResult(fetch: self, frames: frames, failure: nil)
        } catch {
            return LogFetchResult(
                fetch: self, frames: FrameBatch(), failure: "\(error)", scope: FailureScope(reading: error))
        }
    }
}

public struct LogFetchResult: Sendable {
    public var fetch: LogFetch
    public var frames: FrameBatch
    public var failure: String?
    /// Whose trouble the failure is; reading never is the node's.
    var scope = FailureScope.group(passes: true)
}
