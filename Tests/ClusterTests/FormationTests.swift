// Nodes that know only addresses become one cluster, in every order of hearing each other, and let nobody else in.
import Cluster
import Testing

@Suite struct FormationTests {
    private func member(_ name: String, incarnation: String = "1") -> Member {
        Member(name: name, incarnation: incarnation, address: "\(name):1")
    }

    private func view(_ formation: Formation) -> PeerView {
        let cluster = formation.outcome
        return PeerView(
            member: formation.member, clusterID: cluster?.id, members: cluster?.members ?? formation.known,
            expected: formation.expected)
    }

    @Test func oneNodeIsAClusterAtOnce() {
        #expect(Formation(member: member("a"), expected: 1).outcome?.members.map(\.name) == ["a"])
    }

    @Test func threeNodesFormTheSameClusterInAnyOrder() throws {
        for seed in 0..<50 {
            var nodes = ["a", "b", "c"].map { Formation(member: member($0), expected: 3) }
            var random = SeededGenerator(state: UInt64(seed))
            var rounds = 0
            while nodes.contains(where: { $0.outcome == nil }) {
                rounds += 1
                try #require(rounds < 1000, "seed \(seed) never formed")
                let from = Int.random(in: 0..<3, using: &random)
                let to = Int.random(in: 0..<3, using: &random)
                guard from != to, nodes[to].outcome == nil else { continue }
                #expect(nodes[to].hear(view(nodes[from])) == nil, "seed \(seed)")
            }
            let ids = Set(nodes.compactMap { $0.outcome?.id })
            #expect(ids.count == 1, "seed \(seed)")
        }
    }

    @Test func aNodeThatNamesOthersIsRefused() {
        var a = Formation(member: member("a"), expected: 3)
        #expect(a.hear(PeerView(member: member("b"), clusterID: nil, members: [member("b")], expected: 2)) != nil)
        #expect(
            a.hear(PeerView(member: member("a", incarnation: "2"), clusterID: nil, members: [], expected: 3)) != nil)
        #expect(a.outcome == nil)
    }

    @Test func aDifferentThirdNodeStopsTheForming() {
        var a = Formation(member: member("a"), expected: 3)
        #expect(a.hear(PeerView(member: member("b"), clusterID: nil, members: [member("b")], expected: 3)) == nil)
        let wrong = [member("a"), member("c"), member("d")]
        #expect(a.hear(PeerView(member: member("c"), clusterID: nil, members: wrong, expected: 3)) == nil)
        #expect(a.outcome == nil)
    }

    @Test func aFormedClusterRefusesStrangersAndWipedNodes() {
        let cluster = FormedCluster(id: "x", members: [member("a"), member("b")])
        func refusal(_ member: Member, cluster id: String? = nil) -> String? {
            cluster.refusal(of: PeerView(member: member, clusterID: id, members: [], expected: 2))
        }
        #expect(refusal(member("a")) == nil)
        #expect(refusal(member("a"), cluster: "x") == nil)
        #expect(refusal(member("a"), cluster: "y")?.contains("cluster y") == true)
        #expect(refusal(member("c"))?.contains("not a member") == true)
        #expect(refusal(member("a", incarnation: "2"))?.contains("another data folder") == true)
    }

    @Test func aMissedMemberAdoptsTheFormedCluster() {
        let members = ["a", "b", "c"].map { member($0) }
        var late = Formation(member: members[2], expected: 3)
        let formed = PeerView(member: members[0], clusterID: "x", members: members, expected: 3)
        #expect(late.hear(formed) == nil)
        #expect(late.outcome == FormedCluster(id: "x", members: members))
        var stranger = Formation(member: member("d"), expected: 3)
        #expect(stranger.hear(formed) != nil)
        #expect(stranger.outcome == nil)
    }
}

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
