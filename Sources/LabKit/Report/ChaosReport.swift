// The part of a run's result about chaos: what was done to the cluster, when, and what was left of it.

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

    /// Of the schedule of faults.
    public var seed: UInt64
    public var events: [Event] = []
    /// By node, then by group: a hash of the replicated state, at the same applied index on all.
    public var hashes: [String: [String: String]] = [:]

    public init(seed: UInt64) {
        self.seed = seed
    }

    /// How often each kind of fault came, by name.
    public var counts: [(fault: String, count: Int)] {
        Dictionary(grouping: events, by: \.fault).map { ($0.key, $0.value.count) }.sorted { $0.0 < $1.0 }
    }
}
