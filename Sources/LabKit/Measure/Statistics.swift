// Statistics of small samples: trials, runs, probes. Latencies of many operations belong into LatencyHistogram.

/// A sorted sample of finite numbers.
public struct Sample: Hashable, Sendable {
    public let sorted: [Double]

    /// - Precondition: every value is finite.
    public init(_ values: some Sequence<Double>) {
        sorted = values.sorted()
        precondition(sorted.allSatisfy(\.isFinite), "a sample holds finite numbers only; count the others apart")
    }

    public var count: Int { sorted.count }
    public var minimum: Double? { sorted.first }
    public var maximum: Double? { sorted.last }
    public var median: Double? { quantile(0.5) }
    public var mean: Double? { sorted.isEmpty ? nil : sorted.reduce(0, +) / Double(count) }

    /// The unbiased standard deviation; nil below two values.
    public var standardDeviation: Double? {
        guard count > 1, let mean else { return nil }
        let squares = sorted.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (squares / Double(count - 1)).squareRoot()
    }

    /// Linear interpolation between order statistics (type 7 of Hyndman and Fan 1996); nil when empty.
    public func quantile(_ quantile: Double) -> Double? {
        precondition((0...1).contains(quantile), "a quantile lies between 0 and 1")
        guard !sorted.isEmpty else { return nil }
        let position = quantile * Double(count - 1)
        let lower = Int(position)
        let upper = min(lower + 1, count - 1)
        return sorted[lower] + (position - Double(lower)) * (sorted[upper] - sorted[lower])
    }

    /// The percentile bootstrap's interval of the median (Efron 1979): nil below three values, where it would only
    /// repeat the extremes.
    /// - Complexity: O(resamples · n log n).
    public func medianInterval(confidence: Double = 0.95, resamples: Int = 2000, seed: UInt64) -> ClosedRange<Double>? {
        guard count >= 3 else { return nil }
        var random = SeededRandom(seed: seed)
        var medians: [Double] = []
        medians.reserveCapacity(resamples)
        for _ in 0..<resamples {
            let draw = Sample((0..<count).map { _ in sorted[random.below(count)] })
            medians.append(draw.median ?? 0)
        }
        let spread = Sample(medians)
        let tail = (1 - confidence) / 2
        guard let low = spread.quantile(tail), let high = spread.quantile(1 - tail) else { return nil }
        return low...high
    }
}
