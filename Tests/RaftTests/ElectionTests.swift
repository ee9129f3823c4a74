// Elections, rule by rule. Cases that other implementations got wrong are named after what went wrong there.

import Testing

@testable import Raft

@Suite struct ElectionTests {
    @Test func termAndVoteLeaveInOneHardState() {
        var solo = Solo()
        solo.receive(.vote, from: 2, term: 5) { $0.index = 0 }
        #expect(solo.ready.hardState == HardState(term: 5, vote: NodeID(2)))
        #expect(solo.ready.messages.isEmpty)
        #expect(solo.ready.afterDurable.of(.voteResponse, to: 2).map(\.reject) == [false])
    }

    @Test func sameTermStepDownKeepsTheVote() {
        var solo = Solo()
        solo.step(.campaign)
        solo.receive(.preVoteResponse, from: 3, term: 1)
        #expect(solo.core.role == .candidate)
        solo.append(from: 2, term: 1, after: 0, 0)
        #expect(solo.core.role == .follower && solo.core.vote == NodeID(1))
        solo.receive(.vote, from: 3, term: 1) { $0.index = 9 }
        #expect(solo.ready.afterDurable.of(.voteResponse, to: 3).map(\.reject) == [true])
    }

    @Test func oneVotePerTermAndTheSameAnswerAgain() {
        var solo = Solo()
        for candidate in [2, 3, 2] as [UInt64] { solo.receive(.vote, from: candidate, term: 1) }
        #expect(solo.ready.afterDurable.of(.voteResponse).map(\.reject) == [false, true, false])
    }

    @Test func noVoteInATermWhoseLeaderIsKnown() {
        var solo = Solo()
        solo.append(from: 2, term: 1, after: 0, 0)
        solo.receive(.vote, from: 3, term: 1) { $0.index = 9 }
        #expect(solo.core.vote == nil)
        #expect(solo.ready.afterDurable.of(.voteResponse).map(\.reject) == [true])
    }

    @Test(arguments: [(1, 9, false), (2, 2, false), (2, 3, true), (3, 1, true)])
    func votesOnlyForALogAtLeastAsComplete(logTerm: Term, index: LogIndex, granted: Bool) {
        var solo = Solo(terms: [1, 2, 2])
        solo.receive(.vote, from: 2, term: 9) { message in
            message.logTerm = logTerm
            message.index = index
        }
        #expect(solo.ready.afterDurable.of(.voteResponse).map(\.reject) == [!granted])
    }

    @Test func ownVoteCountsOnlyOnceDurable() {
        var solo = Solo()
        solo.step(.campaign)
        solo.receive(.preVoteResponse, from: 2, term: 1)
        #expect(solo.ready.messages.of(.vote).isEmpty, "requests wait for the disk")
        let drained = solo.drain()
        #expect(drained.afterDurable.of(.vote).count == 2)
        solo.receive(.voteResponse, from: 2, term: 1)
        #expect(solo.core.role == .candidate)
        solo.report(drained)
        #expect(solo.core.role == .leader)
    }

    @Test func answersOfAnEarlierCandidacyDoNotCount() {
        var solo = Solo(voters: 5, settings: RaftCore.Settings())
        solo.step(.campaign)
        solo.receive(.preVoteResponse, from: 2, term: 1)
        solo.receive(.preVoteResponse, from: 2, term: 1)
        #expect(solo.core.role == .preCandidate, "one voter, one vote")
        solo.receive(.preVoteResponse, from: 3, term: 1)
        solo.complete()
        solo.receive(.voteResponse, from: 2, term: 1)
        solo.tick(8)
        #expect(solo.core.role == .preCandidate && solo.core.term == 1)
        solo.receive(.voteResponse, from: 3, term: 1)
        #expect(solo.core.role == .preCandidate)
    }

