// Replication, rule by rule: matching, conflicts, commit, flow control, and the completions of storage.

import Testing

@testable import Raft

@Suite struct ReplicationTests {
    // MARK: Commit

    @Test func entriesOfEarlierTermsAreNotCommittedByCounting() {
        // Paper figure 8: the entry of term 2 is on a majority, yet only an entry of the own term may commit it.
        var solo = Solo(terms: [1, 2], hardState: HardState(term: 3), commit: 1)
        solo.lead()
        solo.acknowledge(from: 2, 2)
        #expect(solo.core.commitIndex == 1)
        solo.acknowledge(from: 2, 3)
        #expect(solo.core.commitIndex == 3)
    }

    @Test func leaderCountsItselfOnlyOnceDurable() throws {
        var solo = Solo()
        solo.leadAndCommit()
        let index = try solo.propose()
        solo.drain()
        solo.acknowledge(from: 2, index)
        #expect(solo.core.commitIndex == index - 1)
        solo.acknowledge(from: 3, index)
        #expect(solo.core.commitIndex == index, "two followers are a majority without the leader's disk")
    }

    @Test func followerCommitsOnlyWhatTheMessageProved() {
        var solo = Solo(terms: [1, 1, 1, 1])
        solo.append(term: 2, after: 1, 1, [], commit: 4)
        #expect(solo.core.commitIndex == 1)
        solo.append(term: 2, after: 1, 1, [1], commit: 4)
        #expect(solo.core.commitIndex == 2)
    }

    @Test func heartbeatNamesOnlyWhatTheReceiverMatches() throws {
        var solo = Solo()
        solo.leadAndCommit()
        let index = try solo.propose()
        solo.complete()
        solo.acknowledge(from: 2, index)
        solo.drain()
        solo.tick(5)
        #expect(solo.ready.messages.of(.heartbeat, to: 2).first?.commit == index)
        #expect(solo.ready.messages.of(.heartbeat, to: 3).first?.commit == index - 1)
    }

    @Test func heartbeatBeyondTheLogDoesNotTrap() {
        var solo = Solo(terms: [1])
        solo.receive(.heartbeat, from: 2, term: 1) { $0.commit = 40 }
        #expect(solo.core.commitIndex == 0)
    }

    // MARK: Matching

    @Test func staleOrShortAppendCutsNothing() {
        var solo = Solo(terms: [1, 1, 2, 2])
        solo.append(term: 2, after: 0, 0, [1, 1])
        solo.append(term: 2, after: 2, 1)
        #expect(solo.core.lastIndex == 4 && solo.ready.truncateFrom == nil && solo.ready.entries.isEmpty)
        #expect(solo.ready.afterDurable.map(\.index) == [2, 2])
    }

    @Test func conflictCutsOnlyFromTheFirstDifference() {
        var solo = Solo(terms: [1, 1, 2, 2])
        solo.append(term: 3, after: 1, 1, [1, 3])
        #expect(solo.ready.truncateFrom == 3)
        #expect(solo.ready.entries.map(\.index) == [3] && solo.core.lastIndex == 3 && solo.core.lastTerm == 3)
    }

    @Test func purgedPredecessorIsNoConflict() {
        var solo = Solo(terms: [2, 2], base: SnapshotPoint(index: 10, term: 2), commit: 11)
        solo.append(term: 2, after: 5, 1, [1, 1, 1])
        #expect(solo.core.lastIndex == 12 && solo.ready.truncateFrom == nil)
        #expect(solo.ready.afterDurable.map(\.index) == [11] && solo.ready.afterDurable.allSatisfy { !$0.reject })
    }

    @Test func malformedAppendIsIgnored() {
        var solo = Solo()
        solo.receive(.append, from: 2, term: 1) { message in
            message.entries = [EntryHeader(index: 5, term: 1, kind: .data, byteCount: 1)]
        }
        solo.append(term: 1, after: 0, 0, [9])
        #expect(solo.core.lastIndex == 0 && solo.ready.afterDurable.isEmpty)
    }

    @Test func messagesOfStrangersAndForOthersAreIgnored() {
        var solo = Solo()
        solo.leadAndCommit()
        solo.drain()
        let before = solo.core
        solo.acknowledge(from: 9, 1)
        solo.step(.receive(Message(.heartbeat, from: NodeID(2), to: NodeID(3), term: 99)))
        #expect(solo.core == before && solo.ready.messages.isEmpty)
    }

