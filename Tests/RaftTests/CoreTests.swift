// The core step by step: elections, replication, commit, reads and transfer in a small cluster whose messages and disks
// the test moves by hand.

import Testing

@testable import Raft

@Suite struct CoreTests {
    @Test func soleVoterLeadsAndCommitsOnlyOnceDurable() throws {
        var cluster = Cluster(size: 1, seed: 1)
        cluster.step(1, .campaign)
        #expect(cluster[1].role == .candidate)
        cluster.completeStorage(1)
        #expect(cluster[1].role == .leader)
        let index = try cluster.propose(1)
        #expect(cluster[1].commitIndex == 0)
        cluster.completeStorage(1)
        #expect(cluster[1].commitIndex == index)
    }

    @Test func threeElectReplicateAndCommit() throws {
        var cluster = Cluster(size: 3, seed: 2)
        cluster.elect(1)
        for node in 1...3 { #expect(cluster[node].leader == NodeID(1)) }
        let index = try cluster.propose(1)
        cluster.settle()
        for node in 1...3 {
            #expect(cluster[node].commitIndex == index)
            #expect(cluster.disks[node - 1].log.map(\.index) == Array(1...index))
        }
    }
}
