// Every literal command that the documentation promises, typed as a new user would, on the ports that they name. Runs
// alone: the ports are fixed.
import Foundation
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct CommandTests {
        private func start(_ arguments: [String], in folder: String, name: String) throws -> Program {
            try Program(Program.server, arguments, folder: folder, name: name)
        }

        private func stop(_ program: Program) throws {
            program.signal(SIGTERM)
            #expect(try program.wait(seconds: 10).status == 0)
        }

        private func shell(_ line: String, _ folder: TemporaryFolder, seconds: Double = 30) throws -> String {
            let result = try Program.shell(line, folder: folder.path, seconds: seconds)
            #expect(result.status == 0, "\(line): \(result.errors)")
            return result.output
        }

        @Test func aBrokerOfOneNode() throws {
            let folder = try TemporaryFolder()
            let server = try start(["--port", "9092", "--data", "./data"], in: folder.path, name: "server")
            try eventually("the server is healthy: \(server.errors)") {
                try Program.shell("curl -sf localhost:8080/health", folder: folder.path).status == 0
            }
            _ = try shell("Server produce --topic events --message 'Hello, World!'", folder)
            _ = try shell("Server produce -topic events -message 'one dash'", folder)
            let consumed = try shell("Server consume --topic events --from-beginning --max-messages 2", folder)
            #expect(consumed == "Hello, World!\none dash\n")
            let again = try shell("Server consume -topic events -from-beginning -max-messages=1", folder)
            #expect(again == "Hello, World!\n")
            #expect(try shell("Server topics --list", folder).contains("events"))
            let session = try shell(
                "printf 'SET user_id 42069\\r\\nGET user_id\\r\\nDELETE user_id\\r\\n' | nc -N localhost 6379", folder
            )
            #expect(session == "+OK\r\n$5\r\n42069\r\n+OK\r\n")
            // The consumer without a bound follows the topic until it is interrupted.
            let follower = try Program(
                Program.server, ["consume", "--topic", "events", "--from-beginning"], folder: folder.path,
                name: "follower")
            try eventually("the follower printed what was there") { follower.output.contains("one dash") }
            _ = try shell("Server produce --topic events --message later", folder)
            try eventually("the follower printed what came later") { follower.output.contains("later") }
            follower.signal(SIGINT)
            try stop(server)
        }

        @Test func aClusterOfThree() throws {
            let folder = try TemporaryFolder()
            let lines = [
                "--id node1 --address :7001 --http :8001 --peers :7002,:7003",
                "-id=node2 -address=:7002 -http=:8002 -peers=:7001,:7003",
                "--id node3 --address :7003 --http :8003 --peers node1=127.0.0.1:7001,node2=127.0.0.1:7002",
            ]
            let servers = try lines.enumerated().map { number, line in
                try start(line.split(separator: " ").map(String.init), in: folder.path, name: "server\(number)")
            }
            try eventually("all are healthy: \(servers.map(\.errors))") {
                try (1...3).allSatisfy {
                    try Program.shell("curl -sf localhost:800\($0)/health", folder: folder.path).status == 0
                }
            }
            let set = try shell(
                "curl -s -X POST localhost:8001/set -H 'Content-Type: application/json' "
                    + "-d '{\"key\":\"name\",\"value\":\"x\"}'", folder)
            #expect(set == "{\"success\":true,\"index\":1}")
            let get = try shell("curl -s 'localhost:8001/get?key=name'", folder)
            #expect(get == "{\"key\":\"name\",\"value\":\"x\",\"found\":true}")
            let put = try shell("curl -s 'localhost:8001/put?key=hello&val=world'", folder)
            #expect(put == "{\"success\":true,\"index\":2}")
            let status = try shell("curl -s localhost:8001/status", folder)
            let object = try #require(try JSONSerialization.jsonObject(with: Data(status.utf8)) as? [String: Any])
            for field in ["nodeId", "state", "term", "commitIndex", "logLength", "leader", "isLeader"] {
                #expect(object[field] != nil, "\(field) is missing in \(status)")
            }
            #expect(object["nodeId"] as? String == "node1")
            for server in servers { try stop(server) }
        }
    }
}
