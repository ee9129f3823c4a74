// The model of a run's result: what run.json holds and what every other output is made from. Docs/Formats/results.md
// describes it for readers of the files; a change of meaning needs a new schema name.

/// One run of LoadGen.
public struct RunReport: Codable, Hashable, Sendable {
    public static let schemaName = "strata.run/1"

    public enum State: String, Codable, Hashable, Sendable {
        case complete
        /// Interrupted by the user; what was measured until then is kept.
        case aborted
        /// Stopped by an error; what was measured until then is kept.
        case failed
    }

    public var schema: String
    public var run: String
    public var suite: String
    public var name: String?
    public var state: State
    /// What went wrong, when `state` is `failed`.
    public var failure: String?
    public var command: [String]
    /// ISO 8601, UTC.
    public var started: String
    public var seconds: Double
    public var seed: UInt64
    public var nodes: Int
    public var identity: RunIdentity
    public var environment: RunEnvironment
    public var floor: DiskFloor?
    public var checks: [Check]
    public var scenarios: [ScenarioResult]
    public var failover: FailoverResult?
    public var chaos: ChaosResult?
    public var verification: VerificationResult?

    public init(
        run: String, suite: String, name: String?, command: [String], started: WallTime, seed: UInt64, nodes: Int,
        identity: RunIdentity, environment: RunEnvironment
    ) {
        schema = RunReport.schemaName
        self.run = run
        self.suite = suite
        self.name = name
        state = .complete
        self.command = command
        self.started = started.iso8601
        seconds = 0
        self.seed = seed
        self.nodes = nodes
        self.identity = identity
        self.environment = environment
        checks = []
        scenarios = []
    }

    /// False when a check that voids a run failed, or the run did not end by itself: its numbers must not be quoted.
    public var valid: Bool {
        state == .complete && !checks.contains { $0.voidsRun && !$0.passed }
    }

    /// True when data was lost or wrong: worse than an invalid run.
    public var dataCheckFailed: Bool {
        checks.contains { $0.isAboutData && !$0.passed }
    }
}

/// The position of every switch: labels on each number. Each has few possible values.
public struct RunIdentity: Codable, Hashable, Sendable {
    public var host: String
    public var backend: String
    public var allocator: String
    public var durability: String
    public var topology: String
    public var engine: String
    public var transport: String
    /// What the disks were made to do wrong; nil in an honest run.
    public var fault: String?

    public init(
        host: String, backend: String, allocator: String, durability: String, topology: String, engine: String,
        transport: String, fault: String? = nil
    ) {
        self.host = host
        self.backend = backend
        self.allocator = allocator
        self.durability = durability
        self.topology = topology
        self.engine = engine
        self.transport = transport
        self.fault = fault
    }

    /// In the order in which they are printed.
    public var labels: [(name: String, value: String)] {
        [
            ("host", host), ("backend", backend), ("allocator", allocator), ("durability", durability),
            ("topology", topology), ("engine", engine), ("transport", transport),
        ] + (fault.map { [("fault", $0)] } ?? [])
    }
}

/// One rule of honesty, as a fact about this run.
public struct Check: Codable, Hashable, Sendable {
    /// snake_case; a closed set.
    public var check: String
    public var passed: Bool
    /// What was found, for people.
    public var detail: String
    /// A failure makes the run invalid.
    public var voidsRun: Bool
    /// A failure means that acknowledged data was lost or came back wrong.
    public var isAboutData: Bool

    public init(_ check: String, passed: Bool, detail: String, voidsRun: Bool = true, isAboutData: Bool = false) {
        self.check = check
        self.passed = passed
        self.detail = detail
        self.voidsRun = voidsRun
        self.isAboutData = isAboutData
    }
}

/// How operations ended. Every operation is in exactly one of the first three.
public struct OperationCounts: Codable, Hashable, Sendable {
    public var ok: UInt64
    /// Certainly not done.
    public var error: UInt64
    /// May have been done or not: no answer, or a broken connection.
    public var unknown: UInt64
    /// Further attempts; they belong to an operation that is counted once above.
    public var retries: UInt64

    public init(ok: UInt64 = 0, error: UInt64 = 0, unknown: UInt64 = 0, retries: UInt64 = 0) {
        self.ok = ok
        self.error = error
        self.unknown = unknown
        self.retries = retries
    }

    public static func + (left: OperationCounts, right: OperationCounts) -> OperationCounts {
        OperationCounts(
            ok: left.ok + right.ok, error: left.error + right.error, unknown: left.unknown + right.unknown,
            retries: left.retries + right.retries)
    }
}

/// What one scenario measured.
public struct ScenarioResult: Codable, Hashable, Sendable {
    public enum Loop: String, Codable, Hashable, Sendable {
        /// Each client waits for its answer before it sends again: only service times, which say nothing about waiting.
        case closed
        /// Operations start when they are due, answered or not: response times count from the intended start.
        case open
        /// No network: one thread calls the code.
        case inProcess = "in_process"
    }

    public var scenario: String
    /// What one operation is: put, get, produce.
    public var operation: String
    /// One line for people: size, batch, acks.
    public var title: String
    public var loop: Loop
    public var clients: Int
    /// Length of the common window in which completions were counted; warm-up excluded.
    public var windowSeconds: Double
    public var counts: OperationCounts
    /// Operations completed inside the window, per second. One record is one operation, batched or not.
    public var operationsPerSecond: Double
    public var payloadBytesPerSecond: Double
    /// Planned rate; open loop only.
    public var offeredPerSecond: Double?
    /// From the intended start; open loop only.
    public var response: LatencySummary?
    /// From the send. For batches: of the batch.
    public var service: LatencySummary?

    public init(
        scenario: String, operation: String, title: String, loop: Loop, clients: Int, windowSeconds: Double,
        counts: OperationCounts, operationsPerSecond: Double, payloadBytesPerSecond: Double
    ) {
        self.scenario = scenario
        self.operation = operation
        self.title = title
        self.loop = loop
        self.clients = clients
        self.windowSeconds = windowSeconds
        self.counts = counts
        self.operationsPerSecond = operationsPerSecond
        self.payloadBytesPerSecond = payloadBytesPerSecond
    }
}
