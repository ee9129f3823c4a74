// What members of one group say to each other. One flat struct as in etcd-io/raft: a message is a value that can be
// compared, hashed, stored by the simulator and encoded by any transport. Fields not named for a kind are zero.

/// A message between two members of one group.
public struct Message: Hashable, Sendable {
    public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        /// `index`, `logTerm`: the candidate's last entry; `commit`, `context`: the last one that it knows to be
        /// committed, and its term. `term` is the term that it would campaign in.
        case preVote = 1
        /// Refused: `commit`, `logTerm` = the last entry that the sender knows to be committed.
        case preVoteResponse = 2
        /// As `preVote`, for real. `force` marks a transfer, which ignores the lease of the old leader.
        case vote = 3
        /// As `preVoteResponse`.
        case voteResponse = 4
        /// `index`, `logTerm`: the entry before `entries`; `commit`: the leader's commit index. `entries` may be empty.
        /// `context`: the leader's attempt at this member and, in the upper bits, the member's newest recovery;
        /// `rejectHint`: where that recovery ends, 0 without one.
        case append = 5
        /// Accepted: `index` = last index now known to match and durable. Rejected: `index` = the `index` of the
        /// append, `rejectHint` and `logTerm` = where the logs may agree (conflict hint by term). Echoes `context`.
        /// `force`: the sender's log lost entries; `commit` = the number of its recovery. Such a rejection at `index` 0
        /// asks where that ends; there `rejectHint` and `logTerm` are the sender's last entry.
        case appendResponse = 6
        /// `commit` = min(match, commit) for this receiver; `index` = match, what it acknowledged; `context` = newest
        /// read round to confirm, 0 for none. `force`: sleep, if your log ends at `index` and all of it is committed.
        case heartbeat = 7
        /// Echoes `context`.
        case heartbeatResponse = 8
        /// Made by the leader's host with the core's term; `index`, `logTerm` = its last included entry. The receiving
        /// host passes it to its core once the whole snapshot is there.
        case snapshot = 9
        /// Asks the receiver to campaign at once (leadership transfer, thesis §3.10), if its log ends at `index`,
        /// `logTerm`; in any case when `index` is 0.
        case timeoutNow = 10
        /// Follower to leader: please confirm a read; `context` names it at the follower.
        case readIndex = 11
        /// Leader to follower: `index` = read index for `context`; `reject` when the leader can't serve.
        case readIndexResponse = 12
    }

    public var kind: Kind
    public var from: NodeID
    public var to: NodeID
    public var term: Term
    public var index: LogIndex = 0
    public var logTerm: Term = 0
    public var commit: LogIndex = 0
    public var entries: [EntryHeader] = []
    public var reject: Bool = false
    public var rejectHint: LogIndex = 0
    public var context: UInt64 = 0
    public var force: Bool = false

    public init(_ kind: Kind, from: NodeID, to: NodeID, term: Term) {
        self.kind = kind
        self.from = from
        self.to = to
        self.term = term
    }
}