    @Test(
        arguments: [
            ([1, 4, 4, 5, 5, 6, 6, 6], [1, 4, 4, 5, 5, 6, 6, 6, 6]), ([1, 4, 4, 5, 5, 6, 6, 6], [1, 4, 4, 5]),
            ([1, 4, 4, 5, 5, 6, 6, 6], [1, 4, 4, 5, 5, 6, 6, 6, 7, 7]), ([1, 4, 4, 5, 5, 6, 6, 6], [1, 4, 4, 4, 4]),
            ([1, 4, 4, 5, 5, 6, 6, 6], [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]), ([9], Array(repeating: 2, count: 50)),
            (Array(repeating: 9, count: 50), [2]),
        ] as [([Term], [Term])])
    func logsOfFigure7ConvergeInFewRounds(leader: [Term], follower: [Term]) {
        var leading = Solo(voters: 3, terms: leader, hardState: HardState(term: 20))
        leading.lead()
        var following = Solo(voters: 3, terms: follower, hardState: HardState(term: 20))
        var rounds = 0
        var lowestSent = LogIndex.max
        // The follower plays node 2: its core has id 1, so the messages are readdressed.
        leading.receive(.heartbeatResponse, from: 2, term: leading.core.term)
        while following.core.lastIndex != leading.core.lastIndex || following.core.lastTerm != leading.core.lastTerm {
            rounds += 1
            if rounds > 12 { break }
            for var message in leading.drain().messages.of(.append, to: 2) {
                if let first = message.entries.first { lowestSent = min(lowestSent, first.index) }
                (message.from, message.to) = (NodeID(2), NodeID(1))
                following.step(.receive(message))
            }
            let answers = following.complete().afterDurable
            for var message in answers {
                (message.from, message.to) = (NodeID(2), NodeID(1))
                leading.step(.receive(message))
            }
            leading.receive(.heartbeatResponse, from: 2, term: leading.core.term)
        }
        #expect(rounds <= 6, "\(leader) and \(follower) took \(rounds) rounds")
        let common = zip(leader, follower).prefix { $0 == $1 }.count
        #expect(lowestSent > LogIndex(common), "entries that both have were sent again")
    }

    // MARK: Returning

    /// Issue 15, 7.1: what was acknowledged before the probe says nothing about what the connection still holds.
    @Test func lateAcknowledgementsDoNotEndAProbe() throws {
        var solo = Solo()
        solo.leadAndCommit()
        solo.acknowledge(from: 3, solo.core.lastIndex)
        solo.drain()
        for _ in 0..<10 { try solo.propose(bytes: 16 << 10) }
        let before = try #require(solo.drain().messages.of(.append, to: 3).first)
        solo.step(.unreachable(NodeID(3)))
        solo.receive(.heartbeatResponse, from: 3, term: solo.core.term)
        let probe = try #require(solo.drain().messages.of(.append, to: 3).first)
        #expect(probe.entries.isEmpty && probe.context != before.context)
        for index in before.index + 1...before.index + 5 {
            solo.receive(.appendResponse, from: 3, term: solo.core.term) {
                $0.index = index
                $0.context = before.context
            }
        }
        #expect(solo.drain().messages.of(.append, to: 3).flatMap(\.entries).isEmpty, "the probe is not answered")
        // Its own answer, behind those, tells no more than that the way is open.
        solo.receive(.appendResponse, from: 3, term: solo.core.term) {
            $0.index = probe.index
            $0.context = probe.context
        }
        let entries = solo.drain().messages.of(.append, to: 3).flatMap(\.entries)
        #expect(entries.map(\.index) == Array(before.index + 6...solo.core.lastIndex))
    }

    /// Issue 15, 7.1: the leader that sent this has not heard what the follower acknowledged meanwhile.
    @Test func anAppendFromBeforeTheCommitIndexBringsWhatIsBehindTheLog() {
        var solo = Solo(terms: [1, 1, 2], commit: 2)
        solo.append(term: 2, after: 0, 0, [1, 1, 2, 2, 2], commit: 4)
        #expect(solo.ready.entries.map(\.index) == [4, 5] && solo.core.lastIndex == 5)
        #expect(solo.ready.truncateFrom == nil && solo.core.commitIndex == 4)
        #expect(solo.ready.afterDurable.map(\.index) == [5])
    }

