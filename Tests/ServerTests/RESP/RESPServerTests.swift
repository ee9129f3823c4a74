// The RESP front end over a real socket: the literal session of the README, pipelining, order, half-closure, limits,
// and what a broken client gets.
import Cluster
import KeyValue
import NIOPosix
import Testing

@testable import Server

@Suite struct RESPServerTests {
    /// Runs a test against a listener of its own.
    private func withServer(
        _ store: FakeStore = FakeStore(), _ body: (Int, FakeStore) async throws -> Void
    ) async throws {
        let server = try await RESPServer.start(
            host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, service: store,
            status: FakeNode())
        do {
            try await body(server.port, store)
        } catch {
            await server.close()
            throw error
        }
        await server.close()
    }

    /// Sends text, closes the sending side, and returns all that comes back.
    private func exchange(_ text: String, port: Int) async throws -> String {
        let client = try LoopbackClient(port: port)
        try await client.send(text)
        client.closeSending()
        return try await client.receiveAll()
    }

    @Test func theSessionOfTheReadme() async throws {
        try await withServer { port, store in
            let answer = try await exchange("SET user_id 42069\r\nGET user_id\r\nDELETE user_id\r\n", port: port)
            #expect(answer == "+OK\r\n$5\r\n42069\r\n+OK\r\n")
            #expect(store.value("user_id") == nil)
        }
    }

