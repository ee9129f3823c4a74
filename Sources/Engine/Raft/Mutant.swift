// Bugs that other implementations had, to be switched on one at a time: they measure the tests, not the core. Without
// the compile flag RAFT_MUTANTS every `isOn` is the constant false and nothing of this is in the program. A mutant must
// never be reachable in a build that serves data.

/// A bug to plant. Numbers in the comments are the edge cases of Docs/Raft.md.
package enum Mutant: String, CaseIterable, Sendable {
    /// 1: the answer to a vote leaves before the vote is durable.
    case voteBeforeDurable
    /// 1: requests for votes leave before the own vote is durable.
    case voteRequestBeforeDurable
    /// 2: a step-down within the term forgets the vote.
    case voteClearedInTerm
    /// 3: an entry of an earlier term is committed by counting.
    case commitEarlierTerm
    /// 3: half of the voters is taken for a majority.
    case quorumOneShort
    /// 4: a follower commits what the leader has, not what the message proved.
    case commitPastProof
    /// 4: heartbeats carry the leader's whole commit index.
    case heartbeatFullCommit
    /// 5: a short append cuts the log although nothing conflicts.
    case cutWithoutConflict
    /// 6: a read before the first commit of the term.
    case readBeforeOwnCommit
    /// 6: a confirmation serves reads that came after its round left.
    case readAdoptsOlderRound
    /// 6: confirmations of reads need no majority.
    case readWithoutQuorum
    /// 7: the lease counts from the echo instead of the sending.
    case leaseFromReceipt
    /// 7: the lease outlives a transfer.
    case leaseSurvivesTransfer
    /// 7: the lease outlives a pause.
    case leaseSurvivesPause
    /// 7: an order to campaign from a transfer that was given up is obeyed.
    case staleTimeoutNow
    /// 8: a campaign with changes committed and not applied.
    case campaignBeforeApply
    /// 8: a second change before the first is applied.
    case twoChangesInFlight
    /// 8: after a restart a known change proves nothing about those before it.
    case restartForgetsCommit
    /// 8: a learner campaigns.
    case learnerCampaigns
    /// 8: only the new half of a joint configuration is asked.
    case jointIgnoresOutgoing
    /// 9: a leader that removed itself goes on.
    case removedLeaderStays
    /// 9: a refused vote does not tell what is committed, and the group that removed its leader is stuck.
    case refusalHidesCommit
    /// 9: a request for a vote does not, and whoever refuses it because its log is longer stays ignorant.
    case requestHidesCommit
    /// 9: an order to campaign that comes before the change was applied is forgotten.
    case earlyOrderIsLost
    /// 9: the joint configuration is left only by the leader that entered it.
    case autoLeaveOnce
    /// 10: a member that may not campaign keeps the leader that it no longer hears, and its promise to it.
    case bystanderKeepsLeader
    /// 10: a pre-candidate keeps its leader, and so its lease.
    case preCandidateKeepsLeader
    /// 10: a deposed or lagging member is not told the term.
    case staleNotAnswered
    /// 11: a leader without a quorum goes on.
    case noQuorumCheck
    /// 12: a leader whose disk is stuck goes on.
    case stalledLeaderStays
    /// 14: the completion of an overwritten append counts.
    case appendABA
    /// 14: the term is compared, but not the fence of the last cut.
    case appendFence
    /// 15: the leader counts its own copy before its disk has it.
    case leaderCountsUndurable
    /// 15: an append is acknowledged before it is durable.
    case ackBeforeDurable
    /// 17: a snapshot behind the commit index is installed.
    case snapshotBehindCommit
    /// 17: the configuration of a snapshot is ignored.
    case snapshotWithoutMembers
    /// 18: a stale rejection lets `next` fall to `match` or below.
    case nextFallsToMatch
    /// 18: a heartbeat answer does not wake a member whose probe was lost.
    case probeNeverResumes
    /// 18: late answers send entries again that are on their way.
    case lateAnswersResend
    /// 20: learners are counted as voters.
    case learnersCount
    /// 21: uncommitted proposals are not bounded.
    case unboundedProposals
    /// 22: a member falls asleep without the last commit.
    case quiesceBehind
    /// 22: a member falls asleep while a read of it waits.
    case readerSleeps
    /// 23: a change of the members acts before its commit is on disk.
    case changeBeforeItsCommit
    /// 24: a member whose log lost entries votes.
    case recoveringVotes
    /// 24: its log grows before the mark is on disk.
    case recoveryUnmarked
    /// 24: it takes an old word of the leader for the answer to its question.
    case recoveryTakesAnyAnswer
    /// 24: the leader counts what a member had acknowledged before it lost it, and sends it nothing.
    case lossUnnoticed

    #if RAFT_MUTANTS
    /// Set once, before the first core is made, by the one thread there is then.
    nonisolated(unsafe) package static var active: Mutant?
    static func isOn(_ mutant: Mutant) -> Bool { active == mutant }
    #else
    // A constant, so that the optimizer drops the branch: the ask stands on paths that run per message.
    @inline(__always) static func isOn(_ mutant: Mutant) -> Bool { false }
    #endif
}
