// Snapshots and compaction, rule by rule.

import Testing

@testable import Raft

@Suite struct SnapshotTests {
    private func receiveSnapshot(_ solo: inout Solo, term: Term, index: LogIndex, logTerm: Term, from: UInt64 = 2) {
        solo.receive(.snapshot, from: from, term: term) { message in
            message.index = index
            message.logTerm = logTerm
        }
    }

    @Test func compactedPeerGetsASnapshotOnceItIsHeard() {
        var solo = Solo(terms: [1, 1, 1, 1], commit: 4)
        solo.leadAndCommit()
        solo.core.compact(through: 4)
        solo.disk.log.removeAll { $0.index <= 4 }
        #expect(solo.core.snapshot == SnapshotPoint(index: 4, term: 1))
        #expect(solo.core.term(at: 3) == nil && solo.core.term(at: 4) == 1)
        solo.core.progress[1].becomeProbe()
        solo.core.progress[1].match = 0
        solo.core.progress[1].next = 1
        solo.core.progress[1].recentActive = false
        solo.step(.unreachable(NodeID(2)))
        solo.drain()
        solo.receive(.heartbeatResponse, from: 2, term: solo.core.term)
        #expect(solo.drain().snapshotsNeeded == [NodeID(2)])
        solo.receive(.heartbeatResponse, from: 2, term: solo.core.term)
        #expect(solo.drain().snapshotsNeeded.isEmpty, "one transfer at a time")
        // Failed: the next heartbeat answer asks again.
        solo.step(.snapshotFinished(NodeID(2), index: 0))
        #expect(solo.drain().snapshotsNeeded.isEmpty)
        solo.receive(.heartbeatResponse, from: 2, term: solo.core.term)
        #expect(solo.drain().snapshotsNeeded == [NodeID(2)])
        // Installed: the log goes on behind it.
        solo.step(.snapshotFinished(NodeID(2), index: 4))
        solo.acknowledge(from: 2, 4)
        #expect(solo.core.progress[1].state == .replicate)
        #expect(solo.drain().messages.of(.append, to: 2).map { $0.entries.map(\.index) } == [[5]])
    }

    @Test func acknowledgementBeforeTheReportEndsTheTransfer() {
        var solo = Solo(terms: [1, 1, 1, 1], commit: 4)
        solo.lead()
        solo.core.compact(through: 4)
        solo.core.progress[1].becomeSnapshot()
        solo.acknowledge(from: 2, 4)
        #expect(solo.core.progress[1].state == .replicate)
        let before = solo.core
        solo.step(.snapshotFinished(NodeID(2), index: 4))
        #expect(solo.core == before)
    }

    @Test func snapshotReplacesAnUnrelatedLog() {
        var solo = Solo(terms: [1, 1, 1])
        receiveSnapshot(&solo, term: 3, index: 8, logTerm: 2)
        #expect(solo.ready.snapshot == SnapshotPoint(index: 8, term: 2) && solo.ready.needsStorage)
        #expect(solo.core.lastIndex == 8 && solo.core.commitIndex == 8 && solo.ready.commit == 8)
        #expect(solo.core.durableIndex == 0)
        #expect(solo.ready.afterDurable.of(.appendResponse).map(\.index) == [8])
        solo.append(term: 3, after: 8, 2, [3])
        solo.complete()
        #expect(solo.core.durableIndex == 9 && solo.core.lastTerm == 3)
    }

    @Test func snapshotThatTheLogCoversIsNotInstalled() {
        var solo = Solo(terms: [1, 1, 1, 1], commit: 1)
        receiveSnapshot(&solo, term: 3, index: 3, logTerm: 1)
        #expect(solo.ready.snapshot == nil && solo.core.lastIndex == 4 && solo.core.commitIndex == 3)
        #expect(solo.ready.afterDurable.map(\.index) == [3])
    }

    @Test func snapshotBehindTheCommitChangesNothing() {
        var solo = Solo(terms: [1, 1, 1, 1], commit: 4)
        receiveSnapshot(&solo, term: 1, index: 2, logTerm: 1)
        #expect(solo.ready.snapshot == nil && solo.core.lastIndex == 4 && solo.core.commitIndex == 4)
        #expect(solo.ready.afterDurable.map(\.index) == [4])
    }

    @Test func twoSnapshotsInARowLeaveTheNewest() {
        var solo = Solo(terms: [1])
        receiveSnapshot(&solo, term: 2, index: 5, logTerm: 2)
        solo.append(term: 2, after: 5, 2, [2, 2])
        receiveSnapshot(&solo, term: 2, index: 9, logTerm: 2)
        #expect(solo.ready.snapshot == SnapshotPoint(index: 9, term: 2) && solo.ready.entries.isEmpty)
        #expect(solo.core.lastIndex == 9)
        receiveSnapshot(&solo, term: 2, index: 5, logTerm: 2)
        #expect(solo.ready.snapshot?.index == 9 && solo.core.lastIndex == 9)
    }

    @Test func snapshotOfADeposedLeaderIsRefused() {
        var solo = Solo(terms: [1], hardState: HardState(term: 5))
        receiveSnapshot(&solo, term: 4, index: 9, logTerm: 4)
        #expect(solo.ready.snapshot == nil && solo.core.lastIndex == 1)
        #expect(solo.ready.messages.of(.heartbeatResponse).map(\.term) == [5])
    }

    @Test func completionsFromBeforeTheSnapshotDoNotCount() {
        var solo = Solo(hardState: HardState(term: 1))
        solo.append(term: 1, after: 0, 0, [1, 1, 1])
        let first = solo.drain()
        receiveSnapshot(&solo, term: 2, index: 2, logTerm: 2)
        let second = solo.drain()
        solo.append(term: 2, after: 2, 2, [2])
        solo.report(first)
        #expect(solo.core.durableIndex == 0)
        solo.report(second)
        #expect(solo.core.durableIndex == 2)
        solo.complete()
        #expect(solo.core.durableIndex == 3)
    }
}
