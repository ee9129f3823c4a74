// The open loop against real sockets: planned writes keep their clock, failed ones go to the next node, and the hole
// that an outage tears is measured.
import LabKit
import Synchronization
import Testing

@testable import LoadGen

@Suite struct OpenLoopTests {
    private let codec = KeyValueCodec(seed: 12, valueBytes: 32)

    /// Runs the loop on a thread of its own while `body` does something to the servers.
    private func run(
        _ servers: [FakeRESPServer], _ control: OpenLoopControl, rate: Double = 500, _ body: () -> Void
    ) throws -> OpenLoopOutcome {
        var plan = OpenLoopPlan(
            endpoints: servers.map(\.address), connectionsPerEndpoint: 4, writesPerSecond: rate, keys: 0..<100_000)
        plan.giveUpSeconds = 2
        let slots = WorkerSlots<Result<OpenLoopOutcome, LoadGenError>>(count: 1)
        let thread = WorkerThread { [plan, codec] in
            slots.run { _ in
                do throws(LoadGenError) {
                    return .success(try OpenLoop.run(plan, codec: codec, control: control, live: LiveCounters()))
                } catch {
                    return .failure(error)
                }
            }
        }
        body()
        control.stop()
        thread.join()
        return try slots.results[0].get()
    }

    @Test func plannedWritesAreAllAcknowledged() throws {
        let servers = try (0..<3).map { _ in try FakeRESPServer() }
        defer { for server in servers { server.stop() } }
        let outcome = try run(servers, OpenLoopControl()) { MonotonicClock.sleep(seconds: 0.4) }
        #expect(outcome.counts.ok >= 100)
        #expect(outcome.counts.error == 0 && outcome.counts.unknown == 0)
        #expect(outcome.response.count == outcome.counts.ok)
        #expect(outcome.ledger.written.count == Int(outcome.counts.ok))
        #expect(servers.allSatisfy { $0.commands > 0 }, "writes go to every node")
        #expect(servers.reduce(0) { $0 + $1.values.count } == Int(outcome.counts.ok))
    }

    @Test func writesMoveOnWhenAServerDies() throws {
        let servers = try (0..<3).map { _ in try FakeRESPServer() }
        defer { for server in servers { server.stop() } }
        let outcome = try run(servers, OpenLoopControl()) {
            MonotonicClock.sleep(seconds: 0.2)
            servers[0].stop()
            MonotonicClock.sleep(seconds: 0.3)
        }
        #expect(outcome.counts.error == 0 && outcome.counts.unknown == 0)
        #expect(outcome.counts.ok >= 100)
    }

    /// Nobody takes a write for 300 ms: the timeline shows it, and the writes that waited carry their waiting.
    @Test func anOutageIsSeenAndWaitingCounts() throws {
        let outage = Outage()
        let servers = try (0..<2).map { _ in
            try FakeRESPServer { _, _ in outage.isOn ? .text("-TRYAGAIN no leader\r\n") : .honest }
        }
        defer { for server in servers { server.stop() } }
        let control = OpenLoopControl()
        var began: UInt64 = 0
        var ended: UInt64 = 0
        let outcome = try run(servers, control) {
            MonotonicClock.sleep(seconds: 0.3)
            began = MonotonicClock.now()
            outage.set(true)
            MonotonicClock.sleep(seconds: 0.3)
            outage.set(false)
            ended = MonotonicClock.now()
            MonotonicClock.sleep(seconds: 0.3)
        }
        let acknowledged = control.acknowledgements(since: 0)
        #expect(acknowledged.count == Int(outcome.counts.ok))
        let gap = AcknowledgementTimeline(acknowledged.map(\.completed)).gap(
            afterFaultAt: began, observedUntil: ended + 200_000_000)
        #expect(gap.seconds > 0.2)
        #expect(!gap.isCensored)
        #expect(outcome.response.maximum > 200_000_000, "a write that was due early in the outage waited through it")
        #expect(outcome.counts.retries > 0)
        #expect(outcome.counts.error == 0 && outcome.counts.unknown == 0)
    }

    @Test func whatIsNeverAnsweredIsGivenUp() throws {
        let server = try FakeRESPServer { _, _ in .text("-TRYAGAIN no leader\r\n") }
        defer { server.stop() }
        let outcome = try run([server], OpenLoopControl(), rate: 50) { MonotonicClock.sleep(seconds: 0.1) }
        #expect(outcome.counts.ok == 0)
        #expect(outcome.counts.error > 0)
        #expect(outcome.counts.unknown == 0, "the server said each time that nothing was done")
    }
}

/// A switch that tests flip while servers look at it.
private final class Outage: Sendable {
    private let flag = Atomic<Bool>(false)

    var isOn: Bool { flag.load(ordering: .relaxed) }

    func set(_ isOn: Bool) { flag.store(isOn, ordering: .relaxed) }
}
