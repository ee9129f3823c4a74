// Everything that can happen to a core. Time, storage completions and the network are inputs like any other, so that a
// run is the list of its inputs and can be replayed.

/// One event for a core.
public enum Input: Hashable, Sendable {
    /// One tick of the host's clock (10 ms in Strata's hosts; the core only counts).
    case tick
    case receive(Message)
    /// A `snapshot` message, once the whole snapshot is there, with the configuration as of its index. Hosts whose
    /// members never change may use ``receive(_:)`` instead.
    case receiveSnapshot(Message, Configuration)
    /// Ask for a read index. `context` is unique per node and never reused.
    case readIndex(context: UInt64)
    /// As ``readIndex(context:)``, answered at once while the lease of this leader holds. Needs `Settings.leaseReads`.
    /// Before the value leaves, the host looks at ``RaftCore/holdsLease`` once more, or repeats the read.
    case leaseRead(context: UInt64)
    /// The process stood still for longer than a tick or two (a gap between turns): what was measured in ticks is void.
    case paused
    /// Everything up to `index`, whose entry had `term` when it was handed to storage, is durable. The term guards
    /// against an overwritten suffix (etcd-io/raft `rawnode.go`, the ABA comment). Of one storage round, report
    /// ``hardStateDurable(_:)`` first: completions in the opposite order are safe but may be ignored after a
    /// truncation.
    case appendDurable(index: LogIndex, term: Term)
    /// The hard state handed to storage is durable.
    case hardStateDurable(HardState)
    /// The state machine has applied everything up to `index`.
    case applied(LogIndex)
    /// The state machine has reached the oldest unapplied entry of kind ``EntryKind/configuration``; this is its
    /// content (``ConfigurationChange/leave`` for an entry without bytes). A change that the configuration refuses has
    /// no effect, on any member.
    case configurationApplied(ConfigurationChange)
    /// Entries that a ``LogReader`` reported as pending are in memory now: peers that waited can be served. Not needed
    /// for proposed entries: those are read from ``Ready/entries`` until the host has drained them.
    case entriesAvailable
    /// Start an election now (PreVote first).
    case campaign
    /// The connection to the leader is gone: stop trusting its lease and start PreVote soon.
    case forgetLeader
    case transferLeadership(to: NodeID)
    /// A message to this peer was lost for sure.
    case unreachable(NodeID)
    /// The transfer asked for by ``Ready/snapshotsNeeded`` is over: the peer installed the snapshot up to `index`, or
    /// it failed (0). Must follow every request, however late, or the peer gets nothing more in this leadership.
    case snapshotFinished(NodeID, index: LogIndex)
    /// The node's own disk is stuck: a leader gives up.
    case storageStalled
}

/// What the core may ask about entries up to its last index, except those still in the ``Ready`` of the call: the host
/// indexes the headers of `ready.entries` in the turn in which it drains them. Must answer from memory, at once.
public protocol LogReader {
    /// Headers of entries `from...through`, contiguous from `from`, at least one and otherwise at most `maxBytes` in
    /// sum.
    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead
}

/// Answer of a ``LogReader``.
public enum LogRead: Sendable {
    case entries([EntryHeader])
    /// On disk only; the host is fetching them and will say ``Input/entriesAvailable``. May be asked again before that.
    case pending
    /// Older than the log's first entry: the peer needs a snapshot.
    case compacted
}

/// A proposal as the core sees it.
public struct ProposedEntry: Hashable, Sendable {
    public var kind: EntryKind
    public var byteCount: UInt32
    public init(kind: EntryKind, byteCount: UInt32) {
        self.kind = kind
        self.byteCount = byteCount
    }
}

/// Why a proposal was not appended. In each case the entry is certainly in no log.
public enum ProposalDropped: Error, Hashable, Sendable {
    case notLeader(leader: NodeID?)
    /// Leadership is being handed over.
    case transferring
    /// Too many uncommitted bytes: retry later.
    case overloaded
}
