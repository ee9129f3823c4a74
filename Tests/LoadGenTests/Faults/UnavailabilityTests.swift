// A fault that keeps writes away for longer than its bound makes the run invalid, and says so where nobody can miss it:
// in the verdict, in the table, in the checks and in the metrics.
import LabKit
import Synchronization
import Testing

@testable import LoadGen

@Suite struct UnavailabilityTests {
    private static let second: UInt64 = 1_000_000_000

    /// An acknowledgement each 10 ms from second 100 to second 160, with holes.
    private func acknowledged(without holes: [ClosedRange<Double>]) -> [UInt64] {
        (0..<6000).map { 100 * Self.second + UInt64($0) * 10_000_000 }
            .filter { time in !holes.contains { $0.contains(Double(time) / 1e9 - 100) } }
    }

    private func span(
        _ fault: ChaosFault, _ target: ChaosTarget, _ from: Double, _ until: Double
    ) -> FaultSpan {
        func moment(_ seconds: Double) -> UInt64 { 100 * Self.second + UInt64(seconds * 1e9) }
        return FaultSpan(
            fault: fault, target: target, nodes: ["node1"], from: moment(from), until: moment(until),
            recovered: moment(until + 0.5))
    }

    private func result(_ spans: [FaultSpan], _ acknowledged: [UInt64]) -> ChaosResult {
        var result = ChaosResult(seed: 1)
        result.events = FaultSpan.events(
            spans, acknowledged: acknowledged, started: 100 * Self.second, observedUntil: 160 * Self.second)
        return result
    }

    private func passes(_ result: ChaosResult) -> Bool {
        let failed = result.checks.filter { !$0.passed }
        return failed.isEmpty
    }

    private func report(_ result: ChaosResult) throws -> RunReport {
        let target = Target.external(grpc: [], resp: [try SocketAddress(host: "127.0.0.1", port: 1)])
        var report = LabRun.emptyReport(
            SuitePlan(.chaos, seed: 1, command: []), started: WallTime(milliseconds: 0), folder: "/tmp", target)
        report.chaos = result
        report.checks = result.checks
        return report
    }

    @Test func everyKindOfFaultHasABound() {
        for step in ChaosSchedule.steps {
            let bound = UnavailabilityBound.of(step.fault, step.target)
            #expect(bound.seconds >= UnavailabilityBound.undisturbedSeconds, "\(step)")
            #expect(bound.seconds <= UnavailabilityBound.adaptSeconds, "\(step)")
        }
        #expect(UnavailabilityBound.of(.kill, .leader) == UnavailabilityBound(seconds: 1.5))
        #expect(UnavailabilityBound.of(.longCut, .follower).seconds == 2.5)
        #expect(UnavailabilityBound.of(.pause, .majority).afterFault)
        #expect(!UnavailabilityBound.of(.clockBack, .all).afterFault, "a set clock stops nobody")
    }

    @Test func withinItsBoundAFaultIsFine() throws {
        let good = result(
            [span(.kill, .leader, 10, 11), span(.kill, .leader, 30, 31)], acknowledged(without: [10...11.2]))
        #expect(passes(good))
        let kinds = try #require(good.unavailability)
        #expect(kinds.count == 1 && kinds[0].times == 2 && kinds[0].boundSeconds == 1.5)
        #expect(abs(kinds[0].maxSeconds - 1.2) < 0.03, "\(kinds)")
        let report = try report(good)
        #expect(report.valid)
        #expect(!ConsoleReport.render(report, files: []).contains("EXCEEDED"))
    }

    @Test func beyondItsBoundTheRunIsInvalidAndSaysSo() throws {
        let bad = result(
            [span(.kill, .leader, 10, 11), span(.pause, .leader, 30, 31)], acknowledged(without: [10...12]))
        let report = try report(bad)
        #expect(!report.valid && !report.dataCheckFailed)
        #expect(LabRun.status(of: report, isStrict: true) == .invalid)
        let text = ConsoleReport.render(report, files: [])
        #expect(text.contains("INVALID"))
        #expect(text.contains("✗ unavailability_bounded: kill of leader 2.01 s instead of 1.50 s (1 of 1)"), "\(text)")
        #expect(text.contains("EXCEEDED ×1"))
        let metrics = PrometheusReport.render(report)
        for line in ["loadgen_run_valid", "loadgen_check_passed", "loadgen_chaos_unavailability_exceeded_total"] {
            let samples = metrics.split(separator: "\n").filter { $0.hasPrefix(line + "{") }
            #expect(samples.contains { $0.hasSuffix(line.hasSuffix("total") ? " 1" : " 0") }, "\(samples)")
        }
        #expect(metrics.contains("fault=\"kill\",target=\"leader\",statistic=\"bound\"} 1.5"))
    }

