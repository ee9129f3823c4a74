// When writes were acknowledged, and the hole that a fault tore into that. The gap is what clients see: not an election
// time out of a log, but the longest stretch in which nobody got an answer.

/// Completion times of acknowledged writes, from any number of workers, in nanoseconds of MonotonicClock.
public struct AcknowledgementTimeline: Sendable {
    /// Rising.
    public let times: [UInt64]

    public init(_ times: some Sequence<UInt64>) {
        self.times = times.sorted()
    }

    /// A stretch without any acknowledgement.
    public struct Gap: Hashable, Sendable {
        public var start: UInt64
        public var end: UInt64
        /// True when nothing was acknowledged any more before the observation ended: the real gap is at least this
        /// long.
        public var isCensored: Bool

        public init(start: UInt64, end: UInt64, isCensored: Bool) {
            self.start = start
            self.end = end
            self.isCensored = isCensored
        }

        public var seconds: Double { MonotonicClock.seconds(from: start, to: end) }
    }

    /// The longest stretch without an acknowledgement that ends after the fault and starts before the observation ends.
    ///
    /// Answers that were already on their way when the fault struck still arrive, so the stretch need not contain the
    /// fault's own instant: every stretch that touches `fault...observedUntil` counts, and the longest is the gap. That
    /// can only make the number larger, never smaller.
    /// - Complexity: O(log n + acknowledgements observed).
    public func gap(afterFaultAt fault: UInt64, observedUntil: UInt64) -> Gap {
        precondition(fault <= observedUntil, "a fault is observed after it happened")
        let first = firstIndex(after: fault)
        var start = first == 0 ? fault : times[first - 1]
        var longest = Gap(start: start, end: start, isCensored: false)
        var index = first
        while index < times.count, times[index] <= observedUntil {
            if times[index] - start > longest.end - longest.start {
                longest = Gap(start: start, end: times[index], isCensored: false)
            }
            start = times[index]
            index += 1
        }
        if observedUntil - start > longest.end - longest.start {
            longest = Gap(start: start, end: observedUntil, isCensored: true)
        }
        return longest
    }

    /// The longest stretch of `from...until` in which nothing was acknowledged. Both ends count as ends of a stretch,
    /// so that a window without any acknowledgement is one stretch; the one that reaches `until` is censored.
    /// - Complexity: O(log n + acknowledgements in the window).
    public func silence(from: UInt64, until: UInt64) -> Gap {
        precondition(from <= until, "a window ends after it started")
        var start = from
        var longest = Gap(start: from, end: from, isCensored: false)
        for time in times[firstIndex(atOrAfter: from)..<firstIndex(after: until)] {
            if time - start > longest.end - longest.start { longest = Gap(start: start, end: time, isCensored: false) }
            start = time
        }
        if until - start > longest.end - longest.start { longest = Gap(start: start, end: until, isCensored: true) }
        return longest
    }

    /// Acknowledgements in `range`.
    public func count(in range: Range<UInt64>) -> Int {
        firstIndex(atOrAfter: range.upperBound) - firstIndex(atOrAfter: range.lowerBound)
    }

    private func firstIndex(after time: UInt64) -> Int {
        partition { $0 > time }
    }

    private func firstIndex(atOrAfter time: UInt64) -> Int {
        partition { $0 >= time }
    }

    private func partition(_ isRight: (UInt64) -> Bool) -> Int {
        var low = 0
        var high = times.count
        while low < high {
            let middle = (low + high) / 2
            if isRight(times[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
