// What the core asks of its host, collected over one or more steps and drained by the host. The order contract: hard
// state and entries of `append` are made durable first, then its `afterDurable` messages may leave; everything in
// `messages` may leave at once. The host must carry out `append`s in the order it drained them.

/// Work that the host has to do for one group. Reused between turns: `removeAll` keeps the capacity.
public struct Ready: Sendable {
    /// May be sent before anything is durable: the leader's appends and heartbeats, pre-votes, read confirmations.
    public var messages: [Message] = []

    /// Entries to append (contiguous), after dropping everything from `truncateFrom` on. Empty when there is none.
    public var entries: [EntryHeader] = []
    /// Entries with this index and above are void and must be overwritten or cut first.
    public var truncateFrom: LogIndex?
    /// New term or vote to persist, nil when unchanged.
    public var hardState: HardState?
    /// Leave only after everything above is durable: votes granted, append acknowledgements.
    public var afterDurable: [Message] = []

    /// The commit index, when it moved.
    public var commit: LogIndex?
    /// Confirmed reads: serve them once the state machine has applied `index`.
    public var reads: [ReadState] = []
    /// Reads that will never be confirmed (leader lost, no leader): tell the client to retry.
    public var droppedReads: [UInt64] = []
    /// Role or leader, when either changed.
    public var softState: SoftState?
    /// Peers that need entries which the log no longer has.
    public var snapshotsNeeded: [NodeID] = []

    public init() {}

    /// True when the storage has something to do before `afterDurable` may be sent.
    public var needsStorage: Bool {
        !entries.isEmpty || truncateFrom != nil || hardState != nil
    }

    public mutating func removeAll() {
        messages.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        truncateFrom = nil
        hardState = nil
        afterDurable.removeAll(keepingCapacity: true)
        commit = nil
        reads.removeAll(keepingCapacity: true)
        droppedReads.removeAll(keepingCapacity: true)
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
