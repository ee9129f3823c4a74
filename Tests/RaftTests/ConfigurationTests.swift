// Changes of the members: what a change does to a configuration, and how a group lives through one, by single rules.

import Testing

@testable import Raft

private typealias Change = ConfigurationChange

private func nodes(_ numbers: UInt64...) -> [NodeID] { numbers.map { NodeID($0) } }

@Suite struct ConfigurationTests {
    @Test func oneStepIsSimple() throws {
        let start = Configuration(voters: nodes(1, 2, 3))
        let added = try start.applying(Change([.init(.addVoter, NodeID(4))]))
        #expect(added == Configuration(voters: nodes(1, 2, 3, 4)))
        let learner = try added.applying(Change([.init(.addLearner, NodeID(2))]))
        #expect(learner == Configuration(voters: nodes(1, 3, 4), learners: nodes(2)))
        let promoted = try learner.applying(Change([.init(.addVoter, NodeID(2))]))
        #expect(promoted == added)
        #expect(try promoted.applying(Change([.init(.remove, NodeID(4))])) == start)
    }

    @Test func severalStepsAreJoint() throws {
        let start = Configuration(voters: nodes(1, 2, 3), learners: nodes(9))
        let joint = try start.applying(
            Change([.init(.addVoter, NodeID(4)), .init(.addLearner, NodeID(1)), .init(.remove, NodeID(9))]))
        #expect(joint.isJoint && joint.leavesAutomatically)
        #expect(joint.voters == nodes(2, 3, 4) && joint.outgoing == nodes(1, 2, 3))
        #expect(joint.learners.isEmpty && joint.learnersNext == nodes(1), "a demoted voter waits")
        #expect(joint.members == nodes(1, 2, 3, 4))
        #expect(try joint.applying(.leave) == Configuration(voters: nodes(2, 3, 4), learners: nodes(1)))
    }

    @Test func transitionsAreAsAskedFor() throws {
        let start = Configuration(voters: nodes(1, 2, 3))
        let implicit = try start.applying(Change([.init(.addVoter, NodeID(4))], transition: .implicit))
        #expect(implicit.isJoint && implicit.leavesAutomatically)
        let explicit = try start.applying(Change([.init(.addVoter, NodeID(4))], transition: .explicit))
        #expect(explicit.isJoint && !explicit.leavesAutomatically)
    }

    @Test func refusesWhatCanNotBe() throws {
        let start = Configuration(voters: nodes(1))
        #expect(throws: ConfigurationRefused.notJoint) { try start.applying(.leave) }
        #expect(throws: ConfigurationRefused.noVoters) { try start.applying(Change([.init(.remove, NodeID(1))])) }
        #expect(throws: ConfigurationRefused.nodeZero) { try start.applying(Change([.init(.addVoter, NodeID(0))])) }
        let joint = try start.applying(Change([.init(.addVoter, NodeID(2))], transition: .explicit))
        #expect(throws: ConfigurationRefused.joint) { try joint.applying(Change([.init(.addVoter, NodeID(3))])) }
    }

    /// Any two configurations that follow each other have no disjoint majorities.
    @Test func majoritiesOfNeighboursMeet() throws {
        var random = SplitMix64(seed: 5)
        for _ in 0..<300 {
            var current = Configuration(voters: nodes(1, 2, 3))
            for _ in 0..<6 {
                let count = random.next(in: 1..<4)
                let steps = (0..<count).map { _ in
                    Change.Step(
                        [.addVoter, .addLearner, .remove][random.next(in: 0..<3)],
                        NodeID(UInt64(random.next(in: 1..<6))))
                }
                let change = current.isJoint ? .leave : Change(steps)
                guard let next = try? current.applying(change) else { continue }
                for granted in 0..<64 {
                    let first = wins(current, granted)
                    let second = wins(next, ~granted)
                    #expect(!(first && second), "\(current) and \(next) with \(granted)")
                }
                current = next
            }
        }
    }

