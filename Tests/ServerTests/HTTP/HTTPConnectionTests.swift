// What HTTP/1.1 asks of a connection, over real sockets: an answer that ends it arrives whatever the client still
// sends, bodies are asked for with 100 Continue, HEAD has no body, a request has one Host. And fields and parameters
// that nobody knows.
import Cluster
import Foundation
import KeyValue
import Logging
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

@testable import Server

@Suite struct HTTPConnectionTests {
    /// Runs a test against a listener of its own.
    private func withServer(
        _ store: FakeStore = FakeStore(), hashes: FakeHashes = FakeHashes(), _ body: (Int) async throws -> Void
    ) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let group = MultiThreadedEventLoopGroup.singleton
        let (ports, port) = AsyncStream<Int>.makeStream()
        let server = HTTPServer(
            address: ListenAddress(host: "127.0.0.1", port: 0), store: store, node: FakeNode(), hashes: hashes,
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

    /// Sends bytes on a connection of its own, all of them before anything is read; the answer until the server ends
    /// it.
    private func exchange(_ port: Int, _ bytes: [UInt8]) async throws -> String {
        let client = try LoopbackClient(port: port)
        try await client.send(bytes)
        return try await client.receiveAll()
    }

    private func ask(_ port: Int, _ line: String, _ body: String = "", fields: String = "") async throws -> String {
        let head = "\(line) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\(fields)"
        return try await exchange(port, Array("\(head)Content-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8))
    }

    /// Hashes that nobody waits for would keep the others waiting; two that take long keep no request from its answer.
    @Test func aHashEndsWhenItsClientGoesAwayAndHoldsNobodyBack() async throws {
        let hashes = FakeHashes(isHanging: true)
        try await withServer(hashes: hashes) { port in
            func until(_ condition: () -> Bool) async throws -> Bool {
                for _ in 0..<1000 where !condition() { try await Task.sleep(for: .milliseconds(10)) }
                return condition()
            }
            var stays: LoopbackClient? = try LoopbackClient(port: port)
            try await stays?.send(Array("GET /hash HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
            #expect(try await until { hashes.hanging.withLock { $0.count == 1 } })
            var leaves: LoopbackClient? = try LoopbackClient(port: port)
            try await leaves?.send(Array("GET /hash HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
            #expect(try await until { hashes.hanging.withLock { $0.count == 2 } })
            let answer = try await ask(port, "GET /get?key=missing")
            #expect(answer.hasPrefix("HTTP/1.1 404 "), "\(answer)")
            leaves = nil
            #expect(try await until { hashes.hanging.withLock { $0[1]() } })
            #expect(hashes.hanging.withLock { !$0[0]() }, "the other client is still there")
            stays = nil
            #expect(try await until { hashes.hanging.withLock { $0[0]() } })
        }
    }

    @Test(arguments: [
        ("POST /set", "Connection: close\r\n", "413"), ("POST /set", "", "413"),
        ("POST /nowhere", "Connection: close\r\n", "404"), ("PUT /set", "", "405"),
        ("POST /get?key=missing", "", "404"),
    ])
    func anEarlyAnswerArrivesThoughTheClientStillSends26MB(line: String, fields: String, status: String) async throws {
        try await withServer { port in
            let count = 26_000_000
            let head = "\(line) HTTP/1.1\r\nHost: x\r\n\(fields)Content-Length: \(count)\r\n\r\n"
            let start = ContinuousClock.now
            let answer = try await exchange(port, Array(head.utf8) + Array(repeating: UInt8(ascii: "x"), count: count))
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            #expect(
                answer.lowercased().contains("connection: close\r\n") && answer.contains("\"error\"") || status == "404"
            )
            #expect(ContinuousClock.now - start < .seconds(60), "far under the idle limit of a connection")
        }
    }

    /// Lengths that no request has, or that two readers of one request would understand differently.
    @Test(arguments: [
        "Content-Length: 9223372036854775807", "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551616", "Content-Length: -1", "Content-Length: +2", "Content-Length: 2x",
        "Content-Length:", "Content-Length: 2\r\nContent-Length: 3", "Content-Length: 2, 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: chunked\r\nX: y",
    ])
    func aBodyWithoutAClearLengthIsRefusedAndTheListenerGoesOn(fields: String) async throws {
        try await withServer { port in
            // Behind the head stands what is a request of its own only for who misreads the length.
            let smuggled = "GET /get?key=smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
            let answer = try await exchange(
                port,
                Array("POST /set HTTP/1.1\r\nHost: x\r\n\(fields)\r\n\r\nffffffffffffffffff\r\n\(smuggled)".utf8))
            #expect(
                answer.hasPrefix("HTTP/1.1 400 ") || answer.hasPrefix("HTTP/1.1 413 ")
                    || answer.hasPrefix("HTTP/1.1 501 "), "\(answer)")
            let answers = answer.components(separatedBy: "Connection:").count - 1
            #expect(!answer.contains("smuggled") && answers == 1, "\(answer)")
            #expect(try await ask(port, "GET /health").hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test(arguments: [
        "GET /" + String(repeating: "x", count: 300_000), "GET /health HTTP/9.9", "G\u{0}T /health HTTP/1.1",
        "GET /health HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "x", count: 300_000),
        "GET /health HTTP/1.1\r\nHost: x" + String(repeating: "\r\nX: y", count: 20_000),
    ])
    func aHeadThatIsNoneIsRefusedAndTheListenerGoesOn(head: String) async throws {
        try await withServer { port in
            let client = try LoopbackClient(port: port)
            // The server may have closed before all of it was sent.
            try? await client.send(Array("\(head)\r\n\r\n".utf8))
            let answer = (try? await client.receiveAll()) ?? ""
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4") || answer.hasPrefix("HTTP/1.1 5"), "\(answer)")
            #expect(try await ask(port, "GET /health").hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func chunkedBodiesOverTheLimitAreAnsweredToo() async throws {
        try await withServer { port in
            let chunk = Array("100000\r\n".utf8) + Array(repeating: UInt8(ascii: " "), count: 0x100000) + [13, 10]
            var bytes = Array("POST /set HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
            for _ in 0..<27 { bytes += chunk }
            let answer = try await exchange(port, bytes + Array("0\r\n\r\n".utf8))
            #expect(answer.hasPrefix("HTTP/1.1 413 "), "\(answer)")
        }
    }

    @Test func aConnectionIsClosedWhenItIsToBeAndKeptElse() async throws {
        try await withServer { port in
            // HTTP/1.0 ends by itself, whatever the case of the words.
            let old = try await exchange(port, Array("GET /health HTTP/1.0\r\n\r\n".utf8))
            #expect(old.hasPrefix("HTTP/1.1 200") && old.lowercased().contains("connection: close\r\n"))
            let shouted = try await exchange(
                port, Array("GET /health HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n".utf8))
            #expect(shouted.hasSuffix(#"{"status":"ok"}"#))
            let kept = try LoopbackClient(port: port)
            try await kept.send(
                "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            try await kept.send(
                "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxxGET /status HTTP/1.0\r\n\r\n")
            let answers = try await kept.receiveAll()
            #expect(
                answers.components(separatedBy: "HTTP/1.1 ").dropFirst().map { $0.prefix(3) } == [
                    "200", "200", "404", "200",
                ])
        }
    }

    @Test func expectContinueIsAnsweredWhenTheBodyIsWanted() async throws {
        let store = FakeStore()
        try await withServer(store) { port in
            let body = #"{"key":"a","value":"b"}"#
            let head = "HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
            let client = try LoopbackClient(port: port)
            try await client.send("POST /set \(head)\(body.utf8.count)\r\n\r\n")
            let go = "HTTP/1.1 100 Continue\r\n\r\n"
            #expect(String(decoding: try await client.receive(go.utf8.count), as: UTF8.self) == go)
            try await client.send(body)
            #expect(String(decoding: try await client.receive(12), as: UTF8.self) == "HTTP/1.1 200")
            #expect(store.value("a") == Array("b".utf8))
            // Nothing of these is wanted: the last word comes at once, and the connection ends.
            for (line, status) in [("POST /set", "413"), ("POST /nowhere", "404"), ("DELETE /set", "405")] {
                let answer = try await exchange(port, Array("\(line) \(head)30000000\r\n\r\n".utf8))
                #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            }
            let other = try await ask(port, "GET /health", fields: "Expect: miracles\r\n")
            #expect(other.hasPrefix("HTTP/1.1 417 ") && other.contains("miracles"))
        }
    }

    @Test func headIsGetWithoutTheBody() async throws {
        let store = FakeStore()
        try await withServer(store) { port in
            _ = try await ask(port, "PUT /put?key=a&val=b")
            for path in ["/get?key=a", "/status", "/health", "/metrics", "/hash?group=kv", "/get?key=missing", "/get"] {
                let get = try await ask(port, "GET \(path)")
                let head = try await ask(port, "HEAD \(path)")
                let parts = get.components(separatedBy: "\r\n\r\n")
                func fields(_ text: String) -> [String] {
                    text.components(separatedBy: "\r\n").filter { !$0.lowercased().hasPrefix("date:") }.sorted()
                }
                #expect(head.hasSuffix("\r\n\r\n"), "\(head)")
                #expect(fields(head.replacingOccurrences(of: "\r\n\r\n", with: "")) == fields(parts[0]), "\(path)")
            }
            let put = try await ask(port, "HEAD /put?key=c&val=d")
            #expect(put.hasPrefix("HTTP/1.1 405 ") && store.value("c") == nil, "HEAD changes nothing")
            let method = try await ask(port, "PATCH /get?key=a")
            #expect(method.hasPrefix("HTTP/1.1 405 ") && method.contains("GET, HEAD, POST\r\n"))
        }
    }

    @Test(arguments: [
        ("GET /health HTTP/1.1\r\n\r\n", "no Host"), ("GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "2 Host"),
        ("GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "2 Host"),
        ("GET /health HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", "2 Host"), ("nonsense\r\n\r\n", "not HTTP"),
        ("POST /set HTTP/1.1\r\nContent-Length: 5\r\n\r\nxxxxx", "no Host"),
    ])
    func aRequestHasOneHost(request: String, words: String) async throws {
        try await withServer { port in
            let answer = try await exchange(port, Array(request.utf8))
            #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.contains(words), "\(answer)")
            // Behind others it is answered in its turn.
            let behind = try await exchange(port, Array("GET /health HTTP/1.1\r\nHost: x\r\n\r\n\(request)".utf8))
            let statuses = behind.components(separatedBy: "HTTP/1.1 ").dropFirst().filter { $0.first?.isNumber == true }
                .map { $0.prefix(3) }
            #expect(statuses == ["200", "400"], "\(behind)")
        }
    }

    @Test func everyLegalKeyHasAPlace() async throws {
        let store = FakeStore()
        try await withServer(store) { port in
            for count in [30_000, KeyValueLimits.keyBytesMax] {
                let key = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) | 0x80 }
                let base64 = Data(key).base64EncodedString()
                let set = try await ask(port, "POST /set", #"{"keyBase64":"\#(base64)","value":"v\#(count)"}"#)
                #expect(set.hasPrefix("HTTP/1.1 200"), "\(set.prefix(400))")
                let escaped = key.map { "%" + String($0, radix: 16) }.joined()
                let escapedBase64 = base64.replacingOccurrences(of: "+", with: "%2B").replacingOccurrences(
                    of: "/", with: "_")
                for request in [
                    ("POST /get", #"{"keyBase64":"\#(base64)"}"#), ("GET /get?key=\(escaped)", ""),
                    ("GET /get?keyBase64=\(escapedBase64)", ""), ("GET /get?keyBase64=\(base64)", ""),
                ] {
                    let answer = try await ask(port, request.0, request.1)
                    #expect(answer.hasSuffix(#""value":"v\#(count)","found":true}"#), "\(answer.prefix(200))")
                }
                let added = try await ask(port, "POST /increment", #"{"keyBase64":"\#(base64)","by":-2}"#)
                #expect(added.contains(#""value":-2"#), "\(added.prefix(300))")
                let deleted = try await ask(port, "POST /delete", #"{"keyBase64":"\#(base64)"}"#)
                #expect(deleted.hasPrefix("HTTP/1.1 200"))
            }
            let long = String(repeating: "k", count: HTTPConnectionHandler.headFieldBytesMax + 1)
            let refused = try await ask(port, "GET /get?key=\(long)")
            #expect(refused.hasPrefix("HTTP/1.1 431 ") && refused.contains("in the body"), "\(refused.prefix(300))")
        }
    }

    @Test(arguments: [
        ("POST /set", #"{"key":"a","value":"b","ttl":5}"#, "'ttl' is not known", "valueBase64"),
        ("POST /set", #"{"key":"a","vlaue":"b"}"#, "'vlaue' is not known", "did you mean 'value'"),
        ("POST /set", #"{"key":"a","value":5}"#, "'value' must be a string", "the number 5"),
        ("POST /set", #"{"key":["a"],"value":"b"}"#, "'key' must be a string", "a list"),
        ("POST /set", #"{"key":"a","value":{}}"#, "'value' must be a string", "an object"),
        ("POST /set", #"{"key":"a","value":null}"#, "'value' is missing", "send"),
        ("POST /set", #"{"key":"a","value":"b","client":"1"}"#, "'client' must be a number", "the text"),
        ("POST /set", #"{"key":"a","value":"b","client":-1}"#, "'client' must be a number", "the number -1"),
        ("POST /set", #"{"key":"a","value":"b","client":1.5,"sequence":1}"#, "'client' must be a number", "1.5"),
        ("POST /set", #"{"key":"a","key":"b","value":"c"}"#, "\\\"key\\\" stands twice", "line 1"),
        ("POST /set", #"{"key":"a","keyBase64":"YQ==","value":"c"}"#, "'key' or 'keyBase64'", "not both"),
        ("POST /set", #"{"keyBase64":"???","value":"c"}"#, "'keyBase64' is not base64", ""),
        ("POST /set?ttl=5", #"{"key":"a","value":"c"}"#, "'ttl' is not known", "nothing is asked for"),
        ("POST /delete", #"{"key":"a","value":"b"}"#, "'value' is not known", "known are"),
        ("GET /put?key=a&val=b&ttl=5", "", "'ttl' is not known", "known are"),
        ("GET /put?key=a&value=b", "", "'value' is not known", "did you mean 'val'"),
        ("GET /put?key=a&key=b&val=c", "", "'key' stands twice", "once"),
        ("GET /get?key=a&consistancy=stale", "", "did you mean 'consistency'", ""),
        ("GET /get?key=a&maxStaleness=5", "", "consistency=stale only", ""),
        ("POST /get", #"{"key":"a","consistency":"fresh"}"#, "'fresh' is no consistency", ""),
        ("GET /hash?grup=kv", "", "did you mean 'group'", ""),
        ("POST /increment?key=a&amount=2", "", "'amount' is not known", "by"),
        ("POST /increment", #"{"key":"a","by":"2"}"#, "'by' must be a number", "the text"),
    ])
    func whatNobodyKnowsIsRefusedByName(line: String, body: String, words: String, more: String) async throws {
        let store = FakeStore()
        try await withServer(store) { port in
            let answer = try await ask(port, line, body)
            #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
            #expect(
                answer.contains(words) && answer.contains(more) || more.isEmpty && answer.contains(words), "\(answer)")
            #expect(store.value("a") == nil)
        }
    }

    @Test func optionalFieldsMayBeNullAndProbesMayCarryAnything() async throws {
        try await withServer { port in
            let body = #"{"key":"a","value":"b","client":null,"sequence":null,"valueBase64":null}"#
            let set = try await ask(port, "POST /set", body)
            #expect(set.hasPrefix("HTTP/1.1 200"), "\(set)")
            for path in ["/health?probe=1", "/status?x", "/metrics?collect=all"] {
                let probe = try await ask(port, "GET \(path)")
                #expect(probe.hasPrefix("HTTP/1.1 200"), "\(probe)")
            }
        }
    }
}
