// What replicated state has to offer its host. A machine is called on the host's thread only, in log order, once an
// entry is committed. It must be deterministic: no clock, no randomness, no hash order, so that replicas stay equal.
public import Raft
public import SegmentedLog

/// A committed entry on its way into a state machine.
public struct CommittedEntry {
    public var index: LogIndex
    public var term: Term
    public var header: FrameHeader
    public var payload: ArraySlice<UInt8>
}

/// Replicated state on top of one group's log.
public protocol StateMachine: AnyObject {
    /// The kind of frame that its commands travel in.
    var frameKind: FrameKind { get }

    /// Everything up to here is in the machine's own durable state: replay starts after it.
    var appliedAtStart: LogIndex { get }

    /// Whether replay has to visit every entry, or only needs the last committed one (a partition, whose log is the
    /// data).
    var replay: ReplayMode { get }

    /// What is wrong with a command that is about to be proposed, whoever sent it; nil: every replica can read it.
    /// Anything that this accepts must apply without a failure.
    func validate(_ payload: [UInt8]) -> RequestError?

    /// Joins commands that arrived together into one entry. The default keeps each in an entry of its own.
    func join(_ commands: [[UInt8]]) -> [UInt8]?

    /// How many answers a command gets, as a part of an entry: that many are its own before those of the next command
    /// begin. 1 for one that can't be read.
    func answerCount(of payload: [UInt8]) -> UInt32

    /// Writes position-dependent fields into a payload before it is framed (a record batch's base offset).
    func stamp(_ payload: inout [UInt8], baseOffset: UInt64, term: Term)

    /// Records in the payload, which take as many offsets; 0 for commands.
    func recordCount(of payload: [UInt8]) -> UInt32

    /// Applies one entry and returns what its proposer is told: a number (first sequence, base offset), or a refusal
    /// that is the same on every replica. Throwing means that this replica can't go on; see
    /// ``StateMachineFailure/scope``.
    func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError>

    /// What each command of the entry applied last is answered, by its place in the entry; empty when that is the
    /// entry's result plus the place.
    var answers: [Result<UInt64, RequestError>] { get }

    /// A committed entry that is none of the machine's own (a no-op), or the last one of a log whose entries needn't be
    /// visited one by one (``ReplayMode/lastEntry``).
    func advance(to header: FrameHeader)

    /// Called after a batch of entries was applied.
    func didApply(through index: LogIndex)

    /// The machine's files, when it has files of its own that can be sent to another member: then its log is cut too.
    var snapshotStore: (any SnapshotStore)? { get }

    /// The machine's files were replaced by those of a received snapshot, which covers everything up to `index`.
    func didInstallSnapshot(through index: LogIndex)

    /// True when the machine wants no more proposals for the moment (its background work is behind).
    var needsBackpressure: Bool { get }

    /// Nanoseconds for which the machine wants writers held back, on account of what it applied since the last call.
    func takeWriteDelay() -> UInt64
}

public enum ReplayMode: Sendable {
    case everyEntry
    case lastEntry
}

/// The machine can't go on.
public struct StateMachineFailure: Error, Sendable, CustomStringConvertible {
    public var description: String
    /// Whether only its group goes out of service, or the node's storage failed, which ends the node.
    public var scope: FailureScope

    public init(_ description: String, scope: FailureScope = .node) {
        self.description = description
        self.scope = scope
    }
}

extension StateMachine {
    public var replay: ReplayMode { .everyEntry }
    public func validate(_ payload: [UInt8]) -> RequestError? { nil }
    public func join(_ commands: [[UInt8]]) -> [UInt8]? { nil }
    public func answerCount(of payload: [UInt8]) -> UInt32 { 1 }
    public func stamp(_ payload: inout [UInt8], baseOffset: UInt64, term: Term) {}
    public func recordCount(of payload: [UInt8]) -> UInt32 { 0 }
    public var answers: [Result<UInt64, RequestError>] { [] }
    public func advance(to header: FrameHeader) {}
    public func didApply(through index: LogIndex) {}
    public var needsBackpressure: Bool { false }
    public func takeWriteDelay() -> UInt64 { 0 }
    public var snapshotStore: (any SnapshotStore)? { nil }
    public func didInstallSnapshot(through index: LogIndex) {}
}
