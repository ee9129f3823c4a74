// The visible state of a group, copied out of the host's thread whenever it changes.
public import Raft
import SegmentedLog

public struct GroupStatus: Hashable, Sendable {
    public var role: Role
    public var term: Term
    public var leader: NodeID?
    public var commitIndex: LogIndex
    public var appliedIndex: LogIndex
    public var lastIndex: LogIndex
    public var firstIndex: LogIndex
    /// Bytes of entries held in memory.
    public var tailBytes: Int

    public init(
        role: Role, term: Term, leader: NodeID?, commitIndex: LogIndex, appliedIndex: LogIndex, lastIndex: LogIndex,
        firstIndex: LogIndex, tailBytes: Int = 0
    ) {
        self.role = role
        self.term = term
        self.leader = leader
        self.commitIndex = commitIndex
        self.appliedIndex = appliedIndex
        self.lastIndex = lastIndex
        self.firstIndex = firstIndex
        self.tailBytes = tailBytes
    }
}

extension Group {
    var status: GroupStatus {
        GroupStatus(
            role: core.role, term: core.term, leader: core.leader, commitIndex: commit, appliedIndex: applied,
            lastIndex: core.lastIndex, firstIndex: log.firstIndex, tailBytes: tail.byteCount)
    }
}
