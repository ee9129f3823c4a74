// Members come and go while clients write, with real processes: three nodes become four and three again, a wiped node
// comes back as a new member, a leader that is told to stop hands over. Nothing that was acknowledged may be missing.
import Foundation
import Synchronization
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct MembershipProcessTests {
        /// Writes one key after the other through a node's HTTP listener until it is told to stop.
        private final class Writer: @unchecked Sendable {
            // Unchecked: the nodes are only asked for their ports, which never change; the rest is locked.
            private let nodes: [TestNode]
            private let state = Mutex((running: true, acknowledged: [Int](), failed: 0))
            private let finished = DispatchSemaphore(value: 0)

            init(_ nodes: [TestNode]) {
                self.nodes = nodes
                Thread.detachNewThread { [self] in
                    var number = 0
                    while state.withLock(\.running) {
                        number += 1
                        let status = try? self.nodes[number % self.nodes.count].set("w\(number)", "v\(number)")
                        state.withLock { state in
                            if status == 200 { state.acknowledged.append(number) } else { state.failed += 1 }
                        }
                    }
                    finished.signal()
                }
            }

            func stop() -> (acknowledged: [Int], failed: Int) {
                state.withLock { $0.running = false }
                finished.wait()
                return state.withLock { ($0.acknowledged, $0.failed) }
            }
        }

        private func command(_ line: String, _ node: TestNode, _ cluster: TestCluster) throws -> ProgramResult {
            try Program.shell("Server cluster \(line) --endpoint :\(node.http)", folder: cluster.folder.path)
        }

        /// In how many groups a member votes, as `Server cluster status` prints it: "2/2". The column is found by its
        /// title, for the next one has the same form and says in how many groups the member still learns.
        private func votes(of name: String, from node: TestNode, _ cluster: TestCluster) throws -> String {
            let lines = try command("status", node, cluster).output.split(separator: "\n").map {
                $0.split(separator: " ")
            }
            guard let titles = lines.first(where: { $0.first == "MEMBER" }),
                let column = titles.firstIndex(of: "VOTES"),
                let line = lines.first(where: { $0.first == name[...] }), line.count > column
            else { return "" }
            return String(line[column])
        }

        private func addedNode(_ name: String, to cluster: TestCluster) throws -> TestNode {
            let node = try TestNode(name: name, folder: cluster.folder.path)
            node.peers = cluster.nodes.map(\.grpc)
            node.extraArguments = ["--join"]
            try node.start()
            try eventually("\(name) asks to be added") {
                try command("status", cluster.nodes[0], cluster).output.contains("\(name) waits to be added")
            }
            return node
        }

        @Test func threeNodesBecomeFourAndThreeAgainUnderWrites() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let produced = try Program.shell(
                "Server produce --topic t --message before --endpoint :\(cluster.nodes[0].grpc)",
                folder: cluster.folder.path)
            #expect(produced.status == 0, "\(produced.errors)")
            let unknown = try command("add nobody", cluster.nodes[0], cluster)
            #expect(unknown.status == 1 && unknown.errors.contains("has not asked to be added"), "\(unknown.errors)")
            let fourth = try addedNode("node4", to: cluster)
            defer { try? fourth.kill() }
            let writer = Writer(Array(cluster.nodes[1...]))
            let added = try command("add node4", cluster.nodes[0], cluster)
            #expect(added.status == 0, "\(added.errors)")
            try eventually("node4 votes in all three groups") {
                try votes(of: "node4", from: cluster.nodes[1], cluster) == "3/3"
            }
            // The first node goes, which may well be the leader.
            let victim = cluster.nodes[0]
            _ = try command("transfer node1", cluster.nodes[1], cluster)
            let removed = try command("remove node1", cluster.nodes[1], cluster)
            #expect(removed.status == 0, "\(removed.errors)")
            try eventually("node1 ends by itself") { victim.program?.isRunning == false }
            #expect(victim.log.contains("was removed from cluster"), "\(victim.log)")
            let left = [cluster.nodes[1], cluster.nodes[2], fourth]
            try eventually("the others agree on three members and a leader") {
                let names = Set(try left.map { try $0.status()["leader"] as? String ?? "" })
                return names.count == 1 && names != [""] && names != ["node1"]
            }
            let written = writer.stop()
            #expect(written.acknowledged.count > 20)
            for number in written.acknowledged { #expect(try left[number % 3].get("w\(number)") == "v\(number)") }
            // It is told that it was removed, whenever it comes.
            try victim.start()
            let again = try #require(try victim.program?.wait(seconds: 20))
            #expect(again.status == 1 && again.errors.contains("was removed from cluster"), "\(again.errors)")
            let consumed = try Program.shell(
                "Server consume --topic t --from-beginning --max-messages 1 --endpoint :\(fourth.grpc)",
                folder: cluster.folder.path)
            #expect(consumed.output == "before\n", "\(consumed.errors)")
        }

        @Test func aWipedNodeComesBackByRemoveAndAdd() throws {
            let cluster = try TestCluster()
            try cluster.start()
            #expect(try cluster.nodes[0].set("a", "b") == 200)
            let node = cluster.nodes[2]
            try node.kill()
            try FileManager.default.removeItem(atPath: "\(cluster.folder.path)/node3")
            let removed = try command("remove node3", cluster.nodes[0], cluster)
            #expect(removed.status == 0, "\(removed.errors)")
            node.extraArguments = ["--join"]
            try node.start()
            try eventually("node3 asks to be added") {
                try command("status", cluster.nodes[0], cluster).output.contains("node3 waits to be added")
            }
            let added = try command("add node3", cluster.nodes[0], cluster)
            #expect(added.status == 0, "\(added.errors)")
            try eventually("node3 votes again") {
                try votes(of: "node3", from: cluster.nodes[1], cluster) == "2/2"
            }
            #expect(try node.get("a") == "b")
        }

        @Test func aLeaderThatIsStoppedHandsOverFirst() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let leader = try cluster.waitForLeader()
            let others = cluster.nodes.filter { $0 !== leader }
            let writer = Writer(others)
            let stopped = try #require(try leader.stop())
            #expect(stopped.status == 0 && stopped.errors.contains("leads nothing any more"), "\(stopped.errors)")
            let written = writer.stop()
            #expect(written.failed == 0, "writes at the other nodes wait for the new leader, none fails")
            for number in written.acknowledged { #expect(try others[number % 2].get("w\(number)") == "v\(number)") }
        }

        /// What a node says of where the members are: by its metadata and by its refusal of what only a leader does.
        private func addresses(by node: TestNode, _ cluster: TestCluster) throws -> [String: String] {
            let answer = try node.curl("HOST/cluster")
            let object = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
            var found: [String: String] = [:]
            for member in object?["members"] as? [[String: Any]] ?? [] {
                found[member["name"] as? String ?? ""] = member["address"] as? String
            }
            return found
        }

        @Test(arguments: ["tcp", "grpc"])
        func aMemberThatComesBackAtAnotherAddressCountsAndIsFoundThere(transport: String) throws {
            let cluster = try TestCluster()
            for node in cluster.nodes { node.extraArguments = ["--transport", transport] }
            try cluster.start()
            let (first, moved, third) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
            #expect(try first.set("before", "1") == 200)
            _ = try moved.stop()
            let old = moved.grpc
            moved.grpc = try freePort()
            try moved.start()
            // With the third gone the two have a quorum only if they found each other.
            try third.kill()
            try eventually("two of three write") { try first.set("after", "2") == 200 }
            #expect(try moved.get("before") == "1")
            try eventually("both know the new address") {
                try [first, moved].allSatisfy {
                    try addresses(by: $0, cluster)["node2"] == "127.0.0.1:\(moved.grpc)"
                }
            }
            // A leader hint is the new address: a produce through the other node goes there.
            _ = try command("transfer node2", first, cluster)
            try eventually("node2 leads") { try first.status()["leader"] as? String == "node2" }
            let produced = try Program.shell(
                "Server produce --topic t --message found --endpoint :\(first.grpc)", folder: cluster.folder.path)
            #expect(produced.status == 0, "\(produced.errors)")
            // The third comes back with the old address in --peers and in its record.
            try third.start()
            try eventually("the third learns it too") {
                try third.get("after") == "2"
                    && (try addresses(by: third, cluster)["node2"]) == "127.0.0.1:\(moved.grpc)"
            }
            try first.kill()
            try eventually("the moved one and the third are a quorum") { try third.set("last", "3") == 200 }
            // And so after a restart of the third alone, from what it stored.
            try third.kill()
            try third.start()
            try eventually("it is found again") { try third.get("last") == "3" }
            let identity = try Data(
                contentsOf: URL(fileURLWithPath: "\(cluster.folder.path)/node3/node/node.json"))
            let stored = try JSONSerialization.jsonObject(with: identity) as? [String: Any]
            let kept = (stored?["members"] as? [[String: Any]] ?? []).compactMap { $0["address"] as? String }
            #expect(kept.contains("127.0.0.1:\(moved.grpc)") && !kept.contains("127.0.0.1:\(old)"))
        }

        @Test func aWholeClusterComesBackAtNewAddresses() throws {
            let cluster = try TestCluster()
            try cluster.start()
            #expect(try cluster.nodes[0].set("a", "1") == 200)
            for node in cluster.nodes { _ = try node.stop() }
            for node in cluster.nodes { node.grpc = try freePort() }
            for node in cluster.nodes { node.peers = cluster.nodes.filter { $0 !== node }.map(\.grpc) }
            for node in cluster.nodes { try node.start() }
            try cluster.waitForLeader()
            #expect(try cluster.nodes[1].get("a") == "1")
            let wanted = Dictionary(uniqueKeysWithValues: cluster.nodes.map { ($0.name, "127.0.0.1:\($0.grpc)") })
            try eventually("all know all new addresses") {
                try cluster.nodes.allSatisfy { try addresses(by: $0, cluster) == wanted }
            }
            // From now on the hints are not needed.
            for node in cluster.nodes { _ = try node.stop() }
            for node in cluster.nodes { node.peers = [] }
            for node in cluster.nodes { try node.start() }
            try cluster.waitForLeader()
            #expect(try cluster.nodes[2].set("b", "2") == 200)
        }

        @Test func twoMembersSwapTheirAddresses() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let (first, second, third) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
            #expect(try first.set("a", "1") == 200)
            _ = try second.stop()
            _ = try third.stop()
            (second.grpc, third.grpc) = (third.grpc, second.grpc)
            (second.peers, third.peers) = ([first.grpc, third.grpc], [first.grpc, second.grpc])
            try second.start()
            try third.start()
            let wanted = Dictionary(uniqueKeysWithValues: cluster.nodes.map { ($0.name, "127.0.0.1:\($0.grpc)") })
            try eventually("all know who is where") {
                try cluster.nodes.allSatisfy { try addresses(by: $0, cluster) == wanted }
            }
            for (number, node) in cluster.nodes.enumerated() { #expect(try node.set("k\(number)", "v") == 200) }
            try first.kill()
            try eventually("the two that swapped are a quorum") { try second.set("b", "2") == 200 }
        }
    }
}
