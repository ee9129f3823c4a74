// The vocabulary of the Raft core: the names of the Raft paper and of etcd-io/raft. Plain values only. Entries are
// known to the core by index, term, kind and size; their bytes never enter it, the host attaches them.

/// A term of office; at most one leader per term (Raft paper §5.1).
public typealias Term = UInt64
/// Position in a group's log; the first entry has index 1, 0 means "before the log".
public typealias LogIndex = UInt64

/// A member of a group, unique for the life of a cluster. 0 is never a node.
public struct NodeID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    public static func < (a: NodeID, b: NodeID) -> Bool { a.rawValue < b.rawValue }
    public var description: String { String(rawValue, radix: 16) }
}

/// What an entry is to the core. Everything that is not listed by name is `data` to it.
public enum EntryKind: UInt8, Hashable, Sendable {
    /// A command of the state machine, opaque to the core.
    case data = 1
    /// Empty entry that a new leader commits to learn the commit index of its predecessors (paper §8).
    case noop = 2
    /// A configuration change; its content reaches the core again when the host has applied it.
    case configuration = 3
}

/// An entry without its bytes.
public struct EntryHeader: Hashable, Sendable {
    public var index: LogIndex
    public var term: Term
    public var kind: EntryKind
    /// Encoded size in bytes, for flow control.
    public var byteCount: UInt32
    public init(index: LogIndex, term: Term, kind: EntryKind, byteCount: UInt32) {
        self.index = index
        self.term = term
        self.kind = kind
        self.byteCount = byteCount
    }
}

/// What must be on disk before anything that reveals it leaves the node (paper figure 2, "persistent state").
public struct HardState: Hashable, Sendable {
    public var term: Term
    public var vote: NodeID?
    /// A lower bound of the commit index, whose entries were on this node's disk before. It rides along with terms and
    /// votes; only a change of the members makes it worth a write of its own, since that acts once its commit is here.
    public var commit: LogIndex
    /// The log was found to hold less than it once did: no vote until a leader has filled it up
    /// (``RaftCore/isRecovering``).
    public var isRecovering: Bool
    public init(term: Term = 0, vote: NodeID? = nil, commit: LogIndex = 0, isRecovering: Bool = false) {
        self.term = term
        self.vote = vote
        self.commit = commit
        self.isRecovering = isRecovering
    }
}

public enum Role: UInt8, Hashable, Sendable, CustomStringConvertible {
    case follower, preCandidate, candidate, leader
    public var description: String {
        switch self {
        case .follower: "follower"
        case .preCandidate: "precandidate"
        case .candidate: "candidate"
        case .leader: "leader"
        }
    }
}

/// Volatile state that observers care about.
public struct SoftState: Hashable, Sendable {
    public var role: Role
    public var leader: NodeID?
    public init(role: Role, leader: NodeID?) {
        self.role = role
        self.leader = leader
    }
}
