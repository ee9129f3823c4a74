// Members come and go under writes, crashes and a lossy network, once for every seed: nodes are added, promoted,
// removed and replaced, the leader's own among them. Nothing acknowledged may be lost, and in the end every group has
// exactly the members that were declared, and all of them the same state.
import Cluster
import KeyValue
import Raft
import Storage
import StrataNode
import Synchronization
import Testing

@Suite struct MembershipSimulationTests {
    private final class Oracle: Sendable {
        let acknowledged = Mutex<[Int]>([])
        static func key(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }
        static func value(_ number: Int) -> [UInt8] { Array("value-\(number)".utf8) }
    }

    /// One run: a cluster, its writers, and what is declared of its members.
    private final class Churn {
        let seed: UInt64
        let cluster: SimulatedCluster
        let oracle = Oracle()
        let topic = TopicOracle()
        private var written = 0
        private var joined = 3
        private let answers = Mutex<[Result<UInt64, RequestError>]>([])

        var world: SimulatedWorld { cluster.world }

        init(seed: UInt64) throws {
            self.seed = seed
            // Half of the runs with a log that is cut all the time, so that newcomers need snapshots.
            cluster = try SimulatedCluster(
                seed: seed, snapshots: seed % 4 < 2 ? SnapshotSimulationTests.settings : nil)
            let isLed = world.run(for: 5_000_000_000, until: { self.cluster.leader != nil })
            #expect(isLed, "seed \(seed): no leader")
            topic.create(in: cluster)
        }

        /// Runs for a while with writers at every node.
        func write(for duration: UInt64, until done: () -> Bool = { false }) -> Bool {
            let end = world.now + duration
            while world.now < end {
                if let node = cluster.nodes.filter(\.isUp).randomElement(using: &world.random)?.node {
                    written += 1
                    let (number, oracle) = (written, oracle)
                    node.keyValue.put(key: Oracle.key(number), value: Oracle.value(number)) { result in
                        if case .success = result { oracle.acknowledged.withLock { $0.append(number) } }
                    }
                    if written.isMultiple(of: 4) { topic.produce(in: cluster) }
                }
                world.run(for: 10_000_000)
                if done() { return true }
            }
            return done()
        }

        /// Repeats a command until some node says that it is carried out.
        func command(_ command: MembershipCommand) {
            for _ in 0..<20 {
                let answer = Box()
                guard let node = cluster.nodes.filter(\.isUp).randomElement(using: &world.random)?.node else {
                    restart()
                    continue
                }
                node.administration.change(command) { answer.set($0) }
                _ = write(for: 6_000_000_000) { answer.value != nil }
                switch answer.value {
                case .success: return
                // It was carried out, and the answer to an earlier try was lost.
                case .failure(.invalid): return
                default: restart()
                }
            }
            Issue.record("seed \(seed): \(command) was never taken")
        }

        func restart() {
            cluster.isolated = []
            for node in cluster.nodes where !node.isUp && !node.hasDeparted { try? node.start() }
        }

        /// True when every member's groups are as declared.
        var isSettled: Bool {
            guard let leader = cluster.leader?.node else { return false }
            let wanted = leader.host.members.current
            return cluster.nodes.allSatisfy { node in
                guard wanted.member(node.member.id) != nil else { return true }
                guard let host = node.node?.host else { return false }
                let groups = host.groupMemberships
                return host.members.current == wanted && groups.count == 3
                    && groups.allSatisfy { $0.configuration == wanted.initial.configuration }
            }
        }

        func settle() {
            let isDone = write(for: 20_000_000_000) {
                for node in cluster.nodes where node.hasDeparted && node.isUp { node.crash() }
                if world.random.chance(0.05) { restart() }
                return isSettled
            }
            #expect(isDone, "seed \(seed): the groups don't reach what was declared: \(description)")
        }

        var description: String {
            cluster.nodes.map { node in
                let groups =
                    node.node?.host.groupMemberships.map {
                        "\($0.group) led by \($0.leader.map { "\($0)" } ?? "-") in term \($0.term): \($0.configuration)"
                    } ?? ["down"]
                return "\(node.member.name) (\(node.member.id)): " + groups.joined(separator: "; ")
            }.joined(separator: "\n")
        }

        func disturb() {
            if world.random.chance(0.4) { cluster.nodes.randomElement(using: &world.random)?.crash() }
            if world.random.chance(0.2) {
                cluster.isolated = cluster.nodes.randomElement(using: &world.random).map { [$0.member.id] } ?? []
            }
            cluster.lossProbability = world.random.chance(0.3) ? 0.05 : 0
        }

        /// Adds a node when there are three, removes one when there are four.
        func changeMembers() throws {
            let members = cluster.nodes
            if members.count == 3 {
                joined += 1
                let node = try cluster.addNode(named: "node\(joined)")
                disturb()
                let role: MemberRole = world.random.chance(0.3) ? .learner : .voter
                command(.add(node.member, role))
                if role == .learner {
                    settle()
                    command(.setRole(name: node.member.name, .voter))
                }
                settle()
            } else {
                let node = try #require(
                    world.random.chance(0.4) ? cluster.leader : members.randomElement(using: &world.random))
                disturb()
                command(.remove(name: node.member.name))
                settle()
                cluster.retire(node)
            }
        }

