// The members of a cluster as a value, the step from those that a group has to those it should have, and their bytes.
import Raft
import Testing

@testable import Cluster

@Suite struct MembershipTests {
    private static func member(_ name: String) -> Member {
        Member(name: name, incarnation: "1", address: "\(name):1")
    }
    private static let founders = ["a", "b", "c"].map { member($0) }

    @Test func membershipsAndChangesSurviveTheirEncoding() throws {
        var configuration = Configuration(voters: [NodeID(1), NodeID(2), NodeID(3)], learners: [NodeID(9)])
        let change = ConfigurationChange([.init(.addVoter, NodeID(9)), .init(.addLearner, NodeID(1))])
        for _ in 0..<2 {
            let membership = GroupMembership(configuration: configuration, version: 77)
            let bytes = ConfigurationCodec.encode(membership)
            #expect(ConfigurationCodec.decodeMembership(bytes[...]) == membership)
            for count in bytes.indices { #expect(ConfigurationCodec.decodeMembership(bytes[..<count]) == nil) }
            if !configuration.isJoint { configuration = try configuration.applying(change) }
            #expect(configuration.isJoint)
        }
        let bytes = ConfigurationCodec.encode(VersionedChange(change, version: 5))
        #expect(ConfigurationCodec.decodeChange(bytes[...]) == VersionedChange(change, version: 5))
        for count in 1..<bytes.count { #expect(ConfigurationCodec.decodeChange(bytes[..<count]) == nil) }
        #expect(ConfigurationCodec.encode(VersionedChange(.leave, version: 5)).isEmpty)
        #expect(ConfigurationCodec.decodeChange([])?.change == .leave)
    }

    @Test func aChangeThatWasCutOffTheLogNeverHappened() {
        let start = GroupMembership(configuration: Configuration(voters: [NodeID(1), NodeID(2)]), version: 1)
        var history = MembershipHistory(base: (0, start))
        let change = VersionedChange(ConfigurationChange([.init(.addLearner, NodeID(3))]), version: 2)
        history.add(change, at: 5)
        history.add(change, at: 9)
        history.truncate(from: 9)
        #expect(history.changes.map(\.index) == [5])
        history.truncate(from: 4)
        #expect(history.membership(asOf: 20) == start)
    }

    @Test func aLearnerThatNeverAnsweredIsNotCaughtUp() {
        #expect(!Group.isCaughtUp(match: nil, lastIndex: 3))
        #expect(!Group.isCaughtUp(match: 0, lastIndex: 3))
        #expect(Group.isCaughtUp(match: 1, lastIndex: 3))
        #expect(!Group.isCaughtUp(match: 1, lastIndex: 2 + Group.promotionEntriesMax))
    }

    @Test func contradictoryMembershipsAreRefused() {
        let one = [NodeID(1)]
        let two = [NodeID(1), NodeID(2)]
        func make(_ voters: [NodeID], _ outgoing: [NodeID], _ learners: [NodeID], _ next: [NodeID]) -> Configuration? {
            Configuration(
                voters: voters, outgoing: outgoing, learners: learners, learnersNext: next, leavesAutomatically: false)
        }
        #expect(make(two, one, [], []) != nil)
        #expect(make(one, [], one, []) == nil)
        #expect(make(one, [], [], one) == nil)
        #expect(make([], one, [], []) == nil)
        #expect(make(two.reversed(), [], [], []) == nil)
    }

    @Test func commandsSurviveTheirEncoding() {
        let commands: [MembershipCommand] = [
            .add(.joining(name: "d", incarnation: "x", address: "d:1"), .learner), .remove(name: "a"),
            .setRole(name: "b", .voter), .move(name: "a", incarnation: "1", address: "elsewhere:2"),
        ]
        for command in commands {
            #expect(MembershipCommand(command.encoded[...]) == command)
            #expect(MembershipCommand(command.encoded.dropLast()) == nil)
        }
    }

    @Test func commandsChangeTheMembersOrSayWhyNot() {
        var membership = ClusterMembership(founders: Self.founders)
        let late = Member.joining(name: "d", incarnation: "x", address: "d:1")
        #expect(membership.apply(.add(late, .learner), at: 7) == nil)
        #expect(membership.version == 7 && membership.learners == [late.id])
        #expect(membership.apply(.add(late, .learner), at: 8) == nil, "the same again is no error")
        #expect(membership.version == 7)
        #expect(membership.apply(.setRole(name: "d", .voter), at: 9) == nil)
        #expect(membership.apply(.add(Member.joining(name: "d", incarnation: "y", address: ""), .voter), at: 10) != nil)
        #expect(membership.apply(.remove(name: "d"), at: 11) == nil)
        #expect(membership.apply(.add(late, .voter), at: 12) != nil, "a removed data folder never comes back")
        #expect(membership.apply(.add(Member.joining(name: "d", incarnation: "y", address: ""), .voter), at: 13) == nil)
        #expect(membership.apply(.remove(name: "nobody"), at: 14) != nil)
        for name in ["a", "b", "c"] { #expect(membership.apply(.remove(name: name), at: 15) == nil) }
        #expect(membership.apply(.remove(name: "d"), at: 16) != nil, "the last voter stays")
    }

    @Test func aMemberMovesByItsIncarnationOnly() {
        var membership = ClusterMembership(founders: Self.founders)
        func move(_ name: String, _ incarnation: String, _ address: String, at index: UInt64) -> RequestError? {
            membership.apply(.move(name: name, incarnation: incarnation, address: address), at: index)
        }
        let before = membership.initial.configuration
        #expect(move("b", "1", "elsewhere:2", at: 5) == nil)
        #expect(membership.member(named: "b")?.member.address == "elsewhere:2" && membership.version == 5)
        #expect(membership.member(named: "b")?.member.id == Member.nodeID(for: "b"))
        #expect(membership.initial.configuration == before, "nobody votes otherwise for it")
        #expect(move("b", "1", "elsewhere:2", at: 6) == nil, "the same again is no error")
        #expect(membership.version == 5)
        #expect(move("b", "2", "elsewhere:3", at: 7) != nil, "another data folder is another node")
        #expect(move("nobody", "1", "elsewhere:3", at: 8) != nil)
        #expect(move("b", "1", "", at: 9) != nil)
        #expect(move("b", "1", String(repeating: "x", count: 513), at: 10) != nil)
        #expect(membership.member(named: "b")?.member.address == "elsewhere:2" && membership.version == 5)
        // Two that swap have one address for a moment.
        #expect(move("a", "1", "elsewhere:2", at: 11) == nil && move("b", "1", "a:1", at: 12) == nil)
        #expect(membership.version == 12)
    }

    @Test func aNodeKnowsItsOwnAddressBeforeTheRecordDoes() {
        var own = Self.member("b")
        own.address = "elsewhere:2"
        var membership = ClusterMembership(founders: Self.founders)
        let table = MembershipTable(membership, own: own)
        #expect(table.address(of: own.id)?.address == "elsewhere:2")
        #expect(table.address(of: Member.nodeID(for: "a"))?.address == "a:1")
        #expect(membership.apply(.remove(name: "a"), at: 3) == nil)
        table.take(membership)
        #expect(table.address(of: own.id)?.address == "elsewhere:2" && table.current.version == 3)
    }

    private func next(
        _ current: Configuration, _ wanted: ClusterMembership, leader: String = "a", mayRemove: Bool = true,
        caughtUp: Bool = true
    ) -> MembershipStep {
        Group.nextStep(
            from: current, to: wanted, leader: Member.nodeID(for: leader), mayRemove: mayRemove
        ) { _ in caughtUp }
    }

    @Test func aNewcomerLearnsFirstAndVotesOnceItIsCaughtUp() throws {
        var wanted = ClusterMembership(founders: Self.founders)
        var current = wanted.initial.configuration
        #expect(next(current, wanted) == .nothing)
        let late = Member.joining(name: "d", incarnation: "x", address: "d:1")
        #expect(wanted.apply(.add(late, .voter), at: 7) == nil)
        let learn = ConfigurationChange([.init(.addLearner, late.id)])
        #expect(next(current, wanted) == .change(learn))
        current = try current.applying(learn)
        #expect(next(current, wanted, caughtUp: false) == .nothing)
        let vote = ConfigurationChange([.init(.addVoter, late.id)])
        #expect(next(current, wanted) == .change(vote))
        current = try current.applying(vote)
        #expect(next(current, wanted) == .nothing)
    }

    @Test func aLeaderStepsAsideBeforeItIsRemoved() throws {
        var wanted = ClusterMembership(founders: Self.founders)
        let current = wanted.initial.configuration
        #expect(wanted.apply(.remove(name: "a"), at: 7) == nil)
        #expect(next(current, wanted) == .stepAside)
        #expect(next(current, wanted, mayRemove: false) == .nothing)
        #expect(
            next(current, wanted, leader: "b")
                == .change(ConfigurationChange([.init(.remove, Member.nodeID(for: "a"))])))
    }

    @Test func aReplacementGoesThroughAJointConfiguration() throws {
        var wanted = ClusterMembership(founders: Self.founders)
        var current = wanted.initial.configuration
        let late = Member.joining(name: "d", incarnation: "x", address: "d:1")
        #expect(wanted.apply(.add(late, .voter), at: 7) == nil)
        current = try current.applying(ConfigurationChange([.init(.addLearner, late.id)]))
        #expect(wanted.apply(.remove(name: "b"), at: 8) == nil)
        guard case .change(let change) = next(current, wanted) else {
            Issue.record("nothing is to be done")
            return
        }
        current = try current.applying(change)
        #expect(current.isJoint)
        #expect(next(current, wanted) == .nothing, "the leader leaves it by itself")
        current = try current.applying(.leave)
        #expect(current == wanted.initial.configuration)
    }
}