    @Test func anAppendFromBelowTheLogsStartBringsWhatIsBehindTheLog() {
        var solo = Solo(terms: [2, 2], base: SnapshotPoint(index: 10, term: 2), commit: 11)
        solo.append(term: 2, after: 9, 2, [2, 2, 2, 2, 2])
        #expect(solo.ready.entries.map(\.index) == [13, 14] && solo.core.lastIndex == 14)
        #expect(solo.ready.afterDurable.map(\.index) == [14])
    }

    // MARK: Storage

    @Test func acknowledgementsWaitForTheDisk() {
        var solo = Solo()
        solo.append(term: 1, after: 0, 0, [1, 1])
        #expect(solo.ready.messages.isEmpty && solo.ready.needsStorage)
        #expect(solo.ready.afterDurable.of(.appendResponse).map(\.index) == [2])
    }

    @Test func overwrittenWriteIsNotTakenForTheNewOne() {
        var solo = Solo(hardState: HardState(term: 1))
        solo.append(term: 1, after: 0, 0, [1, 1, 1])
        let first = solo.drain()
        solo.append(term: 2, after: 1, 1, [2, 2])
        let second = solo.drain()
        solo.report(first)
        #expect(solo.core.durableIndex < 2, "3@1 is not the 3@2 that the log has now")
        solo.report(second)
        #expect(solo.core.durableIndex == 3)
    }

    @Test func entryThatCameBackIsNotDurableBeforeItsSecondWrite() {
        // A, B, A: the completion of the first A arrives when the disk is about to hold B.
        var solo = Solo(hardState: HardState(term: 1))
        solo.append(term: 1, after: 0, 0, [1, 1])
        let first = solo.drain()
        solo.append(term: 2, after: 0, 0, [2])
        let second = solo.drain()
        solo.append(term: 3, after: 0, 0, [1, 1])
        let third = solo.drain()
        solo.report(first)
        #expect(solo.core.durableIndex == 0)
        solo.report(second)
        #expect(solo.core.durableIndex == 0)
        solo.report(third)
        #expect(solo.core.durableIndex == 2)
    }

    @Test func termChangeLosesNoCompletion() {
        var solo = Solo(hardState: HardState(term: 1))
        solo.append(term: 1, after: 0, 0, [1, 1])
        let first = solo.drain()
        solo.receive(.heartbeat, from: 3, term: 2)
        solo.report(first)
        #expect(solo.core.durableIndex == 2)
    }

    @Test func cutTakesBackWhatWasNotDrained() throws {
        var solo = Solo()
        solo.leadAndCommit()
        try solo.propose(count: 2)
        solo.append(term: 9, after: 1, 1, [9])
        #expect(solo.ready.truncateFrom == 2)
        #expect(solo.ready.entries.map(\.term) == [9])
        #expect(solo.ready.messages.of(.append).isEmpty, "the host has no bytes for these entries any more")
        #expect(solo.ready.afterDurable.map(\.index) == [2])
    }

    @Test func cutTakesBackAcknowledgementsOfVoidEntries() {
        var solo = Solo(hardState: HardState(term: 1))
        solo.append(term: 1, after: 0, 0, [1])
        solo.append(term: 1, after: 1, 1, [1, 1])
        solo.append(from: 3, term: 2, after: 1, 1, [2])
        let answers = solo.ready.afterDurable.of(.appendResponse)
        #expect(answers.map(\.index) == [1, 2] && answers.map(\.term) == [1, 2])
    }

    @Test func secondCutKeepsTheLowerOne() {
        var solo = Solo(terms: [1, 1, 1, 1])
        solo.append(term: 2, after: 1, 1, [2, 2, 2])
        solo.append(from: 3, term: 3, after: 3, 2, [3])
        #expect(solo.ready.truncateFrom == 2)
        #expect(solo.ready.entries.map(\.term) == [2, 2, 3])
        #expect(solo.ready.entries.map(\.index) == [2, 3, 4])
    }

    @Test func undrainedEntriesAreNotAskedOfTheReader() throws {
        var solo = Solo()
        solo.leadAndCommit()
        // The test's reader answers `.compacted` for entries it does not know, which would show as a snapshot request.
        solo.disk.log.removeAll()
        try solo.propose()
        try solo.propose(count: 2)
        solo.acknowledge(from: 2, 2)
        #expect(solo.ready.snapshotsNeeded.isEmpty)
        #expect(solo.ready.messages.of(.append, to: 2).flatMap { $0.entries.map(\.index) } == [2, 3, 4])
    }

