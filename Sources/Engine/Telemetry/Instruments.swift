// What measures: a counter, a gauge and a histogram, each a handful of atomics that any thread may touch without a
// lock. They are made once, by a registry, and kept; nothing is looked up by name on a hot path.
import Synchronization

/// A number that only grows.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    init() {}

    public func increment(by amount: UInt64 = 1) {
        count.wrappingAdd(amount, ordering: .relaxed)
    }

    public var value: UInt64 { count.load(ordering: .relaxed) }
}

/// A number that goes both ways.
public final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)

    init() {}

    public func set(_ value: Double) {
        bits.store(value.bitPattern, ordering: .relaxed)
    }

    public func add(_ amount: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let (exchanged, original) = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = original
        }
    }

    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// Durations in fixed buckets, on a 1-2-5 ladder from 10 µs to 10 s, exported in seconds.
public final class Histogram: Sendable {
    /// Upper bounds in nanoseconds; one more bucket is above the last.
    public static let bounds: [UInt64] = [
        10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000,
        50_000_000, 100_000_000, 200_000_000, 500_000_000, 1_000_000_000, 2_000_000_000, 5_000_000_000, 10_000_000_000,
    ]

    private let buckets: [Counter]
    private let sum = Counter()

    init() {
        buckets = (0...Self.bounds.count).map { _ in Counter() }
    }

    /// Adds one duration. O(log buckets).
    public func record(nanoseconds: UInt64) {
        var low = 0
        var high = Self.bounds.count
        while low < high {
            let middle = (low + high) / 2
            if Self.bounds[middle] < nanoseconds { low = middle + 1 } else { high = middle }
        }
        buckets[low].increment()
        sum.increment(by: nanoseconds)
    }

    /// Counts up to and including each bound, then all.
    var cumulative: [UInt64] {
        var total: UInt64 = 0
        return buckets.map { bucket in
            total += bucket.value
            return total
        }
    }

    var sumSeconds: Double { Double(sum.value) / 1e9 }
}
