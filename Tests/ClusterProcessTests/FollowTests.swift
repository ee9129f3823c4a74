// Real nodes that stop while somebody follows a topic: the command goes on with another node, or with the same one when
// it is back, and says in one sentence when nobody comes. It never ends as if it had read everything.
import Foundation
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct FollowTests {
        private func produce(_ messages: [String], at node: TestNode, in folder: String) throws {
            let arguments = messages.map { "--message \($0)" }.joined(separator: " ")
            let result = try Program.shell(
                "Server produce --topic t \(arguments) --endpoint :\(node.grpc)", folder: folder)
            #expect(result.status == 0, "\(result.errors)")
        }

        private func follow(_ node: TestNode, _ messages: Int, in folder: String) throws -> Program {
            try Program(
                Program.server,
                [
                    "consume", "--topic", "t", "--from-beginning", "--max-messages", "\(messages)", "--endpoint",
                    ":\(node.grpc)",
                ],
                folder: folder, name: "consume")
        }

        @Test func aFollowGoesOnWhenItsNodeIsStoppedAndStartedAgain() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let (node, folder) = (cluster.nodes[0], cluster.folder.path)
            try produce(["a", "b"], at: node, in: folder)
            let consumer = try follow(node, 4, in: folder)
            try eventually("what is there is read: \(consumer.errors)") { consumer.output == "a\nb\n" }
            #expect(try node.stop()?.status == 0)
            #expect(consumer.isRunning, "the follow ended with its node: \(consumer.errors)")
            try node.start()
            try cluster.waitForLeader()
            try produce(["c", "d"], at: node, in: folder)
            let result = try consumer.wait(seconds: 20)
            #expect(result.status == 0 && result.output == "a\nb\nc\nd\n", "\(result.output)\(result.errors)")
        }

        @Test func aFollowWhoseNodeStaysAwayFailsInOneSentence() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let (node, folder) = (cluster.nodes[0], cluster.folder.path)
            try produce(["a"], at: node, in: folder)
            let consumer = try follow(node, 4, in: folder)
            try eventually("what is there is read: \(consumer.errors)") { consumer.output == "a\n" }
            #expect(try node.stop()?.status == 0)
            let result = try consumer.wait(seconds: 30)
            #expect(result.status == 1 && result.output == "a\n")
            #expect(
                result.errors.split(separator: "\n").count == 1 && result.errors.hasPrefix("Server: "),
                "\(result.errors)")
        }

        @Test func aFollowGoesOnAtTheNextLeader() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let folder = cluster.folder.path
            try produce(["a"], at: cluster.nodes[0], in: folder)
            // The node that the command is told of stays; the partition's leader, which it reads from, is stopped.
            let described = try Program.shell(
                "Server topics --describe --topic t --endpoint :\(cluster.nodes[0].grpc)", folder: folder)
            let leader = try #require(
                cluster.nodes.first { described.output.contains(":\($0.grpc) ") }, "\(described.output)")
            let other = try #require(cluster.nodes.first { $0 !== leader })
            let consumer = try follow(other, 3, in: folder)
            try eventually("what is there is read: \(consumer.errors)") { consumer.output == "a\n" }
            #expect(try leader.stop()?.status == 0)
            try produce(["b", "c"], at: other, in: folder)
            let result = try consumer.wait(seconds: 20)
            #expect(result.status == 0 && result.output == "a\nb\nc\n", "\(result.output)\(result.errors)")
        }

        /// Right after a start, and right after a creation: nobody is told that a topic does not exist.
        @Test func aTopicThatExistsIsNeverDenied() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let (node, folder) = (cluster.nodes[0], cluster.folder.path)
            for round in 0..<3 {
                let line =
                    "Server topics --create t\(round) --partitions 3 --endpoint :\(node.grpc) && "
                    + "Server consume --topic t\(round) --partition 2 --from-beginning --max-messages 0 --endpoint :\(node.grpc) && "
                    + "Server produce --topic t\(round) --partition 2 --message x --endpoint :\(node.grpc)"
                let result = try Program.shell(line, folder: folder)
                #expect(
                    result.status == 0 && result.output.contains("t\(round)-2 @ 0"), "\(result.output)\(result.errors)")
                _ = try node.stop()
                try node.start()
                // At once, while the node is starting.
                let listed = try Program.shell(
                    "until Server topics --list --endpoint :\(node.grpc) > list 2> why; do grep -q 'can.t serve this now' why || exit 9; done; cat list",
                    folder: folder)
                #expect(listed.status == 0 && listed.output.contains("t\(round)\n"), "\(listed.output)\(listed.errors)")
            }
        }
    }
}
