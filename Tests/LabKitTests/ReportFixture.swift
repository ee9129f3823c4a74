// A report with every part filled and every number known.
@testable import LabKit

enum ReportFixture {
    static func report() -> RunReport {
        let environment = RunEnvironment(
            host: "lab-1", kernel: "6.18.44", cpu: "AMD \"EPYC\"", vcpus: 2, memoryBytes: 24 << 30, hypervisor: "kvm",
            fileSystem: "ext4", mountOptions: "rw,relatime", swift: "6.3.1", build: "release",
            commit: "3f9c1ab0000000000000000000000000000000ff", branch: "main", dirty: false)
        let identity = RunIdentity(
            host: "lab-1", backend: "posix", allocator: "arena", durability: "fsync", topology: "colocated-3",
            engine: "lsm", transport: "grpc")
        let started = WallTime(milliseconds: 1_795_256_102_118)
        var report = RunReport(
            run: RunID.make(
                started: started, environment: environment, suite: "main", backend: "posix", allocator: "arena",
                seed: 71),
            suite: "main", name: nil, command: ["LoadGen", "suite", "main"], started: started, seed: 71, nodes: 3,
            identity: identity, environment: environment)
        report.seconds = 58.25
        report.floor = DiskFloor(writes: 200, minimumSeconds: 0.000091, p50Seconds: 0.000115, p99Seconds: 0.000197)
        report.checks = [
            Check("release_build", passed: true, detail: "built for release"),
            Check("acknowledged_writes_present", passed: true, detail: "0 lost", isAboutData: true),
        ]
        report.scenarios = [closed(), open()]
        report.failover = FailoverResult(
            fault: "kill", offeredPerSecond: 1000,
            trials: [trial(1, "node1", "node2", 0.182), trial(2, "node2", "node3", 0.391)])
        var verification = VerificationResult(afterRestart: true)
        verification.keysChecked = 1_204_331
        verification.recordsChecked = 5_000_000
        verification.seconds = 3.5
        report.verification = verification
        return report
    }

    private static func latencies() -> LatencySummary {
        var histogram = LatencyHistogram()
        for value in 1...10_000 as ClosedRange<UInt64> { histogram.record(value * 1000) }
        return LatencySummary(histogram)
    }

    private static func closed() -> ScenarioResult {
        var result = ScenarioResult(
            scenario: "kv_write", operation: "put", title: "64 clients", loop: .closed, clients: 64, windowSeconds: 8,
            counts: OperationCounts(ok: 97_120, error: 0, unknown: 1, retries: 3), operationsPerSecond: 12_140,
            payloadBytesPerSecond: 3_302_080)
        result.service = latencies()
        return result
    }

    private static func open() -> ScenarioResult {
        var result = ScenarioResult(
            scenario: "failover", operation: "put", title: "1 000 writes/s", loop: .open, clients: 96,
            windowSeconds: 10,
            counts: OperationCounts(ok: 10_000, error: 0, unknown: 0, retries: 400), operationsPerSecond: 1000,
            payloadBytesPerSecond: 272_000)
        result.offeredPerSecond = 1000
        result.response = latencies()
        return result
    }

    private static func trial(
        _ number: Int, _ victim: String, _ successor: String, _ gap: Double
    ) -> FailoverResult.Trial {
        FailoverResult.Trial(
            trial: number, victim: victim, successor: successor, gapSeconds: gap, censored: false,
            firstSuccessSeconds: gap - 0.001, caughtUpSeconds: 0.5,
            counts: OperationCounts(ok: 3000, error: 0, unknown: 0, retries: 200))
    }
}
