// The closed loop against a real socket: it counts right, checks values, and finds the write that a server lost.
import LabKit
import Testing

@testable import LoadGen

@Suite struct ClosedLoopTests {
    private let codec = KeyValueCodec(seed: 11, valueBytes: 64)

    private func plan(_ servers: [FakeRESPServer], window: Double = 0.2, clients: Int = 4) -> KeyValuePlan {
        KeyValuePlan(
            endpoints: servers.map(\.address), target: "a test", clients: clients, threads: 2, warmupSeconds: 0,
            windowSeconds: window, seed: 5)
    }

    @Test func writesAreAcknowledgedAndReadBack() throws {
        let server = try FakeRESPServer()
        defer { server.stop() }
        let live = LiveCounters()
        let written = try KeyValueScenario.write(plan([server]), codec: codec, live: live)
        #expect(written.result.counts.ok > 0)
        #expect(written.result.counts.error == 0 && written.result.counts.unknown == 0)
        #expect(written.firstError == nil)
        #expect(written.result.response == nil)
        #expect(written.result.service?.count == written.result.counts.ok)
        #expect(written.ledgers.reduce(0) { $0 + $1.written.count } == server.values.count)
        #expect(live.snapshot.counts.ok >= written.result.counts.ok)

        let read = try KeyValueScenario.read(
            plan([server]), scenario: "kv_read", codec: codec, ledgers: written.ledgers, live: LiveCounters())
        #expect(read.result.counts.ok > 0)
        #expect(read.findings.allSatisfy { $0.lost == 0 && $0.corrupt == 0 && $0.checked > 0 })

        let verified = try KeyValueScenario.verify(
            plan([server]), codec: codec, ledgers: written.ledgers, seconds: 20, live: LiveCounters())
        #expect(verified.reduce(0) { $0 + $1.checked } == UInt64(server.values.count))
        #expect(verified.allSatisfy { $0.lost == 0 && $0.corrupt == 0 })
    }

    @Test func aLostWriteIsFound() throws {
        let server = try FakeRESPServer { command, number in command[0] == "SET" && number == 1 ? .lose : .honest }
        defer { server.stop() }
        let written = try KeyValueScenario.write(plan([server]), codec: codec, live: LiveCounters())
        #expect(written.result.counts.unknown == 0)
        let verified = try KeyValueScenario.verify(
            plan([server]), codec: codec, ledgers: written.ledgers, seconds: 20, live: LiveCounters())
        #expect(verified.reduce(0) { $0 + $1.lost } == 1)
        #expect(verified.contains { !$0.examples.isEmpty })
    }

    @Test func aDamagedValueIsFound() throws {
        let server = try FakeRESPServer { command, number in
            command[0] == "GET" && number % 10 == 0 ? .text("$3\r\nabc\r\n") : .honest
        }
        defer { server.stop() }
        let written = try KeyValueScenario.write(plan([server]), codec: codec, live: LiveCounters())
        let read = try KeyValueScenario.read(
            plan([server]), scenario: "kv_read", codec: codec, ledgers: written.ledgers, live: LiveCounters())
        #expect(read.findings.reduce(0) { $0 + $1.corrupt } > 0)
    }

    @Test func tryAgainIsRetriedWithinTheSameOperation() throws {
        let server = try FakeRESPServer { _, number in number % 5 == 0 ? .text("-TRYAGAIN no leader\r\n") : .honest }
        defer { server.stop() }
        let written = try KeyValueScenario.write(plan([server]), codec: codec, live: LiveCounters())
        #expect(written.result.counts.retries > 0)
        #expect(written.result.counts.error == 0 && written.result.counts.unknown == 0)
    }

    @Test func refusalsAndUnknownsAreCountedApart() throws {
        let server = try FakeRESPServer { _, number in
            switch number % 50 {
            case 10: .text("-ERR no\r\n")
            case 20: .text("-UNKNOWN maybe\r\n")
            case 30: .hangUp
            case 40: .text("nonsense\r\n")
            default: .honest
            }
        }
        defer { server.stop() }
        let written = try KeyValueScenario.write(plan([server]), codec: codec, live: LiveCounters())
        #expect(written.result.counts.error > 0)
        #expect(written.result.counts.unknown > 0)
        #expect(written.firstError != nil)
        let verified = try KeyValueScenario.verify(
            plan([try FakeRESPServer.copy(of: server)]), codec: codec, ledgers: written.ledgers, seconds: 20,
            live: LiveCounters())
        #expect(verified.allSatisfy { $0.lost == 0 && $0.corrupt == 0 }, "unknown outcomes are not losses")
    }

    @Test func aDeadEndpointIsLeftForTheNext() throws {
        let server = try FakeRESPServer()
        defer { server.stop() }
        var plan = plan([server])
        plan.endpoints.insert(try SocketAddress(host: "127.0.0.1", port: FreePorts.find(1, seed: 99)[0]), at: 0)
        let written = try KeyValueScenario.write(plan, codec: codec, live: LiveCounters())
        #expect(written.result.counts.ok > 0)
        #expect(written.result.counts.unknown == 0)
    }
}

extension FakeRESPServer {
    /// An honest server with the same values.
    static func copy(of other: FakeRESPServer) throws -> FakeRESPServer {
        let values = other.values
        return try FakeRESPServer { command, _ in
            guard command[0] == "GET" else { return .honest }
            guard let value = values[command[1]] else { return .text("$-1\r\n") }
            return .bytes(value)
        }
    }
}
