// What a running scenario shows to the progress display: a few numbers, stored without locks by the load threads and
// read by anybody. Never the source of a result.
import LabKit
import Synchronization

/// Shared between load threads and the display.
final class LiveCounters: Sendable {
    private let okCount = Atomic<UInt64>(0)
    private let errorCount = Atomic<UInt64>(0)
    private let unknownCount = Atomic<UInt64>(0)
    private let retryCount = Atomic<UInt64>(0)
    private let p50 = Atomic<UInt64>(0)
    private let p99 = Atomic<UInt64>(0)
    private let maximum = Atomic<UInt64>(0)

    struct Snapshot: Hashable {
        var counts = OperationCounts()
        /// Nanoseconds; 0 when unknown.
        var p50: UInt64 = 0
        var p99: UInt64 = 0
        var maximum: UInt64 = 0
    }

    func add(ok: UInt64 = 0, error: UInt64 = 0, unknown: UInt64 = 0, retries: UInt64 = 0) {
        if ok > 0 { okCount.add(ok, ordering: .relaxed) }
        if error > 0 { errorCount.add(error, ordering: .relaxed) }
        if unknown > 0 { unknownCount.add(unknown, ordering: .relaxed) }
        if retries > 0 { retryCount.add(retries, ordering: .relaxed) }
    }

    func show(_ latencies: LatencyHistogram) {
        p50.store(latencies.value(at: 0.5), ordering: .relaxed)
        p99.store(latencies.value(at: 0.99), ordering: .relaxed)
        maximum.store(latencies.maximum, ordering: .relaxed)
    }

    var snapshot: Snapshot {
        Snapshot(
            counts: OperationCounts(
                ok: okCount.load(ordering: .relaxed), error: errorCount.load(ordering: .relaxed),
                unknown: unknownCount.load(ordering: .relaxed), retries: retryCount.load(ordering: .relaxed)),
            p50: p50.load(ordering: .relaxed), p99: p99.load(ordering: .relaxed),
            maximum: maximum.load(ordering: .relaxed))
    }
}
