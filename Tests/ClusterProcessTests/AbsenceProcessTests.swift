// Files of real nodes that are gone, cut or altered between two starts, as they were in the field (issue 15, 1.1 to 1.3
// and 6.3): a node refuses what it can't vouch for by name, or has it rebuilt; nothing that was acknowledged is
// forgotten without a word.
import Foundation
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct AbsenceProcessTests {
        private func produce(
            _ message: String, _ node: TestNode, acks: String = "quorum", _ cluster: TestCluster
        ) throws -> ProgramResult {
            try Program.shell(
                "Server produce --topic tt --message \(message) --acks \(acks) --endpoint :\(node.grpc)",
                folder: cluster.folder.path)
        }

        private func create(_ node: TestNode, _ cluster: TestCluster) throws {
            let result = try Program.shell(
                "Server topics --create tt --partitions 1 --endpoint :\(node.grpc)", folder: cluster.folder.path)
            #expect(result.status == 0, "\(result.errors)")
        }

        /// What a consumer sees of the topic within a moment, through one node.
        private func records(_ node: TestNode, _ cluster: TestCluster) throws -> [String] {
            let result = try Program.shell(
                "timeout 3 Server consume --topic tt --from-beginning --endpoint :\(node.grpc) || true",
                folder: cluster.folder.path)
            return result.output.split(separator: "\n").map(String.init)
        }

        private func verify(_ node: TestNode, _ cluster: TestCluster) throws -> ProgramResult {
            try Program.shell("Server storage verify \(node.name)", folder: cluster.folder.path)
        }

        private func path(_ node: TestNode, _ rest: String) -> String { "\(node.folder)/\(node.name)/\(rest)" }

        private func segment(_ node: TestNode, _ log: String) throws -> String {
            let names = try FileManager.default.contentsOfDirectory(atPath: path(node, log))
            return path(node, "\(log)/" + (try #require(names.filter { $0.hasSuffix(".log") }.max())))
        }

        private func flip(_ file: String, fromEndOfData distance: Int) throws {
            var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
            // Segments are reserved in advance: behind the last frame are zeros.
            let end = try #require(bytes.lastIndex { $0 != 0 }) + 1
            bytes[end - distance] ^= 4
            try bytes.write(to: URL(fileURLWithPath: file))
        }

        // MARK: A log that is missing

        /// It was taken for a new one: healthy, and offset 0 was given out again.
        @Test(arguments: ["rm -r node1/tt-0", "rm node1/tt-0/*.log", "truncate -s 0 node1/tt-0/*.log"])
        func aLoneNodeRefusesATopicWithoutItsLog(order: String) throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            try create(node, cluster)
            for number in 0..<3 { #expect(try produce("m\(number)", node, cluster).status == 0) }
            #expect(try node.stop()?.status == 0)
            _ = try Program.shell(order, folder: cluster.folder.path)
            #expect(try verify(node, cluster).status != 0)
            try node.start()
            try cluster.waitForLeader()
            let answer = try produce("again", node, cluster)
            #expect(answer.status != 0 && answer.errors.contains("tt-0"), "\(answer.output) \(answer.errors)")
            #expect(node.log.contains("repair --accept-loss tt-0"), "\(node.log.suffix(1000))")
            #expect(try node.set("others", "serve") == 200)
            let text = try node.curl("HOST/metrics").body
            #expect(text.contains("strata_groups_unavailable 1"))
        }

        /// n1 and n2 acknowledged what n3 has not; n2 lost its folder. Then n3 must not lead with what it has.
        @Test func aMajorityOfWhichOneLostItsFolderForgetsNothing() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let (n1, n2, n3) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
            try create(n1, cluster)
            #expect(try produce("first", n1, cluster).status == 0)
            try eventually("n3 has the record") { try segmentBytes(n3) >= segmentBytes(n1) }
            _ = try n3.stop()
            for number in 0..<5 { #expect(try produce("m\(number)", n1, cluster).status == 0) }
            _ = try n1.stop()
            _ = try n2.stop()
            try FileManager.default.removeItem(atPath: path(n2, "tt-0"))
            try n2.start()
            try n3.start()
            usleep(3_000_000)
            // Whether somebody leads or not: offset 1 is taken.
            let answer = try Program.shell(
                "timeout 8 Server produce --topic tt --message wrong --endpoint :\(n3.grpc)",
                folder: cluster.folder.path)
            #expect(!answer.output.contains("tt-0 @ 1"), "\(answer.output)")
            try n1.start()
            try eventually("the six records are there", seconds: 30) {
                Array(try records(n1, cluster).prefix(6)) == ["first"] + (0..<5).map { "m\($0)" }
            }
            try eventually("n2 has them again", seconds: 30) {
                Array(try records(n2, cluster).prefix(6)) == ["first"] + (0..<5).map { "m\($0)" }
            }
            #expect(n2.log.contains("tt-0"), "it says what it lost")
        }

        private func segmentBytes(_ node: TestNode) throws -> Int {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: try segment(node, "tt-0")))
            return (bytes.lastIndex { $0 != 0 } ?? -1) + 1
        }

        // MARK: Damage at the end

        /// After a clean stop nothing at the end can be a torn write.
        @Test func damageInTheLastBatchIsNoTornTail() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            try create(node, cluster)
            for message in ["a", "b", "c"] { #expect(try produce(message, node, cluster).status == 0) }
            #expect(try node.stop()?.status == 0)
            #expect(try verify(node, cluster).status == 0)
            // Behind the last batch is the marker of 48 bytes that says so.
            try flip(try segment(node, "tt-0"), fromEndOfData: 48 + 5)
            let verified = try verify(node, cluster)
            #expect(verified.status != 0, "\(verified.output)")
            try node.start()
            try cluster.waitForLeader()
            #expect(try produce("d", node, cluster).status != 0, "offset 2 is taken")
            #expect(node.log.contains("tt-0 is refused"), "\(node.log.suffix(1000))")
        }

        /// Half a frame behind the end is what a crash leaves; it is cut, and said and counted.
        @Test func aTornTailIsCutAndSaid() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            try create(node, cluster)
            #expect(try produce("a", node, cluster).status == 0)
            usleep(1_500_000)
            try node.kill()
            let file = try segment(node, "tt-0")
            var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
            let end = try #require(bytes.lastIndex { $0 != 0 }) + 1
            let torn = Data(repeating: 0x5a, count: 30)
            if end + torn.count > bytes.count { bytes.append(Data(count: torn.count)) }
            bytes.replaceSubrange(end..<end + torn.count, with: torn)
            try bytes.write(to: URL(fileURLWithPath: file))
            #expect(try verify(node, cluster).status != 0)
            try node.start()
            try cluster.waitForLeader()
            #expect(try produce("b", node, cluster).output.contains("@ 1"))
            #expect(node.log.contains("cut off at byte"), "\(node.log.suffix(1000))")
            let text = try node.curl("HOST/metrics").body
            #expect(text.contains("strata_diagnostics_total{kind=\"torn_tail\"} 1"))
        }

        /// No checksum shows a cut at a frame's boundary; a log that was idle is sealed, and the floor testifies.
        @Test func aFrameThatIsCutOffAnIdleLogIsNoticedAfterAKill() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            try create(node, cluster)
            for message in ["a", "b", "c"] { #expect(try produce(message, node, cluster).status == 0) }
            usleep(3_000_000)
            try node.kill()
            let file = try segment(node, "tt-0")
            let dump = try Program.shell("Server storage dump log \(file)", folder: cluster.folder.path).output
            // The byte at which the last batch of records begins: the first column of its row.
            let last = try #require(dump.split(separator: "\n").last { $0.contains("records ") }, "\(dump)")
            let start = try #require(last.split(separator: " ").first.flatMap { UInt64($0) }, "\(dump)")
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
            try handle.truncate(atOffset: start)
            try handle.close()
            let verified = try verify(node, cluster)
            #expect(verified.status != 0 && verified.output.contains("recorded as durable"), "\(verified.output)")
            try node.start()
            try cluster.waitForLeader()
            #expect(try produce("d", node, cluster).status != 0, "offset 2 is taken")
            #expect(node.log.contains("accept-loss tt-0"), "\(node.log.suffix(1000))")
        }

        /// The newest entry of a quiet controller is the creation of a topic; with it went all its records.
        @Test func aFlippedBitDoesNotTakeATopicWithIt() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            try create(node, cluster)
            #expect(try produce("a", node, cluster).status == 0)
            #expect(try node.stop()?.status == 0)
            let file = try segment(node, "node/controller")
            let good = try Data(contentsOf: URL(fileURLWithPath: file))
            try flip(file, fromEndOfData: 48 + 5)
            try node.start()
            let result = try #require(try node.program?.wait(seconds: 20))
            #expect(result.status != 0 && result.errors.contains("controller"), "\(result.errors.suffix(1000))")
            try good.write(to: URL(fileURLWithPath: file))
            try node.start()
            try cluster.waitForLeader()
            #expect(try records(node, cluster) == ["a"])
        }

        // MARK: Identity

        @Test(arguments: ["node/raft/keyvalue.state", "node/raft/controller.state", "node/node.json"])
        func noIdentityIsMadeAnew(file: String) throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            #expect(try node.set("a", "b") == 200)
            #expect(try node.stop()?.status == 0)
            let kept = try Data(contentsOf: URL(fileURLWithPath: path(node, file)))
            try FileManager.default.removeItem(atPath: path(node, file))
            #expect(try verify(node, cluster).status != 0)
            try node.start()
            let result = try #require(try node.program?.wait(seconds: 20))
            let name = try #require(file.split(separator: "/").last?.split(separator: ".").first)
            #expect(result.status != 0 && result.errors.contains(name), "\(result.errors.suffix(1000))")
            try kept.write(to: URL(fileURLWithPath: path(node, file)))
            try node.start()
            try cluster.waitForLeader()
            #expect(try node.get("a") == "b")
        }

        // MARK: The last change of the members

        /// A group's commit index began at 0 at each start, so that a removed dead node was still needed and an added
        /// one did not count: two of the three new members never elected anybody.
        @Test func aMajorityOfTheNewMembersElectsAfterAFullStop() throws {
            let cluster = try TestCluster()
            try cluster.start()
            func command(_ line: String, _ node: TestNode) throws -> ProgramResult {
                try Program.shell("Server cluster \(line) --endpoint :\(node.http)", folder: cluster.folder.path)
            }
            let (n1, n2, n3) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
            #expect(try n1.set("a", "b") == 200)
            let n4 = try TestNode(name: "node4", folder: cluster.folder.path)
            n4.peers = cluster.nodes.map(\.grpc)
            n4.extraArguments = ["--join"]
            try n4.start()
            defer { try? n4.kill() }
            try eventually("node4 asks to be added") {
                try command("status", n1).output.contains("node4 waits to be added")
            }
            let added = try command("add node4", n1)
            #expect(added.status == 0, "\(added.errors)")
            try eventually("node4 votes in every group") {
                try command("status", n1).output.split(separator: "\n")
                    .contains { $0.hasPrefix("node4") && $0.contains(" 2/2 ") && $0.hasSuffix("0/2") }
            }
            try n3.kill()
            let removed = try command("remove node3", n1)
            #expect(removed.status == 0, "\(removed.errors)")
            try eventually("node3 is no member any more") { try !command("status", n1).output.contains("node3") }
            #expect(try n1.set("c", "d") == 200)
            for node in [n1, n2, n4] { try node.kill() }
            // Of node1, node2 and node4.
            for node in [n2, n4] { try node.start() }
            let begun = ContinuousClock.now
            try eventually("two of the three new members have a leader", seconds: 15) {
                let names = Set(try [n2, n4].map { try $0.status()["leader"] as? String ?? "" })
                return names.count == 1 && !names.contains("")
            }
            print("a leader after \(ContinuousClock.now - begun)")
            #expect(try n2.get("c") == "d")
        }
    }
}
