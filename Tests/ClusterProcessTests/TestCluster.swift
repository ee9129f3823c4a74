// A cluster of real Server processes on loopback, as a user would start it.
import Foundation
import TestSupport

/// One node's command line and, while it runs, its process.
final class TestNode {
    let name: String
    /// Another one moves the node at its next start.
    var grpc: Int
    let http: Int
    let resp: Int
    let folder: String
    var peers: [Int] = []
    var extraArguments: [String] = []
    var environment: [String: String] = [:]
    /// Words before the command line.
    var entry: [String] = []
    private(set) var program: Program?
    private var starts = 0

    init(name: String, folder: String) throws {
        self.name = name
        self.folder = folder
        grpc = try freePort()
        http = try freePort()
        resp = try freePort()
    }

    var arguments: [String] {
        var arguments = [
            "--id", name, "--address", ":\(grpc)", "--http", ":\(http)", "--resp", ":\(resp)", "--data",
            "\(folder)/\(name)",
        ]
        if !peers.isEmpty { arguments += ["--peers", peers.map { ":\($0)" }.joined(separator: ",")] }
        return arguments + extraArguments
    }

    func start() throws {
        starts += 1
        let line = entry + [Program.server] + arguments
        program = try Program(
            line[0], Array(line.dropFirst()), folder: folder, name: "\(name)-\(starts)", environment: environment)
    }

    func kill() throws {
        program?.signal(SIGKILL)
        _ = try program?.wait(seconds: 5)
        program = nil
    }

    /// SIGTERM, and the end that it asks for.
    func stop() throws -> ProgramResult? {
        program?.signal(SIGTERM)
        defer { program = nil }
        return try program?.wait(seconds: 10)
    }

    var log: String { program?.errors ?? "" }

    func status() throws -> [String: Any] {
        let answer = try Program.shell("curl -s -m 2 localhost:\(http)/status", folder: folder, seconds: 5)
        guard let object = try JSONSerialization.jsonObject(with: Data(answer.output.utf8)) as? [String: Any] else {
            throw TestFailure("\(name) gave no status")
        }
        return object
    }

    func curl(_ rest: String) throws -> (status: Int, body: String) {
        let answer = try Program.shell(
            "curl -s -m 10 -w '\\n%{http_code}' \(rest.replacingOccurrences(of: "HOST", with: "localhost:\(http)"))",
            folder: folder, seconds: 15)
        var lines = answer.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let status = Int(lines.removeLast()) ?? 0
        return (status, lines.joined(separator: "\n"))
    }

    func set(_ key: String, _ value: String) throws -> Int {
        try curl(
            "-X POST HOST/set -H 'Content-Type: application/json' -d '{\"key\":\"\(key)\",\"value\":\"\(value)\"}'"
        ).status
    }

    func get(_ key: String) throws -> String? {
        let answer = try curl("'HOST/get?key=\(key)'")
        guard answer.status == 200 else { return nil }
        let object = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
        return object?["value"] as? String
    }
}

final class TestCluster {
    let folder: TemporaryFolder
    let nodes: [TestNode]

    init(size: Int = 3) throws {
        folder = try TemporaryFolder()
        let path = folder.path
        nodes = try (1...size).map { try TestNode(name: "node\($0)", folder: path) }
        for node in nodes { node.peers = nodes.filter { $0 !== node }.map(\.grpc) }
    }

    deinit {
        for node in nodes { try? node.kill() }
    }

    func start() throws {
        for node in nodes { try node.start() }
        try waitForLeader()
    }

    @discardableResult
    func waitForLeader() throws -> TestNode {
        var leader: TestNode?
        try eventually("a leader that all running nodes agree on") {
            let running = nodes.filter { $0.program?.isRunning == true }
            let names = Set(try running.map { try $0.status()["leader"] as? String ?? "" })
            leader = running.first { names == [$0.name] }
            return leader != nil
        }
        guard let leader else { throw TestFailure("no leader") }
        return leader
    }
}
