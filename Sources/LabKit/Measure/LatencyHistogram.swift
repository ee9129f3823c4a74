// One worker's latencies, in nanoseconds: an HDR histogram of three digits plus the exact minimum, maximum and sum.
// Percentiles come only from merged histograms, never from averages of percentiles, and never from corrected values.
internal import Histogram

/// Latencies from 64 ns to two minutes with 0.1 % resolution. A value type: each worker records into its own, and a
/// reader merges copies. About 180 KB each.
public struct LatencyHistogram: Sendable {
    /// Longer values count as this one in the percentiles; `maximum` stays exact.
    public static let trackedNanosecondsMax: UInt64 = 120_000_000_000

    private var histogram: Histogram<UInt64>
    public private(set) var count: UInt64 = 0
    /// Exact, in nanoseconds; 0 while empty.
    public private(set) var maximum: UInt64 = 0
    private var smallest: UInt64 = .max
    /// Exact, in nanoseconds.
    public private(set) var sum: UInt64 = 0

    public init() {
        histogram = Histogram(
            lowestDiscernibleValue: 64, highestTrackableValue: LatencyHistogram.trackedNanosecondsMax,
            numberOfSignificantValueDigits: .three)
    }

    /// Exact, in nanoseconds; 0 while empty.
    public var minimum: UInt64 { count == 0 ? 0 : smallest }

    /// In nanoseconds; 0 while empty.
    public var mean: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    /// - Complexity: O(1), no allocation.
    public mutating func record(_ nanoseconds: UInt64) {
        histogram.record(Swift.min(nanoseconds, LatencyHistogram.trackedNanosecondsMax))
        count += 1
        sum &+= nanoseconds
        maximum = Swift.max(maximum, nanoseconds)
        smallest = Swift.min(smallest, nanoseconds)
    }

    /// Adds another worker's values.
    public mutating func merge(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        histogram.add(other.histogram)
        count += other.count
        sum &+= other.sum
        maximum = Swift.max(maximum, other.maximum)
        smallest = Swift.min(smallest, other.smallest)
    }

    public mutating func reset() {
        histogram.reset()
        count = 0
        sum = 0
        maximum = 0
        smallest = .max
    }

    /// The value that a fraction `quantile` of all values does not exceed, in nanoseconds; 1 is the exact maximum.
    public func value(at quantile: Double) -> UInt64 {
        precondition((0...1).contains(quantile), "a quantile lies between 0 and 1")
        if count == 0 { return 0 }
        if quantile >= 1 { return maximum }
        return Swift.max(Swift.min(histogram.valueAtPercentile(quantile * 100), maximum), minimum)
    }

    /// True when at least ten values lie beyond the quantile; below that a percentile is an anecdote and not printed.
    public func supports(_ quantile: Double) -> Bool {
        quantile >= 1 ? count > 0 : Double(count) * (1 - quantile) >= 10 - 1e-6
    }

    /// How many values are at or below each of `bounds` (nanoseconds, rising).
    /// - Complexity: O(buckets) over all bounds together.
    public func cumulativeCounts(at bounds: [UInt64]) -> [UInt64] {
        var counts: [UInt64] = []
        counts.reserveCapacity(bounds.count)
        var running: UInt64 = 0
        var next = 0
        for step in histogram.recordedValues() {
            while next < bounds.count, step.value > bounds[next] {
                counts.append(running)
                next += 1
            }
            if next == bounds.count { break }
            running = step.totalCountToThisValue
        }
        while counts.count < bounds.count {
            counts.append(running)
        }
        return counts
    }
}
