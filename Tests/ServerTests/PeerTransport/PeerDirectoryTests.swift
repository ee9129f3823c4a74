// Whom a node lets in, what it says to whom, and how it learns that a member is reached elsewhere.
import Cluster
import Foundation
import StrataProtocol
import Testing

@testable import Server

@Suite struct PeerDirectoryTests {
    private static func member(_ name: String, incarnation: String? = nil, at address: String? = nil) -> Member {
        Member(
            name: name, incarnation: incarnation ?? "inc-\(name)", address: address ?? "127.0.0.1:\(name.utf8.count)")
    }
    private static let members = ["node1", "node22", "node333"].map { member($0) }

    private func formed() -> PeerDirectory {
        PeerDirectory(
            member: Self.members[0], expected: 3, formed: FormedCluster(id: "cluster-id", members: Self.members))
    }

    /// What a member of the cluster, or one that pretends to be one, says first.
    private func hello(_ member: Member, cluster: String? = "cluster-id", expected: Int = 3) -> PeerView {
        PeerView(member: member, clusterID: cluster, members: [], expected: expected)
    }

    /// What the caller of a handshake is told.
    private func answer(_ directory: PeerDirectory, _ view: PeerView) -> (Strata_V1_PeerIdentity, String?) {
        let refusal = directory.hear(view, mayApply: true)
        let disclosure = directory.disclosure(to: view, isRefused: refusal != nil)
        return (Strata_V1_PeerIdentity(directory, disclosure), refusal?.told)
    }