    @Test(arguments: [
        ("PING\n", "+PONG\r\n"),
        ("ping hello\r\n", "$5\r\nhello\r\n"),
        ("ECHO \"a b\\n\\x41\"\r\n", "$5\r\na b\nA\r\n"),
        ("ECHO 'it\\'s'\r\n", "$4\r\nit's\r\n"),
        ("ECHO \"\"\r\n", "$0\r\n\r\n"),
        ("\r\n\r\nPING\r\n", "+PONG\r\n"),
        ("GET missing\r\n", "$-1\r\n"),
        ("DELETE missing\r\n", "+OK\r\n"),
        ("COMMAND\r\nCOMMAND DOCS\r\n", "*0\r\n*0\r\n"),
        ("SELECT 0\r\n", "+OK\r\n"),
        ("SELECT 1\r\n", "-ERR DB index is out of range: there is one database, number 0\r\n"),
        ("CONFIG GET save\r\n", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET appendonly\r\n", "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"),
        ("CONFIG GET save appendonly nothing\r\n", "*4\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET S?V[a-f] sav*\r\n", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET nothing\r\n", "*0\r\n"),
        ("CONFIG GET\r\n", "-ERR wrong number of arguments for 'config|get' command\r\n"),
        ("CONFIG\r\n", "-ERR wrong number of arguments for 'config' command\r\n"),
        ("CLIENT SETNAME me\r\nCLIENT GETNAME\r\n", "+OK\r\n$2\r\nme\r\n"),
        ("CLIENT GETNAME\r\nCLIENT ID\r\n", "$-1\r\n:1\r\n"),
        ("CLIENT SETNAME me\r\nCLIENT SETNAME \"\"\r\nCLIENT GETNAME\r\n", "+OK\r\n+OK\r\n$-1\r\n"),
        (
            "CLIENT SETNAME \"a b\"\r\n",
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
        ),
        ("CLIENT SETINFO LIB-NAME redis-py\r\nCLIENT SETINFO lib-ver 5.0\r\n", "+OK\r\n+OK\r\n"),
        ("CLIENT SETINFO color red\r\n", "-ERR Unrecognized option 'color'\r\n"),
        ("CLIENT\r\n", "-ERR wrong number of arguments for 'client' command\r\n"),
        ("CLIENT ID 1\r\n", "-ERR wrong number of arguments for 'client|id' command\r\n"),
        ("CLIENT SETNAME\r\n", "-ERR wrong number of arguments for 'client|setname' command\r\n"),
        (
            "CLIENT FLY\r\n",
            "-ERR unknown subcommand 'FLY'. CLIENT knows ID, INFO, GETNAME, SETNAME, SETINFO, NO-EVICT and NO-TOUCH\r\n"
        ),
        ("CLIENT NO-EVICT on\r\nCLIENT NO-TOUCH OFF\r\n", "+OK\r\n+OK\r\n"),
        ("COMMAND COUNT\r\n", ":19\r\n"),
        ("COMMAND COUNT all\r\n", "-ERR wrong number of arguments for 'command|count' command\r\n"),
        (
            "COMMAND INFO get nosuch\r\n",
            "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n*-1\r\n"
        ),
        ("COMMAND DOCS get set\r\n", "*0\r\n"),
        ("AUTH default any\r\n", "+OK\r\n"),
        ("AUTH me any\r\n", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        ("ECHO\r\n", "-ERR wrong number of arguments for 'echo' command\r\n"),
        ("PING a b\r\n", "-ERR wrong number of arguments for 'ping' command\r\n"),
        ("INCRBY n\r\n", "-ERR wrong number of arguments for 'incrby' command\r\n"),
        ("DEL\r\n", "-ERR wrong number of arguments for 'del' command\r\n"),
        ("SELECT\r\n", "-ERR wrong number of arguments for 'select' command\r\n"),
        ("QUIT\r\nPING\r\n", "+OK\r\n"),
        ("HELLO 9\r\n", "-NOPROTO unsupported protocol version: this server speaks 2 and 3\r\n"),
        ("HELLO 4\r\n", "-NOPROTO unsupported protocol version: this server speaks 2 and 3\r\n"),
        ("HELLO three\r\n", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 3\r\nGET missing\r\n", Self.greeting("%7", 3) + "_\r\n"),
        ("HELLO\r\n", Self.greeting("*14", 2)),
        ("HELLO 3 SETNAME app\r\nCLIENT GETNAME\r\n", Self.greeting("%7", 3) + "$3\r\napp\r\n"),
        ("HELLO 3 AUTH default secret\r\n", Self.greeting("%7", 3)),
        ("HELLO 2 AUTH default x SETNAME app\r\nCLIENT GETNAME\r\n", Self.greeting("*14", 2) + "$3\r\napp\r\n"),
        (
            "HELLO 3 AUTH me x\r\nPING\r\n",
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n+PONG\r\n"
        ),
        ("HELLO 3 AUTH default\r\n", "-ERR Syntax error in HELLO option 'AUTH'\r\n"),
        ("HELLO 3 FLY\r\n", "-ERR Syntax error in HELLO option 'FLY'\r\n"),
        ("HELLO 3\r\nCONFIG GET save\r\n", Self.greeting("%7", 3) + "%1\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("HELLO 3\r\nCONFIG GET x*\r\nCOMMAND DOCS\r\n", Self.greeting("%7", 3) + "%0\r\n%0\r\n"),
        ("FLY me\r\n", "-ERR unknown command 'FLY'\r\n"),
        ("GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("SET k\r\n", "-ERR wrong number of arguments for 'set' command\r\n"),
        ("SET k v EX 10\r\n", "-ERR syntax error: SET takes a key and a value, and no options here\r\n"),
        ("*1\r\n$4\r\nPING\r\n*0\r\n*-1\r\n*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n", "+PONG\r\n$2\r\n\r\n\r\n"),
        ("SET a 1\r\nSET b 2\r\nDEL a b c a\r\nGET a\r\n", "+OK\r\n+OK\r\n:2\r\n$-1\r\n"),
        ("INCR n\r\nINCRBY n 41\r\nDECR n\r\nDECRBY n 50\r\n", ":1\r\n:42\r\n:41\r\n:-9\r\n"),
        ("INCRBY n x\r\n", "-ERR value is not an integer or out of range\r\n"),
        ("INCRBY n +5\r\n", "-ERR value is not an integer or out of range\r\n"),
        ("INCRBY n 05\r\n", "-ERR value is not an integer or out of range\r\n"),
        ("INCRBY n -0\r\n", "-ERR value is not an integer or out of range\r\n"),
        ("DECRBY n +5\r\n", "-ERR value is not an integer or out of range\r\n"),
        ("INCRBY n 9223372036854775808\r\n", "-ERR value is not an integer or out of range\r\n"),
        ("INCRBY n -9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        ("DECRBY n -9223372036854775808\r\n", "-ERR value is not an integer or out of range\r\n"),
        ("SESSION OPEN\r\nSESSION CLOSE 77\r\n", ":77\r\n+OK\r\n"),
        ("SESSION 77 SEQ 1 SET a b\r\nSESSION 77 seq 2 ack 1 INCR n\r\nGET a\r\n", "+OK\r\n:1\r\n$1\r\nb\r\n"),
        ("SET a 1\r\nSESSION 77 SEQ 1 DEL a b\r\nGET a\r\n", "+OK\r\n:1\r\n$-1\r\n"),
        ("SESSION 77 SEQ 1 DEL\r\n", "-ERR wrong number of arguments for 'del' command\r\n"),
        ("SESSION 77 SEQ 1 GET a\r\n", "-ERR a session's write is SET, DEL, DELETE, INCR, INCRBY, DECR or DECRBY\r\n"),
        ("SESSION +77 SEQ 1 SET a b\r\n", Self.sessionSyntax), ("SESSION 77 SEQ 01 SET a b\r\n", Self.sessionSyntax),
        ("SESSION x SEQ 1 SET a b\r\n", Self.sessionSyntax), ("SESSION 77 SEQ 1 ACK 1\r\n", Self.sessionSyntax),
        ("GET \"\"\r\n", "-ERR the key is empty; give it at least one byte\r\n"),
    ])
    func commands(_ sent: String, _ expected: String) async throws {
        try await withServer { port, _ in
            let answer = try await exchange(sent, port: port)
            #expect(answer == expected)
        }
    }

    private static let sessionSyntax =
        "-ERR syntax error: SESSION OPEN, SESSION CLOSE client, or SESSION client SEQ n [ACK m] and a write\r\n"

    /// HELLO's answer to the first connection of a listener.
    private static func greeting(_ header: String, _ version: Int) -> String {
        header + "\r\n$6\r\nserver\r\n$6\r\nstrata\r\n$7\r\nversion\r\n$5\r\n1.0.0\r\n$5\r\nproto\r\n:\(version)\r\n"
            + "$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
    }

    private static let longLine = String(repeating: "x", count: 70_000)

    @Test(arguments: [
        ("*x\r\n", "invalid multibulk length"),
        ("*1048577\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "too big mbulk count string"),
        ("*2147483647\r\n", "invalid multibulk length"),
        ("*9223372036854775807\r\n", "too big mbulk count string"),
        ("*-9223372036854775808\r\n", "too big mbulk count string"),
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$9223372036854775807\r\n", "too big bulk count string"),
        ("*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        ("*1\r\n:4\r\n", "expected '$', got ':'"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$16777217\r\n", "invalid bulk length"),
        ("*1\r\n$4\r\nPINGxx", "a bulk string of 4 bytes does not end where its length says"),
        ("SET \"k v\r\n", "unbalanced quotes in request"),
        ("SET \"k\"v 1\r\n", "unbalanced quotes in request"),
        (longLine, "too big inline request"),
    ])
    func brokenInputEndsTheConnectionAfterTheAnswersBeforeIt(_ sent: String, _ sentence: String) async throws {
        try await withServer { port, _ in
            let client = try LoopbackClient(port: port)
            try await client.send("SET before 1\r\n" + sent)
            // The server closes by itself; the client's sending side stays open.
            #expect(try await client.receiveAll() == "+OK\r\n-ERR Protocol error: \(sentence)\r\n")
        }
    }

    @Test func arrivesByteByByte() async throws {
        try await withServer { port, _ in
            let client = try LoopbackClient(port: port)
            for byte in "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nbc\r\nGET k\r\n".utf8 {
                try await client.send([byte])
            }
            #expect(try await client.expect("+OK\r\n$5\r\na\r\nbc\r\n"))
        }
    }

    @Test func repliesKeepTheOrderOfManyPipelinedRequests() async throws {
        // Reads finish in any order: they run on several threads.
        try await withServer(FakeStore(writeMilliseconds: 0, readMilliseconds: 1)) { port, store in
            let count = 5000
            var sent = ""
            var expected = ""
            for index in 0..<count {
                store.set("key\(index)", Array("value\(index)".utf8))
                let value = "value\(index)"
                sent += "GET key\(index)\r\n"
                expected += "$\(value.utf8.count)\r\n\(value)\r\n"
            }
            let answer = try await exchange(sent, port: port)
            #expect(answer == expected)
            #expect(store.readsInFlightMost > 16, "reads of one connection run together")
            #expect(store.readsInFlightMost <= RESPLimits.pipelinedRequestsMax)
        }
    }

    @Test func aReadSeesTheWriteBeforeItAndNotTheOneBehindIt() async throws {
        // Slow writes: an unchained read would overtake them. Slow reads: an unchained write would.
        for store in [FakeStore(writeMilliseconds: 3), FakeStore(readMilliseconds: 3)] {
            try await withServer(store) { port, _ in
                var sent = ""
                var expected = ""
                for index in 0..<30 {
                    sent += "SET k \(100 + index)\r\nGET k\r\n"
                    expected += "+OK\r\n$3\r\n\(100 + index)\r\n"
                }
                let answer = try await exchange(sent + "DEL k\r\nGET k\r\n", port: port)
                #expect(answer == expected + ":1\r\n$-1\r\n")
            }
        }
    }

    /// The default of redis-benchmark: every SET of a pipeline goes to the same key.
    @Test func pipelinedWritesToOneKeyDoNotWaitForEachOther() async throws {
        let store = FakeStore()
        try await withServer(store) { port, _ in
            store.freeze()
            let client = try LoopbackClient(port: port)
            try await client.send((0..<16).map { "SET k \($0)\r\n" }.joined() + "INCR k\r\nDELETE x\r\nGET k\r\n")
            while store.callCount < 18 { await Task.yield() }
            // All writes are with the store, none is answered; the read waits for them.
            try await Task.sleep(for: .milliseconds(20))
            #expect(store.callCount == 18)
            store.thaw()
            let expected = String(repeating: "+OK\r\n", count: 16) + ":16\r\n+OK\r\n$2\r\n16\r\n"
            #expect(try await client.expect(expected))
        }
    }

    @Test func everyConnectionHasANumberOfItsOwn() async throws {
        try await withServer { port, _ in
            let first = try await exchange("CLIENT ID\r\nCLIENT ID\r\n", port: port)
            let second = try await exchange("CLIENT ID\r\n", port: port)
            #expect(first == ":1\r\n:1\r\n")
            #expect(second == ":2\r\n")
        }
    }

    @Test func aConnectionTooManyIsToldSo() async throws {
        let server = try await RESPServer.start(
            host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, service: FakeStore(),
            status: FakeNode(), connectionsMax: 1)
        let first = try LoopbackClient(port: server.port)
        try await first.send("PING\r\n")
        #expect(try await first.expect("+PONG\r\n"))
        #expect(try await LoopbackClient(port: server.port).receiveAll() == "-ERR max number of clients reached\r\n")
        await server.close()
    }

    @Test func clientInfoNamesTheClient() async throws {
        try await withServer { port, _ in
            let answer = try await exchange(
                "CLIENT SETNAME app\r\nCLIENT SETINFO LIB-NAME lib\r\nCLIENT INFO\r\n", port: port)
            #expect(answer.contains("id=1 addr=127.0.0.1:"))
            #expect(answer.contains(" laddr=127.0.0.1:\(port) name=app db=0 resp=2 lib-name=lib lib-ver=\n"))
        }
    }

    @Test(arguments: [
        (IncrementRefusal.notAnInteger, "-ERR value is not an integer or out of range\r\n"),
        (IncrementRefusal.outOfRange, "-ERR increment or decrement would overflow\r\n"),
    ])
    func aRefusedIncrementIsToldAsRedisDoes(_ sentence: String, _ expected: String) async throws {
        let store = FakeStore()
        store.fail("n", with: .invalid(.notAnInteger, sentence))
        try await withServer(store) { port, _ in
            let answer = try await exchange("INCR n\r\n", port: port)
            #expect(answer == expected)
        }
    }

    @Test func aSlowStoreStopsTheReading() async throws {
        let store = FakeStore()
        try await withServer(store) { port, _ in
            store.freeze()
            let client = try LoopbackClient(port: port)
            let count = RESPLimits.pipelinedRequestsMax + 500
            try await client.send((0..<count).map { "SET k\($0) v\r\n" }.joined())
            while store.callCount < RESPLimits.pipelinedRequestsMax { await Task.yield() }
            try await Task.sleep(for: .milliseconds(20))
            #expect(store.callCount == RESPLimits.pipelinedRequestsMax)
            store.thaw()
            let answers = try await client.receive(count * 5)
            #expect(answers.count == count * 5)
            #expect(store.revision == UInt64(count))
        }
    }

    @Test func valuesOfTheLargestSizeTravel() async throws {
        try await withServer { port, _ in
            let value = [UInt8](repeating: 7, count: KeyValueLimits.valueBytesMax)
            let client = try LoopbackClient(port: port)
            let header = "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$\(value.count)\r\n"
            try await client.send(Array(header.utf8) + value + Array("\r\nGET big\r\n".utf8))
            #expect(try await client.expect("+OK\r\n$\(value.count)\r\n"))
            #expect(try await client.receive(value.count) == value)
            #expect(try await client.expect("\r\n"))
        }
    }

    @Test func failuresSayWhatTheClientMayDo() async throws {
        let store = FakeStore()
        store.fail("busy", with: .unavailable("no leader"))
        store.fail("lost", with: .unknown("the leader changed"))
        store.fail("disk", with: .storage("fsync failed"))
        try await withServer(store) { port, _ in
            let busy = try await exchange("SET busy 1\r\nGET disk\r\nPING\r\n", port: port)
            #expect(
                busy == "-TRYAGAIN unavailable, nothing was written: no leader\r\n-ERR storage failed: fsync failed\r\n"
                    + "+PONG\r\n")
            let lost = try await exchange("PING\r\nSET lost 1\r\nPING\r\n", port: port)
            #expect(
                lost == "+PONG\r\n-UNKNOWN outcome unknown, the write may have been applied: the leader changed\r\n")
            let deleted = try await exchange("SET a 1\r\nDEL a busy\r\n", port: port)
            #expect(deleted.hasPrefix("+OK\r\n-TRYAGAIN "))
        }
    }

    @Test func aBrowserIsTurnedAway() async throws {
        try await withServer { port, store in
            let client = try LoopbackClient(port: port)
            try await client.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n")
            // The connection is cut: an end of the stream or a reset, depending on what was on its way.
            let answer = try? await client.receiveAll()
            #expect(answer == nil || answer == "")
            #expect(store.callCount == 0)
        }
    }

    @Test func infoNamesTheNode() async throws {
        try await withServer { port, _ in
            let answer = try await exchange("INFO\r\n", port: port)
            #expect(answer.contains("node_id:node1\r\n") && answer.contains("role:master\r\n"))
        }
    }

    @Test func closingAnswersWhatIsInFlight() async throws {
        let store = FakeStore(writeMilliseconds: 30)
        let server = try await RESPServer.start(
            host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, service: store,
            status: FakeNode())
        let client = try LoopbackClient(port: server.port)
        try await client.send("SET k v\r\n")
        while store.callCount == 0 { await Task.yield() }
        await server.close()
        #expect(try await client.receiveAll() == "+OK\r\n")
    }

    @Test func aTakenPortIsNamed() async throws {
        try await withServer { port, store in
            let error = await #expect(throws: CommandError.self) {
                _ = try await RESPServer.start(
                    host: "127.0.0.1", port: port, group: MultiThreadedEventLoopGroup.singleton, service: store,
                    status: FakeNode())
            }
            #expect(error?.description.contains("127.0.0.1:\(port)") == true)
        }
    }
}
