// Latency histograms against exact quantiles, merging, and the traps that other tools fall into.
import LabKit
import Testing

@Suite struct HistogramTests {
    @Test(arguments: [1 as UInt64, 2, 3])
    func quantilesAreWithinOneThousandth(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var histogram = LatencyHistogram()
        var values: [UInt64] = []
        for _ in 0..<20_000 {
            let value = 50_000 + random.next() % 100_000_000
            values.append(value)
            histogram.record(value)
        }
        values.sort()
        for quantile in [0.5, 0.9, 0.99, 0.999] {
            let exact = values[Int((Double(values.count) * quantile).rounded(.up)) - 1]
            let found = histogram.value(at: quantile)
            #expect(abs(Double(found) - Double(exact)) <= Double(exact) * 0.002, "seed \(seed), quantile \(quantile)")
        }
        #expect(histogram.maximum == values.last)
        #expect(histogram.minimum == values.first)
        #expect(histogram.value(at: 1) == values.last)
        #expect(histogram.sum == values.reduce(0, +))
    }

    /// Percentiles of workers must come from the merged histogram: the mean of both workers' p99 would be 50 ms here.
    @Test func mergingIsNotAveraging() {
        var fast = LatencyHistogram()
        var slow = LatencyHistogram()
        for _ in 0..<9900 { fast.record(1_000_000) }
        for _ in 0..<100 { slow.record(100_000_000) }
        var merged = LatencyHistogram()
        merged.merge(fast)
        merged.merge(slow)
        #expect(merged.count == 10_000)
        #expect(abs(Double(merged.value(at: 0.99)) - 1e6) < 2e3)
        #expect(abs(Double(merged.value(at: 0.995)) - 1e8) < 2e5)
    }

    @Test func emptyAndReset() {
        var histogram = LatencyHistogram()
        #expect(histogram.value(at: 0.5) == 0)
        #expect(histogram.minimum == 0)
        #expect(!histogram.supports(0.5))
        histogram.record(5)
        histogram.reset()
        #expect(histogram.count == 0)
        #expect(histogram.maximum == 0)
        histogram.merge(LatencyHistogram())
        #expect(histogram.minimum == 0)
    }

    @Test func valuesBeyondTheRangeKeepTheirMaximum() {
        var histogram = LatencyHistogram()
        histogram.record(10 * LatencyHistogram.trackedNanosecondsMax)
        #expect(histogram.maximum == 10 * LatencyHistogram.trackedNanosecondsMax)
        #expect(histogram.count == 1)
    }

    /// A percentile needs ten values beyond it.
    @Test func unsupportedPercentilesAreLeftOut() {
        var histogram = LatencyHistogram()
        for value in 1...1000 { histogram.record(UInt64(value) * 1000) }
        let summary = LatencySummary(histogram)
        #expect(summary.quantiles.map(\.quantile) == [0.5, 0.9, 0.99, 1])
        #expect(summary.value(at: 0.999) == nil)
        #expect(summary.value(at: 1) == 0.001)
    }

    @Test func bucketsAreCumulativeAndExactAtTheirBounds() {
        var histogram = LatencyHistogram()
        for value in [5_000, 9_000, 30_000, 700_000, 3_000_000_000, 50_000_000_000] as [UInt64] {
            histogram.record(value)
        }
        let buckets = LatencySummary(histogram).buckets
        #expect(buckets.first { $0.seconds == 0.00001 }?.count == 2)
        #expect(buckets.first { $0.seconds == 0.00005 }?.count == 3)
        #expect(buckets.first { $0.seconds == 0.001 }?.count == 4)
        #expect(buckets.last?.count == 5)
        #expect(zip(buckets, buckets.dropFirst()).allSatisfy { $0.count <= $1.count })
    }
}
