// What the faults did, and whether everything that was acknowledged is still there.

/// Trials of one kind of fault under load.
public struct FailoverResult: Codable, Hashable, Sendable {
    public struct Trial: Codable, Hashable, Sendable {
        public var trial: Int
        /// The node that was hit.
        public var victim: String
        /// Who led afterwards.
        public var successor: String
        /// The longest stretch without an acknowledged write around the fault, over all connections.
        public var gapSeconds: Double
        /// Nothing was acknowledged any more before the trial ended: the gap is at least `gapSeconds`.
        public var censored: Bool
        /// From the fault to the first acknowledgement of a write that was due after it.
        public var firstSuccessSeconds: Double?
        /// From the restart of the victim, or the end of its fault, until it had caught up.
        public var caughtUpSeconds: Double?
        /// From the fault until another node led; only where the old leader goes on answering clients.
        public var replacedSeconds: Double?
        /// Terms that began between the fault and the end of the trial.
        public var elections: UInt64?
        public var counts: OperationCounts

        public init(
            trial: Int, victim: String, successor: String, gapSeconds: Double, censored: Bool,
            firstSuccessSeconds: Double?, caughtUpSeconds: Double?, counts: OperationCounts
        ) {
            self.trial = trial
            self.victim = victim
            self.successor = successor
            self.gapSeconds = gapSeconds
            self.censored = censored
            self.firstSuccessSeconds = firstSuccessSeconds
            self.caughtUpSeconds = caughtUpSeconds
            self.counts = counts
        }
    }

    /// What was done to the leader: `kill` (SIGKILL), `pause` (SIGSTOP), `partition`, `partition-in`, `partition-out`,
    /// `graceful` (SIGTERM) or `disk-stall`.
    public var fault: String
    public var offeredPerSecond: Double
    public var trials: [Trial]

    public init(fault: String, offeredPerSecond: Double, trials: [Trial]) {
        self.fault = fault
        self.offeredPerSecond = offeredPerSecond
        self.trials = trials
    }

    public var gaps: Sample { Sample(trials.map(\.gapSeconds)) }
    public var replacements: Sample { Sample(trials.compactMap(\.replacedSeconds)) }
    public var elections: UInt64 { trials.reduce(0) { $0 + ($1.elections ?? 0) } }
    public var counts: OperationCounts { trials.reduce(OperationCounts()) { $0 + $1.counts } }
    public var isCensored: Bool { trials.contains(where: \.censored) }
}

/// The reading back of everything that was acknowledged.
public struct VerificationResult: Codable, Hashable, Sendable {
    public var keysChecked: UInt64
    /// Acknowledged, but absent or replaced by something older.
    public var keysLost: UInt64
    /// Present with bytes that nobody wrote.
    public var keysCorrupt: UInt64
    public var recordsChecked: UInt64
    public var recordsLost: UInt64
    public var recordsCorrupt: UInt64
    /// Records of one batch that appear twice.
    public var recordsDuplicated: UInt64
    /// Writes without a known outcome that turned out to be there; neither good nor bad.
    public var unknownFound: UInt64
    /// True when every node was stopped and started between the writing and the reading.
    public var afterRestart: Bool
    public var seconds: Double
    /// The first few findings, for people.
    public var examples: [String]

    public static let examplesMax = 10

    public init(afterRestart: Bool) {
        keysChecked = 0
        keysLost = 0
        keysCorrupt = 0
        recordsChecked = 0
        recordsLost = 0
        recordsCorrupt = 0
        recordsDuplicated = 0
        unknownFound = 0
        self.afterRestart = afterRestart
        seconds = 0
        examples = []
    }

    public var lost: UInt64 { keysLost + recordsLost }
    public var corrupt: UInt64 { keysCorrupt + recordsCorrupt }

    public mutating func note(_ example: String) {
        if examples.count < VerificationResult.examplesMax {
            examples.append(example)
        }
    }
}