    @Test func aMemberThatCallsFromAnotherAddressIsDialledThere() async throws {
        let directory = formed()
        func address(_ name: String) -> String? { directory.addresses.first { $0.name == name }?.address }
        var changes = directory.changes().makeAsyncIterator()
        await changes.next()
        #expect(directory.hear(hello(Self.member("node22", at: "127.0.0.1:900"))) == nil)
        await changes.next()
        #expect(address("node22") == "127.0.0.1:900" && address("node333") == "127.0.0.1:7")
        // The record follows; then it moves again, and then back to what the record has.
        var membership = ClusterMembership(founders: Self.members)
        #expect(
            membership.apply(.move(name: "node22", incarnation: "inc-node22", address: "127.0.0.1:900"), at: 4) == nil)
        #expect(directory.take(membership) != nil)
        #expect(address("node22") == "127.0.0.1:900")
        #expect(directory.hear(hello(Self.member("node22", at: "127.0.0.1:901"))) == nil)
        #expect(address("node22") == "127.0.0.1:901")
        #expect(directory.hear(hello(Self.member("node22", at: "127.0.0.1:900"))) == nil)
        #expect(address("node22") == "127.0.0.1:900")
        // What is no address is not dialled.
        #expect(directory.hear(hello(Self.member("node22", at: "nowhere"))) == nil)
        #expect(address("node22") == "127.0.0.1:900")
    }

    @Test func twoMembersThatSwappedTheirAddressesAreToldApart() {
        let directory = formed()
        #expect(directory.hear(hello(Self.member("node22", at: "127.0.0.1:7"))) == nil)
        #expect(directory.hear(hello(Self.member("node333", at: "127.0.0.1:6"))) == nil)
        #expect(
            directory.addresses.map { "\($0.name) \($0.address)" }.sorted() == [
                "node22 127.0.0.1:7", "node333 127.0.0.1:6",
            ])
    }

    @Test func anImpostorIsRefusedAndMovesNobody() {
        let directory = formed()
        let refusal = directory.hear(hello(Self.member("node22", incarnation: "other", at: "127.0.0.1:900")))
        #expect(refusal?.why.contains("another data folder") == true)
        #expect(directory.addresses.contains { $0 == ("node22", "127.0.0.1:6") })
    }

    @Test func aStrangerIsToldNothing() throws {
        let directory = formed()
        let strangers = [
            hello(Self.member("stranger"), cluster: nil), hello(Self.member("stranger")),
            hello(Self.member("node22"), cluster: "another"), hello(Self.member("node22", incarnation: "x")),
            hello(Self.member("node1", incarnation: "x"), cluster: nil),
            hello(Member(name: "", incarnation: "", address: "")),
        ]
        var told: Set<String> = []
        for stranger in strangers {
            let (identity, refusal) = answer(directory, stranger)
            var empty = Strata_V1_PeerIdentity()
            empty.protocolVersion = peerProtocolVersion
            #expect(identity == empty)
            let sentence = try #require(refusal)
            // Its own name is no news to it.
            let name = stranger.member.name
            told.insert(name.isEmpty ? "" : sentence.replacingOccurrences(of: name + " is", with: ""))
        }
        told.remove("")
        #expect(told.count == 1, "one sentence for all, so that it can't be asked which names exist: \(told)")
        for secret in ["node1", "node22", "node333", "inc-", "cluster-id"] {
            #expect(told.allSatisfy { !$0.contains(secret) })
        }
        let (applied, refusal) = answer(directory, joining(hello(Self.member("node4"), cluster: nil)))
        #expect(refusal == nil && applied.members.isEmpty && applied.clusterID.isEmpty && applied.nodeID.isEmpty)
        #expect(directory.applicants.map(\.name) == ["node4"])
    }

    private func joining(_ view: PeerView) -> PeerView {
        var view = view
        view.isJoining = true
        return view
    }

    @Test func aMemberIsToldTheMembersWhetherItKnowsOfItsClusterOrNot() {
        for cluster in ["cluster-id", nil] {
            let (identity, refusal) = answer(formed(), hello(Self.members[1], cluster: cluster))
            #expect(refusal == nil && identity.members.count == 3 && identity.clusterID == "cluster-id")
        }
    }

    @Test func aFormingNodeTellsOnlyThoseThatFormWithIt() {
        func forming() -> PeerDirectory { PeerDirectory(member: Self.members[0], expected: 3, formed: nil) }
        let (identity, refusal) = answer(forming(), hello(Self.members[1], cluster: nil))
        #expect(refusal == nil && identity.members.count == 2)
        let (wrong, told) = answer(forming(), hello(Self.members[1], cluster: nil, expected: 2))
        #expect(wrong.nodeID.isEmpty && wrong.members.isEmpty)
        #expect(told?.contains("expects 2 nodes") == true && told?.contains("node1") == false)
        let (foreign, _) = answer(forming(), hello(Self.member("x"), cluster: "another"))
        #expect(foreign.members.isEmpty)
        let (applicant, _) = answer(forming(), joining(hello(Self.member("x"), cluster: nil)))
        #expect(applicant.nodeID.isEmpty && applicant.members.isEmpty)
    }

    /// Both sides show themselves first and say who the others are only then.
    @Test func threeNodesFormAlthoughTheyNameNobodyAtFirst() {
        let nodes = Self.members.map { PeerDirectory(member: $0, expected: 3, formed: nil) }
        var known: Set<[Int]> = []
        for _ in 0..<4 {
            for (i, dialler) in nodes.enumerated() {
                for (j, other) in nodes.enumerated() where i != j {
                    let request = dialler.view(known.contains([i, j]) ? .everything : .itself)
                    guard let request else { continue }
                    #expect(other.hear(request) == nil)
                    if let answer = other.view(other.disclosure(to: request, isRefused: false)) {
                        #expect(dialler.hear(answer) == nil)
                        known.insert([i, j])
                    }
                }
            }
        }
        #expect(Set(nodes.map { $0.cluster?.id }).count == 1 && nodes[0].cluster != nil)
    }

    @Test func aNodeThatWasAddedAdoptsTheClusterWhateverItsAddress() {
        let late = Member.joining(name: "late", incarnation: "inc-late", address: "127.0.0.1:900")
        var recorded = late
        recorded.address = "127.0.0.1:10"
        let joiner = PeerDirectory(member: late, expected: 4, isJoining: true, formed: nil)
        let view = PeerView(
            member: Self.members[0], clusterID: "cluster-id", members: Self.members + [recorded], expected: 3)
        #expect(joiner.hear(view) == nil)
        #expect(joiner.cluster?.id == "cluster-id")
    }
}
