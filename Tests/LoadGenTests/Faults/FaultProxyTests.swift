// The proxy between nodes: what it forwards, holds back, delivers late and breaks.
import Glibc
import LabKit
import Testing

@testable import LoadGen

@Suite(.serialized) struct FaultProxyTests {
    /// A proxy between two ends: node 0 calls node 1.
    private final class Ends {
        let proxy: FaultProxy
        let client: Int32
        private(set) var server: Int32 = -1
        private let listener: Int32
        private let listen: SocketAddress
        private var others: [Int32] = []

        init(cutFirst: LinkCut? = nil) throws {
            let ports = try FreePorts.find(1, seed: UInt64(getpid()) &* 31)
            let target = try SocketAddress(host: "127.0.0.1", port: ports[0])
            listen = try SocketAddress(host: "127.77.1.2", port: ports[0])
            listener = target.listen()
            try #require(listener >= 0)
            proxy = try FaultProxy(
                [ProxyLink(from: 0, to: 1, listen: listen, target: target)], nodes: 2, seed: 1)
            if let cutFirst { proxy.cut(from: 1, to: 0, cutFirst) }
            client = listen.beginConnect()
            try #require(client >= 0)
            if cutFirst == nil { try #require(accept()) }
        }

        deinit {
            proxy.stop()
            for descriptor in [client, server, listener] + others where descriptor >= 0 { close(descriptor) }
        }

        func accept(milliseconds: Int32 = 2000) -> Bool {
            guard wait(listener, milliseconds) else { return false }
            server = Glibc.accept(listener, nil, nil)
            return server >= 0
        }

        /// One more connection from node 0 to node 1.
        func connect() throws -> Int32 {
            let socket = listen.beginConnect()
            try #require(socket >= 0)
            others.append(socket)
            return socket
        }

        /// Until the proxy has read so many bytes of node 0.
        func waitUntilRead(_ bytes: UInt64) {
            let deadline = MonotonicClock.now() + 10_000_000_000
            while proxy.bytesSent[0][1] < bytes, MonotonicClock.now() < deadline {
                MonotonicClock.sleep(seconds: 0.001)
            }
        }

        /// Bytes that were sent and not acknowledged (SIOCOUTQ).
        func unacknowledged(_ socket: Int32) -> Int32 {
            var count: Int32 = -1
            return ioctl(socket, 0x5411, &count) == 0 ? count : -1
        }

        func wait(_ socket: Int32, _ milliseconds: Int32, for events: Int32 = POLLIN) -> Bool {
            var waiting = pollfd(fd: socket, events: Int16(events), revents: 0)
            return poll(&waiting, 1, milliseconds) == 1
        }

        func send(_ text: String, from socket: Int32) {
            let bytes = Array(text.utf8)
            #expect(Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        }

        /// What has arrived; nil when nothing does in time, empty when the stream has ended.
        func receive(_ socket: Int32, milliseconds: Int32 = 2000) -> String? {
            guard wait(socket, milliseconds) else { return nil }
            var bytes = [UInt8](repeating: 0, count: 256)
            let count = recv(socket, &bytes, bytes.count, 0)
            return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
        }
    }

    /// Long enough for a byte to pass through when nothing holds it.
    private let quiet: Int32 = 60

    @Test func bytesPassBothWaysAndSoDoesTheEnd() throws {
        let ends = try Ends()
        ends.send("to", from: ends.client)
        #expect(ends.receive(ends.server) == "to")
        ends.send("fro", from: ends.server)
        #expect(ends.receive(ends.client) == "fro")
        shutdown(ends.server, Int32(SHUT_RDWR))
        #expect(ends.receive(ends.client) == "")
    }

    @Test func aCutHoldsOneDirectionAndHealingDeliversIt() throws {
        let ends = try Ends()
        ends.proxy.cut(from: 0, to: 1)
        ends.send("late", from: ends.client)
        ends.send("prompt", from: ends.server)
        #expect(ends.receive(ends.client) == "prompt")
        #expect(ends.receive(ends.server, milliseconds: quiet) == nil)
        ends.proxy.heal()
        #expect(ends.receive(ends.server) == "late")
    }

    @Test func noConnectionIsMadeAcrossACut() throws {
        let ends = try Ends(cutFirst: .held)
        #expect(!ends.accept(milliseconds: quiet))
        ends.proxy.heal()
        #expect(ends.accept())
        ends.send("hello", from: ends.client)
        #expect(ends.receive(ends.server) == "hello")
    }

    @Test func delayedBytesArriveLaterAndInOrder() throws {
        let ends = try Ends()
        ends.proxy.change { $0[0][1].delayNanoseconds = 50_000_000 }
        // The rule is in force when the proxy's thread has seen it; the other way shows that it has.
        ends.send("x", from: ends.server)
        #expect(ends.receive(ends.client) == "x")
        let start = MonotonicClock.now()
        ends.send("a", from: ends.client)
        ends.send("b", from: ends.client)
        var text = ""
        while text.count < 2, let more = ends.receive(ends.server), !more.isEmpty { text += more }
        #expect(text == "ab")
        #expect(MonotonicClock.now() - start >= 45_000_000)
    }

    @Test func aResetEndsBothSides() throws {
        let ends = try Ends()
        ends.proxy.change { $0[0][1].resetsPerMillion = 1_000_000 }
        ends.send("x", from: ends.server)
        #expect(ends.receive(ends.client) == "x")
        ends.send("y", from: ends.client)
        #expect(ends.receive(ends.server) == "")
    }

    /// The sender's kernel gets no acknowledgement and sends again by its own timer, also after the healing.
    @Test func aBlackHoleTakesBytesUntilTheKernelSendsThemAgain() throws {
        let ends = try Ends()
        ends.send("x", from: ends.client)
        #expect(ends.receive(ends.server) == "x")
        ends.proxy.cut(from: 0, to: 1, .blackHole)
        ends.proxy.cut(from: 1, to: 0, .blackHole)
        MonotonicClock.sleep(seconds: 0.3)
        ends.send("late", from: ends.client)
        ends.send("too", from: ends.server)
        #expect(ends.receive(ends.server, milliseconds: 4 * quiet) == nil)
        #expect(ends.unacknowledged(ends.client) == 4 && ends.unacknowledged(ends.server) == 3)
        ends.proxy.heal()
        #expect(ends.receive(ends.server, milliseconds: 10_000) == "late")
        #expect(ends.receive(ends.client, milliseconds: 10_000) == "too")
    }

    @Test func anAttemptToConnectIntoABlackHoleHangs() throws {
        let ends = try Ends()
        ends.proxy.cut(from: 0, to: 1, .blackHole)
        MonotonicClock.sleep(seconds: 0.3)
        let next = try ends.connect()
        #expect(!ends.wait(next, 2 * quiet, for: POLLOUT), "neither made nor refused")
        ends.proxy.heal()
        #expect(ends.wait(next, 10_000, for: POLLOUT), "its first packet is sent again")
        #expect(ends.accept(milliseconds: 10_000))
        ends.send("hello", from: next)
        #expect(ends.receive(ends.server) == "hello")
    }

    @Test func aCallerThatGaveUpIsNotPutThrough() throws {
        let ends = try Ends(cutFirst: .held)
        MonotonicClock.sleep(seconds: 0.05)
        shutdown(ends.client, Int32(SHUT_RDWR))
        ends.proxy.heal()
        #expect(!ends.accept(milliseconds: 2 * quiet))
        _ = try ends.connect()
        #expect(ends.accept())
    }

    @Test func aCutThatClosesEndsConnectionsAndRefusesNewOnes() throws {
        let ends = try Ends()
        ends.send("x", from: ends.server)
        #expect(ends.receive(ends.client) == "x")
        ends.proxy.cut(from: 0, to: 1, .closed)
        #expect(ends.receive(ends.client) == "")
        #expect(ends.receive(ends.server) == "")
        let next = try ends.connect()
        #expect(ends.receive(next) ?? "" == "", "it ends without a byte")
        ends.proxy.heal()
        let last = try ends.connect()
        #expect(ends.accept())
        ends.send("again", from: last)
        #expect(ends.receive(ends.server) == "again")
    }

    @Test func bytesAreCountedByDirection() throws {
        let ends = try Ends()
        ends.send("seven b", from: ends.client)
        #expect(ends.receive(ends.server) == "seven b")
        ends.send("two", from: ends.server)
        #expect(ends.receive(ends.client) == "two")
        #expect(ends.proxy.bytesSent == [[0, 7], [3, 0]])
    }

    @Test func aLineThatLosesAndIsUnevenKeepsTheOrder() throws {
        let ends = try Ends()
        ends.proxy.change { rules in
            rules[0][1].delayNanoseconds = 5_000_000
            rules[0][1].jitterNanoseconds = 5_000_000
            rules[0][1].lossPerMillion = 200_000
        }
        ends.send("x", from: ends.server)
        #expect(ends.receive(ends.client) == "x")
        let letters = (0..<20).map { String(Character(UnicodeScalar(UInt8(97 + $0)))) }
        for (number, letter) in letters.enumerated() {
            ends.send(letter, from: ends.client)
            ends.waitUntilRead(UInt64(number + 1))
        }
        var text = ""
        while text.count < letters.count, let more = ends.receive(ends.server, milliseconds: 10_000), !more.isEmpty {
            text += more
        }
        #expect(text == letters.joined())
    }
}