    @Test func preVoteChangesNothingAndIsRefusedUnderALease() {
        var solo = Solo()
        solo.receive(.preVote, from: 3, term: 1)
        #expect(solo.core.term == 0 && solo.core.vote == nil && solo.ready.hardState == nil)
        let granted = solo.drain().messages.of(.preVoteResponse, to: 3)
        #expect(granted.map(\.reject) == [false] && granted.map(\.term) == [1])
        solo.append(term: 1, after: 0, 0)
        solo.complete()
        solo.receive(.preVote, from: 3, term: 2)
        #expect(solo.ready.messages.isEmpty && solo.core.term == 1)
        solo.receive(.vote, from: 3, term: 2)
        #expect(solo.core.term == 1 && solo.ready.afterDurable.isEmpty)
        solo.receive(.vote, from: 3, term: 2) { $0.force = true }
        #expect(solo.core.term == 2, "a transfer ignores the lease")
    }

    @Test func preCandidateForgetsTheLeader() {
        var solo = Solo()
        solo.append(term: 1, after: 0, 0)
        solo.tick(30)
        #expect(solo.core.role == .preCandidate && solo.core.leader == nil)
        #expect(solo.ready.messages.of(.preVote).allSatisfy { $0.term == 2 })
    }

    @Test func laggardWithAHigherTermIsNotStuck() {
        // Node 3 has a newer term and a shorter log; node 2 is gone.
        var cluster = Cluster(size: 3, seed: 5)
        cluster.elect(1)
        cluster[3].term = 7
        cluster.isCut = { $0 == NodeID(2) || $1 == NodeID(2) }
        cluster.tick(150)
        #expect(cluster[1].role == .leader || cluster[3].role == .leader)
    }

    @Test func deposedLeaderLearnsTheTerm() {
        var solo = Solo(hardState: HardState(term: 4))
        solo.append(term: 3, after: 0, 0, [3])
        #expect(solo.core.lastIndex == 0)
        #expect(solo.ready.messages.of(.heartbeatResponse).map(\.term) == [4])
    }

    @Test func leaderWithoutAQuorumStepsDown() {
        var solo = Solo()
        solo.leadAndCommit()
        // One hears it, the other not: with itself that is a majority.
        for _ in 0..<10 {
            solo.tick(5)
            solo.receive(.heartbeatResponse, from: 2, term: solo.core.term)
        }
        #expect(solo.core.role == .leader)
        solo.tick(30)
        #expect(solo.core.role == .follower && solo.core.leader == nil)
    }

    @Test func bridgeNodeDoesNotKeepAnOldLeaderAlive() {
        // 5 nodes; the leader reaches only node 2, and 2 hears everybody.
        var cluster = Cluster(size: 5, seed: 11)
        cluster.elect(1)
        cluster.isCut = { from, to in
            (from == NodeID(1) && to != NodeID(2)) || (to == NodeID(1) && from != NodeID(2))
        }
        cluster.tick(150)
        #expect(cluster[1].role != .leader)
        #expect((2...5).contains { cluster[$0].role == .leader })
    }

