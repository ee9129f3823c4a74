// What the core asks of its host, collected over one or more steps and drained by the host. The order contract: the
// snapshot is installed, the log cut, entries and hard state are made durable, then `afterDurable` may leave;
// everything in `messages` may leave at once. Storage work must be carried out in the order in which it was drained,
// and `afterDurable` waits for all work drained before it too, even when its own drain had none.

/// Work that the host has to do for one group. Reused between turns: `removeAll` keeps the capacity.
public struct Ready: Sendable {
    /// May be sent before anything is durable: the leader's appends and heartbeats, pre-votes, read confirmations.
    public var messages: [Message] = []

    /// The log must be replaced by the received snapshot that ends here; comes before the fields below.
    public var snapshot: SnapshotPoint?
    /// Entries to append (contiguous), after dropping everything from `truncateFrom` on. Empty when there is none.
    public var entries: [EntryHeader] = []
    /// Entries with this index and above are void and must be overwritten or cut first.
    public var truncateFrom: LogIndex?
    /// New term or vote to persist, or the commit of a change of the members; nil when none of them changed.
    public var hardState: HardState?
    /// Leave only after everything above, and all storage work drained earlier, is durable: requests for votes and
    /// answers to them, answers to appends.
    public var afterDurable: [Message] = []

    /// Entries up to here are committed and may be applied, when that moved (``RaftCore/applicableIndex``).
    public var commit: LogIndex?
    /// Confirmed reads: serve them once the state machine has applied `index`.
    public var reads: [ReadState] = []
    /// Reads that will never be confirmed (leader lost, no leader): tell the client to retry.
    public var droppedReads: [UInt64] = []
    /// The members, when they changed; to be stored with the state machine.
    public var configuration: Configuration?
    /// Role or leader, when either changed.
    public var softState: SoftState?
    /// Peers that need entries which the log no longer has: send each a `snapshot` message with the newest snapshot,
    /// and say ``Input/snapshotFinished(_:index:)`` when that is over.
    public var snapshotsNeeded: [NodeID] = []

    public init() {}

    /// True when this drain has storage work of its own.
    public var needsStorage: Bool {
        snapshot != nil || !entries.isEmpty || truncateFrom != nil || hardState != nil
    }

    public mutating func removeAll() {
        messages.removeAll(keepingCapacity: true)
        snapshot = nil
        entries.removeAll(keepingCapacity: true)
        truncateFrom = nil
        hardState = nil
        afterDurable.removeAll(keepingCapacity: true)
        commit = nil
        reads.removeAll(keepingCapacity: true)
        droppedReads.removeAll(keepingCapacity: true)
        configuration = nil
        softState = nil
        snapshotsNeeded.removeAll(keepingCapacity: true)
    }
}

/// A read that may be answered from state that covers `index` (thesis §6.4, ReadIndex).
public struct ReadState: Hashable, Sendable {
    public var context: UInt64
    public var index: LogIndex
    public init(context: UInt64, index: LogIndex) {
        self.context = context
        self.index = index
    }
}