    /// After the fault too, until the next one begins.
    @Test func silenceAfterTheFaultCounts() {
        let late = result([span(.partition, .leader, 10, 11)], acknowledged(without: [20...22]))
        #expect(!passes(late))
        let next = [span(.partition, .leader, 10, 11), span(.kill, .all, 20, 21)]
        #expect(
            passes(result(next, acknowledged(without: [20...22]))), "it belongs to the next one")
    }

    /// Where no majority was left, time counts from the end of the fault.
    @Test func withoutAMajorityTheEndOfTheFaultCounts() {
        let spans = [span(.pause, .majority, 10, 20)]
        #expect(passes(result(spans, acknowledged(without: [10...21]))))
        #expect(!passes(result(spans, acknowledged(without: [10...23]))))
    }

    @Test func nothingMeasuredIsNoPass() {
        #expect(!passes(result([span(.kill, .leader, 10, 11)], [])), "nothing was acknowledged")
        #expect(!passes(result([], acknowledged(without: []))), "nothing was done")
        var unmeasured = result([span(.kill, .leader, 10, 11)], acknowledged(without: []))
        #expect(passes(unmeasured))
        unmeasured.events[0].unavailable = nil
        #expect(!passes(unmeasured))
        unmeasured.events[0].unavailable = ChaosResult.Unavailable(
            seconds: .nan, boundSeconds: 1, afterFault: false)
        #expect(!passes(unmeasured))
    }

    /// Node 2 was paused; node 0 led, and sent 1 MB to node 1.
    @Test(arguments: [(2 << 20, true), (2 << 20 + 500_000, true), (2 << 20 + 600_000, false), (50 << 20, false)])
    func whatAPausedFollowerIsSentHasABound(sent: Int, isFine: Bool) throws {
        let before: [[UInt64]] = [[0, 70_000, 90_000], [5_000, 0, 0], [0, 3_000, 0]]
        var after = before
        after[0][1] += 1 << 20
        after[1][0] += 10_000
        after[0][2] += UInt64(sent)
        let catchUp = CatchUpTraffic(to: 2, bytes: before).catchUp(after)
        #expect(catchUp.sentBytes == UInt64(sent))
        #expect(catchUp.lackedBytes == 1 << 20 + 10_000)
        #expect(catchUp.isExceeded == !isFine)
        var span = span(.pause, .follower, 10, 14)
        span.catchUp = catchUp
        let report = try report(result([span], acknowledged(without: [])))
        #expect(report.valid == isFine)
        #expect(ConsoleReport.render(report, files: []).contains("EXCEEDED") == !isFine)
        #expect(PrometheusReport.render(report).contains("what=\"sent\"} \(sent)"))
        let text = try JSONReport.encode(report)
        #expect(try JSONReport.decode(text) == report)
    }

    /// Of five nodes, each of three healthy followers was sent the same: it counts once.
    @Test func whatWasLackedCountsOnce() {
        let none = [[UInt64]](repeating: [UInt64](repeating: 0, count: 5), count: 5)
        var after = none
        for follower in 1...4 { after[0][follower] = 3000 }
        let catchUp = CatchUpTraffic(to: 4, bytes: none).catchUp(after)
        #expect(catchUp.sentBytes == 3000 && catchUp.lackedBytes == 3000)
    }

    /// A service that answers nobody for longer than the bound, under the load that chaos runs.
    @Test func aServiceThatStandsStillMakesARunInvalid() throws {
        let isStanding = Atomic<Bool>(false)
        let server = try FakeRESPServer { _, _ in
            while isStanding.load(ordering: .relaxed) { MonotonicClock.sleep(seconds: 0.005) }
            return .honest
        }
        defer { server.stop() }
        let control = OpenLoopControl()
        let started = MonotonicClock.now()
        let plan = OpenLoopPlan(
            endpoints: [server.address], connectionsPerEndpoint: 4, writesPerSecond: 200, keys: 0..<100_000)
        let load = OpenLoopThread(
            plan, codec: KeyValueCodec(seed: 3, valueBytes: 32), control: control, live: LiveCounters())
        MonotonicClock.sleep(seconds: 0.3)
        let from = MonotonicClock.now()
        isStanding.store(true, ordering: .relaxed)
        MonotonicClock.sleep(seconds: UnavailabilityBound.electionSeconds + 0.2)
        isStanding.store(false, ordering: .relaxed)
        let until = MonotonicClock.now()
        MonotonicClock.sleep(seconds: 0.3)
        let observedUntil = MonotonicClock.now()
        let acknowledged = control.acknowledgements(since: started).map(\.completed)
        _ = try load.finish()
        let span = FaultSpan(
            fault: .kill, target: .leader, nodes: ["node1"], from: from, until: until, recovered: until)
        var result = ChaosResult(seed: 1)
        result.events = FaultSpan.events(
            [span], acknowledged: acknowledged, started: started, observedUntil: observedUntil)
        let report = try report(result)
        #expect(!report.valid)
        #expect(ConsoleReport.render(report, files: []).contains("EXCEEDED"))
        let unavailable = try #require(result.events[0].unavailable)
        #expect(unavailable.seconds >= UnavailabilityBound.electionSeconds)
    }
}