    @Test func isolatedMemberDoesNotDisturb() {
        var cluster = Cluster(size: 3, seed: 3)
        cluster.elect(1)
        cluster.isCut = { $0 == NodeID(3) || $1 == NodeID(3) }
        cluster.tick(200)
        #expect(cluster[3].term == 1, "PreVote keeps its term")
        cluster.isCut = { _, _ in false }
        cluster.tick(50)
        #expect(cluster[1].role == .leader && cluster[1].term == 1 && cluster[3].leader == NodeID(1))
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func lostConnectionStartsAnElectionSoon(seed: UInt64) {
        var cluster = Cluster(size: 3, seed: seed)
        cluster.elect(1)
        cluster.isCut = { $0 == NodeID(1) || $1 == NodeID(1) }
        cluster.step(2, .forgetLeader)
        cluster.step(3, .forgetLeader)
        cluster.tick(60)
        #expect([2, 3].contains { cluster[$0].role == .leader }, "seed \(seed)")
    }

    @Test func falseAlarmIsHarmless() {
        var cluster = Cluster(size: 3, seed: 4)
        cluster.elect(1)
        cluster.step(2, .forgetLeader)
        cluster.tick(40)
        #expect(cluster[1].role == .leader && cluster[1].term == 1 && cluster[2].leader == NodeID(1))
    }

    @Test func retriesComeSoonerThanLossAndBackOff() {
        let settings = RaftCore.Settings()
        for seed in 0..<50 as Range<UInt64> {
            var solo = Solo(seed: seed)
            #expect((15..<30).contains(solo.core.electionTimeout))
            var limits = [3..<8, 6..<16, 12..<30, 15..<30, 15..<30]
            while !limits.isEmpty {
                solo.step(.campaign)
                #expect(limits.removeFirst().contains(solo.core.electionTimeout), "seed \(seed)")
            }
            solo.append(term: 1, after: 0, 0)
            #expect(solo.core.electionTimeout >= settings.lossTicks)
        }
    }

    @Test func stuckDiskGivesUpLeadership() {
        var cluster = Cluster(size: 3, seed: 9)
        cluster.elect(1)
        cluster.step(1, .storageStalled)
        #expect(cluster[1].role == .follower)
        // Its own disk does nothing more; the others elect without it.
        for _ in 0..<3 {
            cluster.deliver()
            for node in [2, 3] { cluster.completeStorage(node) }
        }
        cluster.deliver()
        #expect([2, 3].contains { cluster[$0].role == .leader }, "the best follower was told to take over")
        for _ in 0..<90 { cluster.step(1, .tick) }
        #expect(cluster[1].role == .follower, "it does not campaign while stalled")
    }

    @Test func learnersVoteButNeverCampaignNorCount() throws {
        var cluster = Cluster(size: 2, learners: 1, seed: 1)
        cluster.step(3, .campaign)
        for _ in 0..<60 { cluster.step(3, .tick) }
        #expect(cluster[3].role == .follower && cluster.network.isEmpty)
        cluster.elect(1)
        cluster.isCut = { $0 == NodeID(2) || $1 == NodeID(2) }
        let index = try cluster.propose(1)
        cluster.settle()
        #expect(cluster[3].lastIndex == index && cluster[1].commitIndex < index)
        cluster.step(3, .receive(Message(.vote, from: NodeID(2), to: NodeID(3), term: 9)))
        #expect(!cluster.readies[2].afterDurable.contains { $0.kind == .voteResponse }, "lease")
    }

    @Test func transferMovesLeadershipAndHoldsProposals() throws {
        var cluster = Cluster(size: 3, seed: 2)
        cluster.elect(1)
        try cluster.propose(1)
        cluster.step(1, .transferLeadership(to: NodeID(2)))
        #expect(throws: ProposalDropped.transferring) { try cluster.propose(1) }
        cluster.settle()
        #expect(cluster[2].role == .leader && cluster[1].role == .follower && cluster[1].leader == NodeID(2))
    }

    @Test func transferToAnAbsentMemberIsGivenUp() throws {
        var cluster = Cluster(size: 3, seed: 2)
        cluster.elect(1)
        cluster.isCut = { $1 == NodeID(2) }
        cluster.step(1, .transferLeadership(to: NodeID(2)))
        cluster.tick(16)
        #expect(cluster[1].transferTarget == nil)
        try cluster.propose(1)
    }

    @Test func timeoutNowOfAnAbandonedTransferIsIgnored() throws {
        var cluster = Cluster(size: 3, seed: 2)
        cluster.elect(1)
        cluster.step(1, .transferLeadership(to: NodeID(2)))
        let order = try #require(cluster.network.of(.timeoutNow).first)
        cluster.network.removeAll()
        cluster.tick(16)
        try cluster.propose(1)
        cluster.settle()
        cluster.step(2, .receive(order))
        #expect(cluster[2].role == .follower && cluster[2].term == 1)
    }

    @Test func logAheadOfTheHardStateRestartsWithoutAVote() {
        var solo = Solo(terms: [1, 3], hardState: HardState(term: 2, vote: NodeID(3)))
        #expect(solo.core.term == 3 && solo.core.vote == nil)
        solo.append(term: 3, after: 2, 3, [3])
        solo.complete()
        #expect(solo.core.durableIndex == 3)
    }
}
