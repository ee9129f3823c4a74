// Wrong input gets one clear sentence that names the thing and the remedy, the right exit or HTTP status, and costs
// nothing.
import Foundation
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct BadInputTests {
        private func refused(_ arguments: [String], status: Int32, says words: String...) throws {
            let folder = try TemporaryFolder()
            let result = try Program.run(Program.server, arguments, folder: folder.path, seconds: 20)
            #expect(result.status == status, "\(arguments): \(result.errors)")
            for word in words { #expect(result.errors.contains(word), "\(arguments): \(result.errors)") }
        }

        @Test func wrongFlags() throws {
            try refused(["--nonsense"], status: 64, says: "nonsense")
            try refused(["--port", "many"], status: 64, says: "port")
            try refused(["--address", "nowhere"], status: 64, says: "nowhere", "port")
            try refused(["--address", ":99999"], status: 64, says: "99999", "port")
            try refused(["--id", "a/b"], status: 1, says: "a/b", "letters")
            try refused(["--peers", ":7002"], status: 1, says: "--peers", "--address")
            try refused(["--address", ":7001", "--peers", ":7001"], status: 1, says: "own address")
            try refused(["--log-level", "loud"], status: 1, says: "loud", "info")
            try refused(["--fault", "pull-plug"], status: 1, says: "pull-plug", "power-loss")
            try refused(["--transport", "pigeon"], status: 1, says: "pigeon", "tcp")
            try refused(["produce", "--message", "x"], status: 64, says: "topic")
        }

        /// Whatever is wrong with it, the node says so and leaves nothing behind: no folder, no listener, no cluster of
        /// its own.
        @Test(arguments: [
            (#"{"strata":{"address":":21050","peers":":21051","joins":true}}"#, "strata.join"),
            (#"{"strata":{"address":":21050","peer":":21051"}}"#, "strata.peer"),
            (#"{"strata":{"address":21050,"peers":[":21051"]}}"#, "strata.address"),
            (#"{"address":":21050","peers":[":21051"]}"#, "within \"strata\""), ("", "is not JSON"),
            ("{}", "no \"strata\""),
        ])
        func aWrongConfigurationFile(json: String, words: String) throws {
            let folder = try TemporaryFolder()
            try Data(json.utf8).write(to: URL(fileURLWithPath: "\(folder.path)/strata.json"))
            let result = try Program.run(
                Program.server, ["--config", "strata.json", "--data", "kept/out"], folder: folder.path, seconds: 20)
            #expect(result.status == 1, "\(result.errors)")
            #expect(result.errors.contains("strata.json") && result.errors.contains(words), "\(result.errors)")
            #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/kept"))
        }

        @Test func aWrongEnvironmentOrAMissingFile() throws {
            let folder = try TemporaryFolder()
            let wrong = try Program.run(
                Program.server, [], folder: folder.path, seconds: 20, environment: ["STRATA_PEER": ":21051"])
            #expect(wrong.status == 1 && wrong.errors.contains("STRATA_PEERS"), "\(wrong.errors)")
            let missing = try Program.run(
                Program.server, ["--config", "nowhere.json"], folder: folder.path, seconds: 20)
            #expect(missing.status == 1 && missing.errors.contains("nowhere.json can't be read"), "\(missing.errors)")
            #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/data"))
        }

        /// What was skipped on the way to a cluster of its own: a list of peers, and join as a text.
        @Test func naturalTypesInTheFileMakeOneClusterOfThree() throws {
            let cluster = try TestCluster()
            for node in cluster.nodes {
                let peers = node.peers.map { "\":\($0)\"" }.joined(separator: ",")
                let json = "{\"strata\":{\"peers\":[\(peers)],\"join\":\"false\",\"stall\":{\"limit\":5000}}}"
                try Data(json.utf8).write(to: URL(fileURLWithPath: "\(cluster.folder.path)/\(node.name).json"))
                node.peers = []
                node.extraArguments = ["--config", "\(node.name).json"]
            }
            try cluster.start()
            let members = try cluster.nodes[0].curl("HOST/cluster").body
            for node in cluster.nodes { #expect(members.contains("\"\(node.name)\""), "\(members)") }
        }

        @Test func theVersionIsPrinted() throws {
            let folder = try TemporaryFolder()
            for word in ["--version", "-version"] {
                let result = try Program.run(Program.server, [word], folder: folder.path, seconds: 20)
                #expect(result.status == 0 && result.output.hasPrefix("strata "), "\(result.output)\(result.errors)")
            }
        }

        @Test func aPortInUse() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            for (flag, port) in [("--address", node.grpc), ("--http", node.http), ("--resp", node.resp)] {
                let others = ["--address", "--http", "--resp"].filter { $0 != flag }
                let arguments =
                    try ["--data", "other", flag, ":\(port)"] + others.flatMap { [$0, ":\(try freePort())"] }
                let result = try Program.run(Program.server, arguments, folder: cluster.folder.path, seconds: 20)
                #expect(result.status == 1, "\(result.errors)")
                #expect(result.errors.contains("\(port)") && result.errors.contains(flag), "\(result.errors)")
            }
            #expect(try node.set("still", "there") == 200)
        }

        @Test func aDataFolderThatIsNotOurs() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            let folder = cluster.folder.path
            func start(_ name: String, data: String) throws -> ProgramResult {
                let ports = try (0..<3).map { _ in try freePort() }
                return try Program.run(
                    Program.server,
                    [
                        "--id", name, "--data", data, "--address", ":\(ports[0])", "--http", ":\(ports[1])", "--resp",
                        ":\(ports[2])",
                    ],
                    folder: folder, seconds: 20)
            }
            let locked = try start("node1", data: "\(folder)/node1")
            #expect(locked.status == 1 && locked.errors.contains("another process"), "\(locked.errors)")
            _ = try node.stop()
            let foreign = try start("other", data: "\(folder)/node1")
            #expect(foreign.status == 1 && foreign.errors.contains("belongs to the node node1"), "\(foreign.errors)")
            FileManager.default.createFile(atPath: "\(folder)/file", contents: Data())
            let unusable = try start("x", data: "\(folder)/file/data")
            #expect(unusable.status == 1 && unusable.errors.contains("file/data"), "\(unusable.errors)")
            try node.start()
            try cluster.waitForLeader()
        }

        @Test func aCorruptLogIsRefusedAndKept() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            for number in 0..<50 { #expect(try node.set("k\(number)", "v") == 200) }
            try node.kill()
            let path = "\(cluster.folder.path)/node1/node/keyvalue/log/00000000000000000001.log"
            let before = try Data(contentsOf: URL(fileURLWithPath: path))
            var damaged = before
            damaged[damaged.count / 2] ^= 0xff
            try damaged.write(to: URL(fileURLWithPath: path))
            try node.start()
            let result = try #require(try node.program?.wait(seconds: 20))
            #expect(result.status == 1)
            #expect(result.errors.contains("00000000000000000001.log"), "\(result.errors)")
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == damaged, "a damaged log must be left as it is")
            try before.write(to: URL(fileURLWithPath: path))
            try node.start()
            try cluster.waitForLeader()
            #expect(try node.get("k49") == "v")
        }

        @Test func wrongRequests() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            let node = cluster.nodes[0]
            func expect(_ line: String, _ status: Int, _ words: String) throws {
                let answer = try node.curl(line)
                #expect(answer.status == status, "\(line): \(answer.status) \(answer.body)")
                #expect(answer.body.contains(words), "\(line): \(answer.body)")
            }
            try expect("-X POST HOST/set -d '{\"key\":'", 400, "JSON")
            try expect("-X POST HOST/set -d '{\"key\":\"\",\"value\":\"x\"}'", 400, "empty")
            try expect("-X POST HOST/set -d '{\"value\":\"x\"}'", 400, "key")
            try expect("'HOST/get'", 400, "key")
            try expect("'HOST/get?key=missing'", 404, "\"found\":false")
            try expect("HOST/nowhere", 404, "nothing at this path")
            let long = "\(cluster.folder.path)/long.json"
            let key = String(repeating: "k", count: 70_000)
            try Data("{\"key\":\"\(key)\",\"value\":\"x\"}".utf8).write(to: URL(fileURLWithPath: long))
            try expect("-X POST HOST/set -d @\(long)", 413, "65536")
            let endpoint = "--endpoint :\(node.grpc)"
            let unknown = try Program.shell(
                "Server consume --topic nothing --from-beginning \(endpoint)", folder: cluster.folder.path)
            #expect(unknown.status == 1 && unknown.errors.contains("nothing"), "\(unknown.errors)")
            _ = try Program.shell("Server topics --create t --partitions 2 \(endpoint)", folder: cluster.folder.path)
            let partition = try Program.shell(
                "Server produce --topic t --partition 7 --message x \(endpoint)", folder: cluster.folder.path)
            #expect(partition.status == 1 && partition.errors.contains("partition"), "\(partition.errors)")
        }
    }
}
