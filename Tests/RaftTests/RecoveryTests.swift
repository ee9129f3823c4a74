// Members whose log lost entries, and the commit index in hard states, rule by rule. The conversations are in
// Scenarios/24-* and Scenarios/23-*.

import Testing

@testable import Raft

@Suite struct RecoveryTests {
    private func damaged(terms: [Term] = [1], commit: LogIndex = 0, isMarked: Bool = true) -> Solo {
        var starts: [TermStart] = []
        if !terms.isEmpty { starts.append(TermStart(index: 1, term: 1)) }
        var solo = Solo(terms: terms)
        var restored = RaftCore.Restored(
            hardState: HardState(term: 1, commit: commit, isRecovering: isMarked), lastIndex: UInt64(terms.count),
            termStarts: starts)
        restored.isDamaged = !isMarked
        let voters = [NodeID(1), NodeID(2), NodeID(3)]
        solo.core = RaftCore(
            id: NodeID(1), voters: voters, restored: restored, settings: RaftCore.Settings(), seed: 7)
        return solo
    }

    @Test func givesNoVoteAndDoesNotCampaign() {
        var solo = damaged()
        solo.receive(.preVote, from: 2, term: 2) { ($0.index, $0.logTerm) = (9, 1) }
        #expect(solo.drain().messages.of(.preVoteResponse, to: 2).filter { !$0.reject }.isEmpty)
        solo.receive(.vote, from: 2, term: 2) { ($0.index, $0.logTerm) = (9, 1) }
        #expect(solo.complete().afterDurable.of(.voteResponse, to: 2).map(\.reject) == [true])
        solo.tick(100)
        solo.step(.campaign)
        solo.receive(.timeoutNow, from: 2, term: 2)
        #expect(solo.core.role == .follower && solo.core.isRecovering)
    }

    @Test func theMarkIsOnDiskBeforeTheLogGrows() {
        var solo = damaged(isMarked: false)
        solo.append(term: 1, after: 1, 1, [1])
        #expect(solo.ready.entries.isEmpty && solo.ready.hardState?.isRecovering == true)
        solo.complete()
        solo.append(term: 1, after: 1, 1, [1])
        #expect(solo.ready.entries.count == 1)
    }

    @Test func aCommitBeyondTheLogIsEvidence() {
        let restored = RaftCore.Restored(
            hardState: HardState(term: 1, commit: 5), lastIndex: 2, termStarts: [TermStart(index: 1, term: 1)])
        let core = RaftCore(
            id: NodeID(1), voters: [NodeID(1), NodeID(2)], restored: restored, settings: RaftCore.Settings(), seed: 1)
        #expect(core.isRecovering && core.commitIndex == 0)
    }

    @Test func isWholeOnlyByAnAnswerToItsOwnQuestion() throws {
        var solo = damaged()
        solo.receive(.heartbeat, from: 2, term: 1)
        let question = try #require(solo.complete().afterDurable.of(.appendResponse, to: 2).first)
        #expect(question.reject && question.force && question.index == 0 && question.commit != 0)
        func append(_ number: UInt64, after index: LogIndex) -> Ready {
            solo.receive(.append, from: 2, term: 1) { append in
                (append.index, append.logTerm, append.context, append.rejectHint) = (index, 1, number, 2)
                append.entries = [EntryHeader(index: index + 1, term: 1, kind: .data, byteCount: 1)]
            }
            return solo.complete()
        }
        _ = append(question.commit &+ 1 << 24, after: 1)
        #expect(solo.core.isRecovering, "from before")
        let last = append(question.commit | 3, after: 2)
        #expect(!solo.core.isRecovering)
        #expect(last.hardState?.isRecovering == false)
    }

    @Test func theLeaderSendsAgainWhatWasAcknowledgedBeforeTheLoss() {
        var solo = Solo(terms: [1, 1, 1])
        solo.leadAndCommit()
        solo.drain()
        solo.receive(.appendResponse, from: 2, term: solo.core.term) { answer in
            (answer.reject, answer.force, answer.commit, answer.rejectHint) = (true, true, 5 << 24, 1)
            answer.logTerm = 1
        }
        #expect(solo.core.matchIndex(of: NodeID(2)) == 0)
        let append = solo.drain().messages.of(.append, to: 2)
        #expect(append.map(\.index) == [1] && append.map(\.rejectHint) == [4])
        #expect(solo.core.successor { $0 == NodeID(2) } == nil)
        solo.acknowledge(from: 2, 4)
        #expect(solo.core.matchIndex(of: NodeID(2)) == 0, "it is from before the loss")
    }

    @Test func commitRidesAlongAndNeedsNoWriteOfItsOwn() throws {
        var solo = Solo()
        solo.leadAndCommit()
        try solo.propose()
        solo.complete()
        solo.acknowledge(from: 2, 2)
        #expect(solo.core.commitIndex == 2 && solo.complete().hardState == nil)
        solo.receive(.appendResponse, from: 3, term: 7)
        #expect(solo.complete().hardState == HardState(term: 7, commit: 2))
    }

    @Test func aChangeIsHeldBackUntilItsCommitIsDurable() throws {
        var solo = Solo()
        solo.leadAndCommit()
        solo.step(.applied(1))
        let index = try solo.propose(ConfigurationChange([.init(.addVoter, NodeID(4))]))
        solo.complete()
        solo.acknowledge(from: 2, index)
        #expect(solo.core.commitIndex == index && solo.core.applicableIndex == index - 1)
        let drained = solo.drain()
        #expect(drained.hardState?.commit == index && drained.commit == nil)
        solo.report(drained)
        #expect(solo.ready.commit == index && solo.core.applicableIndex == index)
    }
}
