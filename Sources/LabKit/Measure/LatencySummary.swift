// What of a latency histogram goes into a report: a few exact numbers, the usual quantiles and a fixed ladder of
// buckets that Prometheus can aggregate.

/// Latencies of one kind of operation. All values in seconds.
public struct LatencySummary: Codable, Hashable, Sendable {
    public struct Quantile: Codable, Hashable, Sendable {
        public var quantile: Double
        public var seconds: Double

        public init(quantile: Double, seconds: Double) {
            self.quantile = quantile
            self.seconds = seconds
        }
    }

    public struct Bucket: Codable, Hashable, Sendable {
        /// Upper bound, included.
        public var seconds: Double
        /// Values at or below the bound.
        public var count: UInt64

        public init(seconds: Double, count: UInt64) {
            self.seconds = seconds
            self.count = count
        }
    }

    public var count: UInt64
    public var sum: Double
    public var minimum: Double
    public var mean: Double
    public var maximum: Double
    /// Only quantiles with at least ten values beyond them, and 1 for the exact maximum.
    public var quantiles: [Quantile]
    /// Cumulative, over the 1-2-5 ladder from 10 µs to 10 s.
    public var buckets: [Bucket]

    public static let quantileLadder: [Double] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1]

    /// Upper bounds of the buckets, in nanoseconds.
    public static let bucketLadder: [UInt64] = [
        10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000,
        50_000_000, 100_000_000, 200_000_000, 500_000_000, 1_000_000_000, 2_000_000_000, 5_000_000_000, 10_000_000_000,
    ]

    public init(_ histogram: LatencyHistogram) {
        count = histogram.count
        sum = Double(histogram.sum) / 1e9
        minimum = Double(histogram.minimum) / 1e9
        mean = histogram.mean / 1e9
        maximum = Double(histogram.maximum) / 1e9
        quantiles = LatencySummary.quantileLadder.filter { histogram.supports($0) }.map {
            Quantile(quantile: $0, seconds: Double(histogram.value(at: $0)) / 1e9)
        }
        let ladder = LatencySummary.bucketLadder
        buckets = zip(ladder, histogram.cumulativeCounts(at: ladder)).map {
            Bucket(seconds: Double($0) / 1e9, count: $1)
        }
    }

    /// In seconds; nil when too few values lie beyond the quantile to print it.
    public func value(at quantile: Double) -> Double? {
        quantiles.first { $0.quantile == quantile }?.seconds
    }
}
