// The part of a run's result about chaos: what was done to the cluster, when, for how long nobody got an answer, and
// what was left of it. A bound that was exceeded, or could not be measured, is never a pass.

/// A run of many faults under load, and the state in which it ended.
public struct ChaosResult: Codable, Hashable, Sendable {
    /// One fault, in seconds since the first load.
    public struct Event: Codable, Hashable, Sendable {
        public var fault: String
        public var target: String
        public var nodes: [String]
        public var fromSeconds: Double
        public var untilSeconds: Double
        /// Every node had caught up.
        public var recoveredSeconds: Double
        public var note: String?
        /// The longest time without an acknowledged write until the next fault; nil when it was not measured.
        public var unavailable: Unavailable?
        /// What a node that came back was sent; nil when it was not counted.
        public var catchUp: CatchUp?

        /// From the end of the fault until every node had caught up.
        public var recovery: Double { recoveredSeconds - untilSeconds }

        public init(
            fault: String, target: String, nodes: [String], fromSeconds: Double, untilSeconds: Double,
            recoveredSeconds: Double, note: String?
        ) {
            self.fault = fault
            self.target = target
            self.nodes = nodes
            self.fromSeconds = fromSeconds
            self.untilSeconds = untilSeconds
            self.recoveredSeconds = recoveredSeconds
            self.note = note
        }
    }

    /// How long nobody got an answer, and how long that may be.
    public struct Unavailable: Codable, Hashable, Sendable {
        public var seconds: Double
        public var boundSeconds: Double
        /// Counted from the end of the fault, because no majority was there while it lasted; else from its beginning.
        public var afterFault: Bool

        public init(seconds: Double, boundSeconds: Double, afterFault: Bool) {
            self.seconds = seconds
            self.boundSeconds = boundSeconds
            self.afterFault = afterFault
        }

        public var isExceeded: Bool { !(seconds <= boundSeconds) }
    }

    /// Bytes to a node that was away, from the beginning of its fault until it had caught up.
    public struct CatchUp: Codable, Hashable, Sendable {
        public var sentBytes: UInt64
        /// What a node that was there all the time was sent of the same.
        public var lackedBytes: UInt64
        public var boundBytes: UInt64

        public init(sentBytes: UInt64, lackedBytes: UInt64, boundBytes: UInt64) {
            self.sentBytes = sentBytes
            self.lackedBytes = lackedBytes
            self.boundBytes = boundBytes
        }

        public var isExceeded: Bool { sentBytes > boundBytes }
    }

    /// All faults of one kind.
    public struct Unavailability: Codable, Hashable, Sendable {
        public var fault: String
        public var target: String
        public var times: Int
        public var p50Seconds: Double
        public var maxSeconds: Double
        public var boundSeconds: Double
        public var afterFault: Bool
        /// How often the bound was exceeded.
        public var exceeded: Int

        /// In the words of a check.
        fileprivate var sentence: String {
            "\(fault) of \(target) \(NumberText.fixed(maxSeconds, 2)) s instead of "
                + "\(NumberText.fixed(boundSeconds, 2)) s (\(exceeded) of \(times))"
        }
    }

    /// Of the schedule of faults.
    public var seed: UInt64
    public var events: [Event] = [] {
        didSet { unavailability = ChaosResult.summary(events) }
    }
    /// One for each kind of fault; follows from the events.
    public private(set) var unavailability: [Unavailability]?
    /// By node, then by group: a hash of the replicated state, at the same applied index on all.
    public var hashes: [String: [String: String]] = [:]

    public init(seed: UInt64) {
        self.seed = seed
    }

    /// How often each kind of fault came, by name.
    public var counts: [(fault: String, count: Int)] {
        Dictionary(grouping: events, by: \.fault).map { ($0.key, $0.value.count) }.sorted { $0.0 < $1.0 }
    }

    private static func summary(_ events: [Event]) -> [Unavailability] {
        struct Kind: Hashable {
            var fault: String
            var target: String
        }
        let kinds = Dictionary(grouping: events) { Kind(fault: $0.fault, target: $0.target) }
        return kinds.compactMap { kind, events in
            let measured = events.compactMap(\.unavailable)
            guard let first = measured.first else { return nil }
            let seconds = Sample(measured.map(\.seconds).filter(\.isFinite))
            return Unavailability(
                fault: kind.fault, target: kind.target, times: measured.count, p50Seconds: seconds.median ?? 0,
                maxSeconds: seconds.maximum ?? 0, boundSeconds: measured.map(\.boundSeconds).min() ?? 0,
                afterFault: first.afterFault, exceeded: measured.count(where: \.isExceeded))
        }
        .sorted { ($0.fault, $0.target) < ($1.fault, $1.target) }
    }

    /// What makes the run invalid: no fault at all, a fault whose unavailability was not measured or exceeds its bound,
    /// a node that was sent too much.
    public var checks: [Check] {
        let unmeasured = events.count { $0.unavailable == nil }
        let exceeded = (unavailability ?? []).filter { $0.exceeded > 0 }.map(\.sentence)
        var detail = exceeded.isEmpty ? "every kind of fault within its bound" : exceeded.joined(separator: ", ")
        if unmeasured > 0 { detail += ", \(unmeasured) faults were not measured" }
        var checks = [
            Check("faults_injected", passed: !events.isEmpty, detail: "\(events.count) faults"),
            Check("unavailability_bounded", passed: exceeded.isEmpty && unmeasured == 0, detail: detail),
        ]
        let counted = events.compactMap(\.catchUp)
        if let worst = counted.max(by: { $0.excess < $1.excess }) {
            checks.append(
                Check(
                    "catch_up_bytes_bounded", passed: !counted.contains(where: \.isExceeded),
                    detail: "at most \(NumberText.grouped(worst.sentBytes)) bytes to a node that lacked "
                        + "\(NumberText.grouped(worst.lackedBytes)), bound \(NumberText.grouped(worst.boundBytes))"))
        }
        return checks
    }
}

extension ChaosResult.CatchUp {
    /// Share of the bound that was used.
    fileprivate var excess: Double { Double(sentBytes) / Double(max(1, boundBytes)) }
}
