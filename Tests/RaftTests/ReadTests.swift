// ReadIndex, rule by rule.

import Testing

@testable import Raft

@Suite struct ReadTests {
    private func echo(_ solo: inout Solo, from: UInt64, _ context: UInt64) {
        solo.receive(.heartbeatResponse, from: from, term: solo.core.term) { $0.context = context }
    }

    @Test func soleVoterConfirmsAtOnce() {
        var solo = Solo(voters: 1)
        solo.step(.campaign)
        solo.complete()
        #expect(solo.core.role == .leader)
        solo.step(.readIndex(context: 1))
        #expect(solo.ready.reads.isEmpty, "its no-op is not durable")
        solo.complete()
        #expect(solo.ready.reads == [ReadState(context: 1, index: 1)])
    }

    @Test func waitsForACommitOfTheOwnTerm() {
        var solo = Solo(terms: [1, 1], commit: 1)
        solo.lead()
        solo.step(.readIndex(context: 7))
        #expect(solo.ready.messages.of(.heartbeat).isEmpty)
        solo.acknowledge(from: 2, 3)
        let round = solo.drain().messages.of(.heartbeat, to: 2)
        #expect(round.map(\.context) == [1])
        echo(&solo, from: 2, 1)
        #expect(solo.ready.reads == [ReadState(context: 7, index: 3)])
    }

    @Test func oneRoundServesAllThatCameBeforeItAndNoneAfter() {
        var solo = Solo()
        solo.leadAndCommit()
        solo.drain()
        solo.step(.readIndex(context: 1))
        #expect(solo.drain().messages.of(.heartbeat, to: 2).map(\.context) == [1])
        solo.step(.readIndex(context: 2))
        solo.step(.readIndex(context: 3))
        #expect(solo.drain().messages.isEmpty, "they wait for the next round")
        echo(&solo, from: 3, 1)
        let drained = solo.drain()
        #expect(drained.reads.map(\.context) == [1])
        #expect(drained.messages.of(.heartbeat, to: 3).map(\.context) == [3])
        echo(&solo, from: 2, 1)
        #expect(solo.drain().reads.isEmpty, "an old echo confirms nothing new")
        echo(&solo, from: 2, 3)
        #expect(solo.drain().reads.map(\.context) == [2, 3])
    }

    @Test func needsAMajorityOfFive() {
        var solo = Solo(voters: 5)
        solo.leadAndCommit()
        solo.step(.readIndex(context: 1))
        echo(&solo, from: 2, 1)
        echo(&solo, from: 2, 1)
        #expect(solo.ready.reads.isEmpty)
        echo(&solo, from: 9, 1)
        #expect(solo.ready.reads.isEmpty)
        echo(&solo, from: 5, 1)
        #expect(solo.ready.reads.count == 1)
    }

    @Test func lostRoundIsRepeatedWithTheNextHeartbeat() {
        var solo = Solo()
        solo.leadAndCommit()
        solo.step(.readIndex(context: 1))
        solo.step(.readIndex(context: 2))
        solo.drain()
        solo.tick(5)
        #expect(solo.drain().messages.of(.heartbeat, to: 2).map(\.context) == [2])
        echo(&solo, from: 2, 2)
        #expect(solo.ready.reads.map(\.context) == [1, 2])
    }

    @Test func readsDieWithTheLeadership() {
        var solo = Solo()
        solo.leadAndCommit()
        solo.step(.readIndex(context: 1))
        solo.receive(.readIndex, from: 3, term: 1) { $0.context = 8 }
        solo.drain()
        solo.receive(.heartbeat, from: 2, term: 2)
        let drained = solo.drain()
        #expect(drained.droppedReads == [1] && drained.reads.isEmpty)
        #expect(drained.messages.of(.readIndexResponse, to: 3).map(\.reject) == [true])
        solo.leadAndCommit()
        solo.drain()
        solo.step(.readIndex(context: 2))
        solo.drain()
        echo(&solo, from: 2, 0)
        solo.receive(.heartbeatResponse, from: 2, term: 1) { $0.context = 1 }
        #expect(solo.drain().reads.isEmpty, "an echo of an earlier term confirms nothing")
    }

    @Test func followersReadThroughTheLeader() {
        var cluster = Cluster(size: 3, seed: 1)
        cluster.elect(1)
        cluster.step(2, .readIndex(context: 5))
        #expect(cluster.network.of(.readIndex).map(\.to) == [NodeID(1)])
        while !cluster.network.isEmpty { cluster.deliver() }
        #expect(cluster.readies[1].reads == [ReadState(context: 5, index: 1)])
    }

    @Test func forwardedReadsAreDroppedOnLossAndSilence() {
        var solo = Solo()
        solo.step(.readIndex(context: 1))
        #expect(solo.drain().droppedReads == [1], "no leader")
        solo.append(term: 1, after: 0, 0)
        solo.step(.readIndex(context: 2))
        solo.receive(.heartbeat, from: 3, term: 2)
        #expect(solo.drain().droppedReads == [2], "another leader")
        solo.step(.readIndex(context: 3))
        for _ in 0..<15 {
            solo.receive(.heartbeat, from: 3, term: 2)
            solo.tick(1)
        }
        #expect(solo.drain().droppedReads == [3], "no answer")
        solo.receive(.readIndexResponse, from: 3, term: 2) { $0.context = 3 }
        #expect(solo.drain().reads.isEmpty, "too late")
        solo.step(.readIndex(context: 4))
        solo.receive(.readIndexResponse, from: 3, term: 2) { message in
            message.context = 4
            message.reject = true
        }
        #expect(solo.drain().droppedReads == [4], "refused")
    }

    @Test func pendingReadsAreBounded() {
        var settings = RaftCore.Settings()
        settings.readsPendingMax = 2
        var solo = Solo(settings: settings)
        solo.leadAndCommit()
        for context in 1...3 as ClosedRange<UInt64> { solo.step(.readIndex(context: context)) }
        #expect(solo.ready.droppedReads == [3])
    }

    @Test func learnerEchoesConfirmNothing() {
        var solo = Solo(voters: 3, learners: 2)
        solo.leadAndCommit()
        solo.step(.readIndex(context: 1))
        echo(&solo, from: 4, 1)
        echo(&solo, from: 5, 1)
        #expect(solo.ready.reads.isEmpty)
    }

    /// In sleep nobody counts a lease's age.
    @Test func aLeaseEndsWhenTheGroupFallsAsleep() {
        var settings = RaftCore.Settings()
        settings.leaseReads = true
        settings.quiesceTicks = 12
        var solo = Solo(settings: settings)
        // Until then it may have promised its help to somebody before it started.
        solo.tick(settings.lossTicks)
        solo.drain()
        solo.leadAndCommit()
        solo.step(.applied(solo.core.lastIndex))
        var heldOnce = false
        for _ in 0..<40 where !solo.core.isAsleep {
            solo.step(.tick)
            for heartbeat in solo.complete().messages.of(.heartbeat) where !heartbeat.force {
                echo(&solo, from: heartbeat.to.rawValue, heartbeat.context)
            }
            heldOnce = heldOnce || solo.core.holdsLease
        }
        #expect(solo.core.isAsleep && heldOnce)
        solo.step(.readIndex(context: 1))
        #expect(!solo.core.isAsleep && !solo.core.holdsLease)
    }
}
