// The HTTP front end over a real socket, byte for byte: the commands of the README, every status code, odd keys and
// values, and broken requests.
import Cluster
import Foundation
import KeyValue
import Logging
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

@testable import Server

@Suite struct HTTPServerTests {
    struct Answer: Equatable {
        var status: Int
        var body: String
    }

    /// Runs a test against a listener of its own.
    private func withServer(
        _ store: FakeStore = FakeStore(), node: FakeNode = FakeNode(), _ body: (Int) async throws -> Void
    ) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let group = MultiThreadedEventLoopGroup.singleton
        let (ports, port) = AsyncStream<Int>.makeStream()
        let server = HTTPServer(
            address: ListenAddress(host: "127.0.0.1", port: 0), store: store, node: node, hashes: FakeHashes(),
            pending: PendingRequests(group: group), group: group, logger: logger, metrics: { "strata_up 1\n" },
            onListening: { port.yield($0) })
        let services = ServiceGroup(configuration: .init(services: [server], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await services.run() }
            for await number in ports {
                try await body(number)
                break
            }
            await services.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// One request on a connection of its own; the raw answer.
    private func raw(_ port: Int, _ method: String, _ path: String, _ body: [UInt8]) async throws -> String {
        let client = try LoopbackClient(port: port)
        let head = "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        try await client.send(Array("\(head)Content-Length: \(body.count)\r\n\r\n".utf8) + body)
        return try await client.receiveAll()
    }

    private func ask(_ port: Int, _ method: String, _ path: String, _ body: String = "") async throws -> Answer {
        let text = try await raw(port, method, path, Array(body.utf8))
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let status = Int(text.dropFirst("HTTP/1.1 ".count).prefix(3)) else {
            throw LoopbackError(description: "no HTTP answer: \(text.debugDescription)")
        }
        return Answer(status: status, body: String(parts[1]))
    }

    @Test func theCommandsOfTheReadme() async throws {
        try await withServer { port in
            var answer = try await ask(port, "POST", "/set", #"{"key":"name","value":"x"}"#)
            #expect(answer == Answer(status: 200, body: #"{"success":true,"index":1}"#))
            answer = try await ask(port, "GET", "/get?key=name")
            #expect(answer == Answer(status: 200, body: #"{"key":"name","value":"x","found":true}"#))
            answer = try await ask(port, "GET", "/put?key=hello&val=world")
            #expect(answer == Answer(status: 200, body: #"{"success":true,"index":2}"#))
            answer = try await ask(port, "GET", "/get?key=hello&consistency=stale")
            #expect(answer == Answer(status: 200, body: #"{"key":"hello","value":"world","found":true}"#))
            answer = try await ask(port, "POST", "/delete", #"{"key":"hello"}"#)
            #expect(answer == Answer(status: 200, body: #"{"success":true,"index":3}"#))
            answer = try await ask(port, "DELETE", "/delete?key=name")
            #expect(answer == Answer(status: 200, body: #"{"success":true,"index":4}"#))
            answer = try await ask(port, "GET", "/get?key=name")
            #expect(answer == Answer(status: 404, body: #"{"key":"name","value":"","found":false}"#))
            answer = try await ask(port, "GET", "/status")
            #expect(
                answer.body
                    == #"{"nodeId":"node1","state":"leader","term":3,"commitIndex":17,"logLength":18,"leader":"node1","#
                    + #""isLeader":true}"#)
            answer = try await ask(port, "GET", "/health")
            #expect(answer == Answer(status: 200, body: #"{"status":"ok"}"#))
            let metrics = try await raw(port, "GET", "/metrics", [])
            #expect(metrics.lowercased().contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"))
            #expect(metrics.hasSuffix("\r\n\r\nstrata_up 1\n"))
        }
    }

    @Test func oddKeysAndValuesSurvive() async throws {
        let store = FakeStore()
        try await withServer(store) { port in
            var answer = try await ask(port, "PUT", "/put?key=a%20b%26%3D+c&val=%2B%25")
            #expect(answer.status == 200)
            #expect(store.value("a b&= c") == Array("+%".utf8))
            answer = try await ask(port, "GET", "/get?key=a%20b%26%3D+c")
            #expect(answer.body == #"{"key":"a b&= c","value":"+%","found":true}"#)

            answer = try await ask(port, "POST", "/set", #"{"key":"q","value":"\"\\\n\u0001é𝄞"}"#)
            #expect(store.value("q") == Array("\"\\\n\u{1}é𝄞".utf8))
            answer = try await ask(port, "GET", "/get?key=q")
            #expect(answer.body == #"{"key":"q","value":"\"\\\n\u0001é𝄞","found":true}"#)

            answer = try await ask(port, "GET", "/put?key=%FF&val=%FE%00")
            answer = try await ask(port, "GET", "/get?key=%ff")
            #expect(answer.body == #"{"keyBase64":"/w==","valueBase64":"/gA=","found":true}"#)
            answer = try await ask(port, "POST", "/set", #"{"key":"b","valueBase64":"/gA="}"#)
            #expect(store.value("b") == [0xFE, 0])
            answer = try await ask(port, "GET", "/put?key=empty&val=")
            #expect(answer.status == 200 && store.value("empty") == [])
        }
    }

    @Test(arguments: [
        ("POST", "/set", "{", 400, "the body is not JSON"),
        ("POST", "/set", "", 400, "the body is not JSON"),
        ("POST", "/set", "[1]", 400, "JSON object"),
        ("POST", "/set", #"{"key":"a"}"#, 400, "'value' is missing"),
        ("POST", "/set", #"{"value":"a"}"#, 400, "'key' is missing"),
        ("POST", "/set", #"{"key":1,"value":"a"}"#, 400, "'key' must be a string"),
        ("POST", "/set", #"{"key":"a","valueBase64":"?"}"#, 400, "not base64"),
        ("POST", "/set", #"{"key":"","value":"a"}"#, 400, "the key is empty"),
        ("GET", "/get", "", 400, "'key' is missing"),
        ("GET", "/get?key=", "", 400, "the key is empty"),
        ("GET", "/get?key=a&consistency=fresh", "", 400, "'fresh' is no consistency"),
        ("GET", "/get?key=%4", "", 400, "broken percent escape"),
        ("GET", "/get?key=%zz", "", 400, "broken percent escape"),
        ("GET", "/put?key=a", "", 400, "'val' is missing"),
        ("DELETE", "/delete", "", 400, "the body is not JSON"),
        ("DELETE", "/get?key=a", "", 405, "use GET"),
        ("GET", "/set", "", 405, "use POST"),
        ("GET", "/", "", 404, "nothing at this path"),
        ("GET", "/get/", "", 404, "nothing at this path"),
        ("GET", "/get?key=busy", "", 503, "no quorum"),
        ("GET", "/put?key=lost&val=1", "", 504, "may have been applied"),
        ("GET", "/put?key=disk&val=1", "", 500, "fsync failed"),
    ])
    func problems(_ method: String, _ path: String, _ body: String, _ status: Int, _ words: String) async throws {
        let store = FakeStore()
        store.fail("busy", with: .unavailable("no quorum"))
        store.fail("lost", with: .unknown("the leader changed"))
        store.fail("disk", with: .storage("fsync failed"))
        try await withServer(store) { port in
            let answer = try await ask(port, method, path, body)
            #expect(answer.status == status)
            #expect(answer.body.hasPrefix(#"{"success":false,"error":""#) && answer.body.contains(words))
        }
    }

    @Test func whatIsTooLongIsRefused() async throws {
        try await withServer { port in
            let key = String(repeating: "k", count: KeyValueLimits.keyBytesMax + 1)
            var answer = try await ask(port, "POST", "/set", #"{"key":"\#(key)","value":"x"}"#)
            #expect(answer.status == 413)
            // Refused by its announced length, before a byte of it was taken.
            let client = try LoopbackClient(port: port)
            try await client.send(
                "POST /set HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(HTTPRoutes.bodyBytesMax + 1)\r\n\r\n")
            let head = try await client.receive("HTTP/1.1 413".utf8.count)
            #expect(String(decoding: head, as: UTF8.self) == "HTTP/1.1 413")
            answer = try await ask(port, "GET", "/health")
            #expect(answer.status == 200)
        }
    }

    @Test func anUnhealthyNodeSaysWhy() async throws {
        let node = FakeNode()
        node.change {
            $0.isHealthy = false
            $0.isLeader = false
            $0.leader = nil
            $0.problem = "no leader is known"
        }
        try await withServer(node: node) { port in
            var answer = try await ask(port, "GET", "/health")
            #expect(answer == Answer(status: 503, body: #"{"status":"unavailable","error":"no leader is known"}"#))
            answer = try await ask(port, "GET", "/status")
            #expect(answer.body.contains(#""leader":"","isLeader":false"#))
        }
    }

    @Test func aRetryIsAskedForWhenNothingWasWritten() async throws {
        let store = FakeStore()
        store.fail("busy", with: .notLeader(leader: nil))
        try await withServer(store) { port in
            let answer = try await raw(port, "GET", "/put?key=busy&val=1", [])
            #expect(answer.hasPrefix("HTTP/1.1 503") && answer.lowercased().contains("retry-after: 1\r\n"))
        }
    }

    @Test func aTakenPortIsNamed() async throws {
        try await withServer { port in
            let group = MultiThreadedEventLoopGroup.singleton
            let second = HTTPServer(
                address: ListenAddress(host: "127.0.0.1", port: port), store: FakeStore(), node: FakeNode(),
                hashes: FakeHashes(),
                pending: PendingRequests(group: group), group: group, logger: Logger(label: "test"), metrics: { "" })
            let error = await #expect(throws: CommandError.self) { try await second.run() }
            #expect(error?.description.contains("127.0.0.1:\(port): Address already in use") == true)
        }
    }

    @Test func sessions() async throws {
        let store = FakeStore()
        store.fail("over", with: .invalid(.sessionExpired, "session 1 is over"))
        try await withServer(store) { port in
            let opened = try await ask(port, "POST", "/session")
            #expect(opened == Answer(status: 200, body: #"{"success":true,"client":77}"#))
            let path = "/increment?key=n&by=-5&client=77&sequence=2&acknowledged=1"
            let added = try await ask(port, "POST", path)
            #expect(added == Answer(status: 200, body: #"{"success":true,"value":-5}"#))
            let requests: [(String, String, String, Int)] = [
                ("POST", "/set", #"{"key":"a","value":"b","client":77,"sequence":3}"#, 200),
                ("GET", "/put?key=a&val=b&client=77&sequence=4", "", 200),
                ("DELETE", "/delete?key=a&client=77&sequence=5", "", 200),
                ("POST", "/delete", #"{"key":"a","client":77,"sequence":6}"#, 200),
                ("DELETE", "/session?client=77", "", 200), ("DELETE", "/session", "", 400),
                ("PUT", "/put?key=a&val=b&client=77", "", 400), ("PUT", "/increment?key=n&by=x", "", 400),
                ("PUT", "/put?key=over&val=1&client=1&sequence=1", "", 410),
            ]
            for (method, path, body, status) in requests {
                let answer = try await ask(port, method, path, body)
                #expect(answer.status == status, "\(method) \(path): \(answer)")
            }
            let sent = store.sequences.map { [$0.client, $0.sequence, $0.acknowledged] }
            #expect(sent == [[77, 2, 1], [77, 3, 0], [77, 4, 0], [77, 5, 0], [77, 6, 0], [1, 1, 0]])
            let wrong = try await ask(port, "POST", "/set", #"{"key":"a","value":"b","client":"x","sequence":3}"#)
            #expect(wrong.body.contains("must be a number"))
        }
    }

    @Test func hashes() async throws {
        try await withServer { port in
            let state = try await ask(port, "GET", "/hash?group=kv&index=9")
            #expect(
                state.body
                    == #"{"group":"kv","applied":9,"hash":"0000000000000abc","sessions":"0000000000000def","keys":2}"#)
            let log = try await ask(port, "GET", "/hash?group=partition-16&from=3")
            #expect(log.body == #"{"group":"partition-16","applied":7,"hash":"0000000000000abc","first":3}"#)
            let requests = [
                ("GET", "/hash?group=controller", 503), ("GET", "/hash?group=nobody", 400),
                ("GET", "/hash?index=x", 400), ("POST", "/hash", 405),
            ]
            for (method, path, status) in requests {
                let answer = try await ask(port, method, path)
                #expect(answer.status == status, "\(method) \(path): \(answer)")
            }
        }
    }
}