        func check() throws {
            try cluster.heal()
            // A healed cluster takes writes, however short the run was.
            _ = write(for: 3_000_000_000)
            _ = world.run(for: 8_000_000_000)
            let isConverged = world.run(for: 20_000_000_000) { cluster.hasConverged && isSettled }
            #expect(isConverged, "seed \(seed): no convergence: \(description)")
            let acknowledged = oracle.acknowledged.withLock { $0 }
            #expect(acknowledged.count > 50, "seed \(seed): hardly anything was written")
            for node in cluster.nodes {
                let store = try #require(node.node?.store)
                for number in acknowledged {
                    #expect(
                        try store.get(Oracle.key(number)) == Oracle.value(number),
                        "seed \(seed): key \(number) is lost on \(node.member.name)")
                }
            }
            let hashes = try cluster.nodes.compactMap { try $0.node?.store.stateHash() }
            #expect(hashes.count == cluster.nodes.count && Set(hashes).count == 1, "seed \(seed): replicas differ")
            try topic.check(cluster, seed: seed)
        }
    }

    private final class Box: Sendable {
        private let content = Mutex<Result<UInt64, RequestError>?>(nil)
        var value: Result<UInt64, RequestError>? { content.withLock { $0 } }
        func set(_ result: Result<UInt64, RequestError>) { content.withLock { $0 = result } }
    }

    /// The log of a node that restarts proves that all changes but the last are committed, and nobody may seek election
    /// before they are applied.
    @Test(arguments: (0..<6).map { UInt64($0) })
    func everyNodeRestartsAfterChangesOfTheMembers(seed: UInt64) throws {
        let churn = try Churn(seed: seed)
        _ = churn.write(for: 800_000_000)
        try churn.changeMembers()
        for _ in 0..<2 {
            for node in churn.cluster.nodes { node.crash() }
            churn.restart()
            let isLed = churn.world.run(for: 10_000_000_000, until: { churn.cluster.leader != nil })
            #expect(isLed, "seed \(seed): nobody leads after a restart of all: \(churn.description)")
            _ = churn.write(for: 800_000_000)
        }
        try churn.check()
    }

    @Test(arguments: (0..<12).map { UInt64($0) })
    func membersComeAndGoUnderCrashes(seed: UInt64) throws {
        let churn = try Churn(seed: seed)
        _ = churn.write(for: 500_000_000)
        for _ in 0..<5 { try churn.changeMembers() }
        try churn.check()
    }

    /// What a node's record says of where a member is reached.
    private func recorded(_ member: SimulatedNode, by node: SimulatedNode) -> String? {
        node.node?.host.members.current.member(member.member.id)?.member.address
    }

    @Test(arguments: (0..<8).map { UInt64($0) })
    func aMemberThatRestartsAtAnotherAddressIsRecordedThereByAMajority(seed: UInt64) throws {
        let churn = try Churn(seed: seed)
        let cluster = churn.cluster
        _ = churn.write(for: 1_500_000_000)
        let moved = try #require(cluster.nodes.randomElement(using: &churn.world.random))
        let others = cluster.nodes.filter { $0 !== moved }
        for address in ["elsewhere:7", "elsewhere:8", "\(moved.member.name):1"] {
            moved.crash()
            moved.member.address = address
            // The third is dead: the two that are left are the quorum.
            others[0].crash()
            try moved.start()
            let isRecorded = churn.write(for: 10_000_000_000) {
                [moved, others[1]].allSatisfy { recorded(moved, by: $0) == address }
            }
            #expect(isRecorded, "seed \(seed): \(address) is not in the record")
            try others[0].start()
            let isKnown = churn.write(for: 10_000_000_000) { recorded(moved, by: others[0]) == address }
            #expect(isKnown, "seed \(seed): the third does not learn \(address)")
        }
        try churn.check()
    }

    @Test(arguments: (0..<4).map { UInt64($0) })
    func allMembersRestartAtEachOthersAddresses(seed: UInt64) throws {
        let churn = try Churn(seed: seed)
        let nodes = churn.cluster.nodes
        _ = churn.write(for: 1_500_000_000)
        for node in nodes { node.crash() }
        let addresses = nodes.map(\.member.address)
        for (number, node) in nodes.enumerated() { node.member.address = addresses[(number + 1) % nodes.count] }
        for node in nodes { try node.start() }
        let isRecorded = churn.write(for: 20_000_000_000) {
            nodes.allSatisfy { node in nodes.allSatisfy { recorded($0, by: node) == $0.member.address } }
        }
        #expect(isRecorded, "seed \(seed): the record does not have the new addresses")
        try churn.check()
    }
}