    // MARK: Flow control

    @Test func probesOneAtATimeAndAHeartbeatAnswerResumes() throws {
        var solo = Solo()
        solo.lead()
        try solo.propose()
        solo.drain()
        try solo.propose()
        #expect(solo.drain().messages.of(.append, to: 2).isEmpty, "the probe with the no-op is out")
        solo.receive(.heartbeatResponse, from: 2, term: 1)
        #expect(solo.drain().messages.of(.append, to: 2).map { $0.entries.count } == [3])
    }

    @Test func windowBoundsMessagesAndBytes() throws {
        var settings = RaftCore.Settings()
        settings.inflightMessagesMax = 3
        settings.inflightBytesMax = 100
        var solo = Solo(settings: settings)
        solo.leadAndCommit()
        solo.drain()
        for _ in 0..<6 {
            try solo.propose(bytes: 1)
            solo.drain()
        }
        #expect(solo.core.progress[1].window.sent.count == 3)
        solo.acknowledge(from: 2, 2)
        #expect(solo.drain().messages.of(.append, to: 2).map(\.entries.count) == [3], "one place, all that waits")
        solo.acknowledge(from: 2, 7)
        try solo.propose(bytes: 100)
        solo.drain()
        try solo.propose(bytes: 1)
        #expect(solo.drain().messages.of(.append, to: 2).isEmpty, "100 bytes are in flight")
    }

    @Test func fullWindowWithLostAnswersRecovers() throws {
        var settings = RaftCore.Settings()
        settings.inflightMessagesMax = 2
        var cluster = Cluster(size: 3, seed: 1, settings: settings)
        cluster.elect(1)
        cluster.isCut = { $0 == NodeID(2) || $1 == NodeID(2) }
        for _ in 0..<6 {
            try cluster.propose(1)
            cluster.settle()
        }
        cluster.isCut = { _, _ in false }
        cluster.tick(20)
        #expect(cluster[2].lastIndex == 7 && cluster[2].commitIndex == 7)
    }

    @Test func messagesAreCutByBytesButNeverEmpty() throws {
        var settings = RaftCore.Settings()
        settings.appendBytesMax = 25
        var solo = Solo(settings: settings)
        solo.leadAndCommit()
        solo.drain()
        try solo.propose(count: 5, bytes: 10)
        try solo.propose(bytes: 1000)
        #expect(solo.drain().messages.of(.append, to: 3).map { $0.entries.count } == [2, 2, 1, 1])
    }

    @Test func staleAnswersDoNotMoveProgressBack() throws {
        var solo = Solo()
        solo.leadAndCommit()
        for _ in 0..<4 { try solo.propose() }
        solo.drain()
        solo.acknowledge(from: 2, 4)
        let before = solo.core
        solo.acknowledge(from: 2, 2)
        solo.receive(.appendResponse, from: 2, term: 1) { message in
            message.index = 3
            message.reject = true
        }
        #expect(solo.core == before)
        solo.acknowledge(from: 2, 99)
        #expect(solo.core == before, "nobody has more than the leader")
    }

    /// Issue 15, 7.1: a follower stood still, its link was given up, and its answers to 500 heartbeats come at once.
    @Test(arguments: [false, true])
    func lateHeartbeatAnswersDoNotSendTheSameEntriesAgain(linkBroke: Bool) throws {
        var solo = Solo()
        solo.leadAndCommit()
        solo.acknowledge(from: 2, 1)
        solo.drain()
        var lacking = 0
        for _ in 0..<500 {
            try solo.propose(count: 1, bytes: 1000)
            lacking += 1000
            solo.tick(5)
            solo.acknowledge(from: 3, solo.core.lastIndex)
            solo.complete()
        }
        if linkBroke { solo.step(.unreachable(NodeID(2))) }
        var sent = 0
        var answers: [Message] = []
        func count(_ ready: Ready) {
            for append in ready.messages.of(.append, to: 2) {
                sent += append.entries.reduce(0) { $0 + Int($1.byteCount) }
                answers.append(append)
            }
        }
        for _ in 0..<500 {
            solo.receive(.heartbeatResponse, from: 2, term: solo.core.term)
            count(solo.complete())
        }
        // Nothing of what was sent before arrived: it rejects what does not fit, and takes the rest.
        var last: LogIndex = 1
        for _ in 0..<5000 where !answers.isEmpty {
            let append = answers.removeFirst()
            solo.receive(.appendResponse, from: 2, term: solo.core.term) { answer in
                answer.context = append.context
                answer.reject = append.index > last
                answer.index = append.index
                if answer.reject { (answer.rejectHint, answer.logTerm) = (last, 1) }
                last = max(last, answer.reject ? 0 : append.index + LogIndex(append.entries.count))
                if !answer.reject { answer.index = append.index + LogIndex(append.entries.count) }
            }
            // More late answers in between.
            solo.receive(.heartbeatResponse, from: 2, term: solo.core.term)
            count(solo.complete())
        }
        #expect(solo.core.matchIndex(of: NodeID(2)) == solo.core.lastIndex)
        #expect(Double(sent) < 1.5 * Double(lacking), "\(sent) bytes for \(lacking)")
    }