    private func wins(_ configuration: Configuration, _ granted: Int) -> Bool {
        JointMajority(configuration).result { node in
            granted >> Int(node.rawValue) & 1 == 1 ? .granted : .rejected
        } == .won
    }
}

@Suite struct MembershipTests {
    /// Applies everything committed at every node; `changes` are the contents by index.
    private func apply(_ cluster: inout Cluster, _ changes: [LogIndex: ConfigurationChange]) {
        for _ in 0..<6 {
            for node in 1...cluster.cores.count {
                while let index = cluster[node].configurationEntries.first, index <= cluster[node].commitIndex {
                    cluster.step(node, .configurationApplied(changes[index] ?? .leave))
                }
                cluster.step(node, .applied(cluster[node].commitIndex))
            }
            cluster.settle()
        }
    }

    private func propose(_ cluster: inout Cluster, _ node: Int, _ change: ConfigurationChange) throws -> LogIndex {
        let index = try cluster.cores[node - 1].propose(
            change, byteCount: change.isLeave ? 0 : 8, log: cluster.disks[node - 1], into: &cluster.readies[node - 1])
        cluster.flush(node)
        return index
    }

    /// Three voters and a fourth node that is to join.
    private func four() -> Cluster {
        var cluster = Cluster(size: 4, seed: 3)
        for node in 1...4 {
            cluster[node] = RaftCore(
                id: NodeID(UInt64(node)), configuration: Configuration(voters: nodes(1, 2, 3)),
                restored: RaftCore.Restored(), settings: RaftCore.Settings(), seed: UInt64(node))
        }
        cluster.elect(1)
        apply(&cluster, [:])
        return cluster
    }