    @Test func lostMessageFallsBackToProbing() throws {
        var solo = Solo()
        solo.leadAndCommit()
        solo.drain()
        try solo.propose()
        solo.drain()
        solo.step(.unreachable(NodeID(2)))
        #expect(solo.core.progress[1].state == .probe && solo.core.progress[1].next == 2)
        solo.receive(.heartbeatResponse, from: 2, term: 1)
        #expect(solo.drain().messages.of(.append, to: 2).map { $0.entries.count } == [1])
    }

    @Test func pendingEntriesAreSentWhenAvailable() {
        var solo = Solo(terms: [1, 1, 1])
        solo.lead()
        solo.disk.pendingThrough = 3
        solo.receive(.appendResponse, from: 2, term: 2) { message in
            message.index = 3
            message.reject = true
        }
        #expect(solo.drain().messages.of(.append, to: 2).isEmpty)
        solo.disk.pendingThrough = 0
        solo.step(.entriesAvailable)
        #expect(solo.drain().messages.of(.append, to: 2).map { $0.entries.count } == [4])
    }

    @Test func pendingEntriesAreAskedForAgainAfterAHeartbeat() {
        var solo = Solo(terms: [1, 1, 1])
        solo.lead()
        solo.disk.pendingThrough = 3
        solo.receive(.appendResponse, from: 2, term: 2) { message in
            message.index = 3
            message.reject = true
        }
        solo.drain()
        solo.disk.pendingThrough = 0
        solo.receive(.heartbeatResponse, from: 2, term: 2)
        #expect(solo.drain().messages.of(.append, to: 2).map { $0.entries.count } == [4])
    }

    @Test func damagedPositionsDoNotTrap() {
        for kind in Message.Kind.allCases {
            for role in 0..<2 {
                var solo = Solo(terms: [1, 1])
                if role == 1 { solo.leadAndCommit() }
                let before = solo.core
                solo.receive(kind, from: 2, term: .max)
                for isReject in [false, true] {
                    solo.receive(kind, from: 2, term: solo.core.term) { message in
                        message.index = .max
                        message.rejectHint = .max
                        message.reject = isReject
                    }
                }
                #expect(solo.core == before)
            }
        }
    }

    @Test func uncommittedBytesAreBounded() throws {
        var settings = RaftCore.Settings()
        settings.uncommittedBytesMax = 300
        var solo = Solo(settings: settings)
        solo.leadAndCommit()
        try solo.propose(bytes: 1000)
        #expect(throws: ProposalDropped.overloaded) { try solo.propose(bytes: 0) }
        let index = solo.core.lastIndex
        solo.acknowledge(from: 2, index)
        solo.acknowledge(from: 3, index)
        #expect(solo.core.commitIndex == index)
        try solo.propose(count: 9, bytes: 0)
        #expect(throws: ProposalDropped.overloaded) { try solo.propose(bytes: 0) }
    }

    @Test func proposalsElsewhereNameTheLeader() {
        var solo = Solo()
        #expect(throws: ProposalDropped.notLeader(leader: nil)) { try solo.propose() }
        solo.append(term: 1, after: 0, 0)
        #expect(throws: ProposalDropped.notLeader(leader: NodeID(2))) { try solo.propose() }
    }

    @Test func followersLearnACommitWithoutWaitingForMore() throws {
        var solo = Solo()
        solo.leadAndCommit()
        solo.drain()
        let index = try solo.propose()
        solo.complete()
        solo.acknowledge(from: 2, index)
        let sent = solo.drain().messages.of(.append)
        #expect(sent.map(\.commit) == [index, index] && sent.allSatisfy { $0.entries.isEmpty })
    }
}