    @Test func aNewVoterIsCaughtUpAndCounts() throws {
        var cluster = four()
        let change = Change([.init(.addVoter, NodeID(4))])
        let index = try propose(&cluster, 1, change)
        cluster.settle()
        apply(&cluster, [index: change])
        for node in 1...4 { #expect(cluster[node].voters == nodes(1, 2, 3, 4), "\(node)") }
        cluster.isCut = { from, to in from.rawValue == 3 || to.rawValue == 3 }
        let entry = try cluster.propose(1)
        cluster.settle()
        #expect(cluster[1].commitIndex == entry, "three of four")
    }

    @Test func theLeaderLeavesAJointConfigurationByItself() throws {
        var cluster = four()
        let change = Change([.init(.addVoter, NodeID(4)), .init(.remove, NodeID(3))])
        let index = try propose(&cluster, 1, change)
        cluster.settle()
        apply(&cluster, [index: change])
        for node in [1, 2, 4] {
            #expect(cluster[node].configuration == Configuration(voters: nodes(1, 2, 4)), "\(node)")
        }
        #expect(cluster[1].role == .leader)
    }

    @Test func anExplicitJointConfigurationNeedsBothMajorities() throws {
        var cluster = four()
        let change = Change(
            [.init(.addVoter, NodeID(4)), .init(.remove, NodeID(2)), .init(.remove, NodeID(3))], transition: .explicit)
        let index = try propose(&cluster, 1, change)
        cluster.settle()
        apply(&cluster, [index: change])
        #expect(cluster[1].configuration.isJoint)
        // New: 1 and 4. Old: 1, 2, 3. With 2 and 3 away, the old half has no majority.
        cluster.isCut = { from, to in [2, 3].contains(from.rawValue) || [2, 3].contains(to.rawValue) }
        let stuck = try cluster.propose(1)
        cluster.settle()
        #expect(cluster[1].commitIndex < stuck)
        cluster.isCut = { _, _ in false }
        cluster.tick(6)
        #expect(cluster[1].commitIndex == stuck)
        apply(&cluster, [:])
        _ = try propose(&cluster, 1, .leave)
        cluster.settle()
        apply(&cluster, [:])
        #expect(cluster[1].configuration == Configuration(voters: nodes(1, 4)))
    }

    /// The core writes the change that leaves a joint configuration itself, without bytes; a follower has to take it.
    @Test func aFollowerTakesAChangeWithoutBytes() {
        var solo = Solo()
        let change = Change([.init(.addVoter, NodeID(4))], transition: .explicit)
        solo.receive(.append, from: 2, term: 1) { append in
            append.entries = [
                EntryHeader(index: 1, term: 1, kind: .configuration, byteCount: 8),
                EntryHeader(index: 2, term: 1, kind: .configuration, byteCount: 0),
            ]
            append.commit = 2
        }
        let drained = solo.complete()
        #expect(drained.entries.map(\.byteCount) == [8, 0])
        #expect(drained.afterDurable.of(.appendResponse, to: 2).map(\.index) == [2])
        solo.step(.configurationApplied(change))
        #expect(solo.core.configuration.isJoint)
        solo.step(.configurationApplied(.leave))
        solo.step(.applied(2))
        #expect(solo.core.configuration == Configuration(voters: nodes(1, 2, 3, 4)))
        #expect(solo.core.configurationEntries.isEmpty)
    }

    @Test func aLeaderThatRemovedItselfStepsDownAndHandsOver() throws {
        var cluster = four()
        let change = Change([.init(.remove, NodeID(1))])
        let index = try propose(&cluster, 1, change)
        cluster.settle()
        apply(&cluster, [index: change])
        #expect(cluster[1].role == .follower && !cluster[1].isVoter)
        #expect((2...3).contains { cluster[$0].role == .leader }, "no timeout was needed")
        cluster.step(1, .campaign)
        #expect(cluster[1].role == .follower, "who was removed does not campaign")
    }

    @Test func oneChangeAtATimeAndNoneBeforeTheOwnTerm() throws {
        var solo = Solo()
        solo.lead()
        let change = Change([.init(.addVoter, NodeID(4))])
        #expect(throws: ConfigurationRefused.pending) { try solo.propose(change) }
        for voter in [2, 3] as [UInt64] { solo.acknowledge(from: voter, 1) }
        solo.step(.applied(1))
        let index = try solo.propose(change)
        #expect(throws: ConfigurationRefused.pending) { try solo.propose(change) }
        solo.complete()
        solo.acknowledge(from: 2, index)
        #expect(throws: ConfigurationRefused.pending) { try solo.propose(change) }
        #expect(solo.core.voters.count == 3, "committed is not applied")
        solo.step(.configurationApplied(change))
        #expect(solo.core.voters.count == 4)
        #expect(solo.ready.configuration?.voters.count == 4)
    }

    @Test func nobodyCampaignsWithACommittedChangeUnapplied() {
        var solo = Solo()
        solo.receive(.append, from: 2, term: 1) { message in
            message.entries = [EntryHeader(index: 1, term: 1, kind: .configuration, byteCount: 8)]
            message.commit = 1
        }
        solo.complete()
        solo.step(.campaign)
        #expect(solo.core.role == .follower)
        solo.receive(.timeoutNow, from: 2, term: 1)
        #expect(solo.core.role == .follower)
        solo.step(.configurationApplied(Change([.init(.addVoter, NodeID(4))])))
        solo.step(.campaign)
        #expect(solo.core.role == .preCandidate)
        #expect(solo.ready.messages.of(.preVote).count == 3, "the new member is asked too")
    }

    @Test func aSecondChangeInTheLogProvesTheFirstCommitted() {
        var restored = RaftCore.Restored(
            hardState: HardState(term: 1), lastIndex: 4, termStarts: [TermStart(index: 1, term: 1)])
        restored.configurationEntries = [2, 4]
        var core = RaftCore(
            id: NodeID(1), voters: nodes(1, 2, 3), restored: restored, settings: RaftCore.Settings(), seed: 1)
        #expect(core.commitIndex == 2)
        var ready = Ready()
        core.step(.campaign, log: TestDisk(), into: &ready)
        #expect(core.role == .follower, "the first is not applied")
        core.step(.configurationApplied(Change([.init(.addVoter, NodeID(4))])), log: TestDisk(), into: &ready)
        core.step(.campaign, log: TestDisk(), into: &ready)
        #expect(core.role == .preCandidate)
    }

    @Test func aChangeThatIsCutIsForgotten() {
        var solo = Solo()
        solo.receive(.append, from: 2, term: 1) { message in
            message.entries = [EntryHeader(index: 1, term: 1, kind: .configuration, byteCount: 8)]
        }
        solo.complete()
        #expect(solo.core.configurationEntries == [1])
        solo.append(from: 3, term: 2, after: 0, 0, [2], commit: 1)
        #expect(solo.core.configurationEntries.isEmpty && solo.core.commitIndex == 1)
        solo.step(.applied(1))
        #expect(solo.core.voters.count == 3)
    }

    @Test func changesMeanNothingToWhoDoesNotKnowTheMembers() {
        var core = RaftCore(
            id: NodeID(1), configuration: Configuration(voters: []), restored: RaftCore.Restored(),
            settings: RaftCore.Settings(), seed: 1)
        var ready = Ready()
        var message = Message(.append, from: NodeID(2), to: NodeID(1), term: 1)
        message.entries = [EntryHeader(index: 1, term: 1, kind: .configuration, byteCount: 8)]
        message.commit = 1
        core.step(.receive(message), log: TestDisk(), into: &ready)
        // Alone in a configuration of its own it would be a second leader.
        core.step(.configurationApplied(Change([.init(.addVoter, NodeID(1))])), log: TestDisk(), into: &ready)
        #expect(core.voters.isEmpty && !core.isVoter)
        core.step(.campaign, log: TestDisk(), into: &ready)
        #expect(core.role == .follower)
    }

    @Test func aSnapshotBringsItsMembers() {
        var solo = Solo()
        var message = Message(.snapshot, from: NodeID(2), to: NodeID(1), term: 3)
        message.index = 10
        message.logTerm = 2
        let members = Configuration(voters: nodes(1, 2, 3, 4, 5), learners: nodes(6))
        solo.step(.receiveSnapshot(message, members))
        #expect(solo.core.configuration == members && solo.ready.configuration == members)
        solo.complete()
        message.index = 8
        solo.step(.receiveSnapshot(message, Configuration(voters: nodes(1))))
        #expect(solo.core.configuration == members, "an older snapshot changes nothing")
    }

    @Test func theNextLeaderLeavesTheJointConfiguration() throws {
        var cluster = four()
        let change = Change([.init(.addVoter, NodeID(4)), .init(.remove, NodeID(3))])
        let index = try propose(&cluster, 1, change)
        cluster.settle()
        // The first leader applies and is cut off before its leaving entry goes out.
        for node in 2...4 where cluster[node].commitIndex >= index {
            cluster.step(node, .configurationApplied(change))
        }
        cluster.isCut = { from, to in from.rawValue == 1 || to.rawValue == 1 }
        cluster.tick(80)
        apply(&cluster, [index: change])
        let leader = try #require((2...4).first { cluster[$0].role == .leader })
        #expect(cluster[leader].configuration == Configuration(voters: nodes(1, 2, 4)))
    }

    @Test func aSmallerQuorumCommitsWhatWaited() throws {
        var solo = Solo(voters: 2)
        solo.leadAndCommit()
        solo.step(.applied(1))
        let change = Change([.init(.remove, NodeID(2))])
        let index = try solo.propose(change)
        let more = try solo.propose()
        solo.complete()
        solo.acknowledge(from: 2, index)
        #expect(solo.core.commitIndex == index)
        solo.step(.readIndex(context: 77))
        solo.step(.configurationApplied(change))
        #expect(solo.core.commitIndex == more, "the last voter is the majority")
        #expect(solo.ready.reads.map(\.context) == [77])
    }
}
