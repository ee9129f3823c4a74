// How long each part of a run takes and how large it is: the numbers behind `main` and `quick`.
import LabKit

/// What a run does.
struct SuitePlan: Hashable, Sendable {
    enum Kind: String, Hashable, Sendable {
        case main, quick, failover, chaos
    }

    var kind: Kind
    var nodes = 3
    var clients = 64
    var valueBytes = 256
    var trials = 3
    /// Of the topic that ingest writes to.
    var partitions = 6
    /// Whether leaders are killed under load.
    var injectsFaults = true
    var seed: UInt64
    /// Measured windows, in seconds; each has a warm-up in front of it.
    var ingestSeconds: Double
    var writeSeconds: Double
    var readSeconds: Double
    var warmupSeconds: Double
    /// Of chaos.
    var chaosSeconds = 60.0
    /// Those that chaos takes.
    var chaosFaults = Set(ChaosFault.allCases)
    /// Undisturbed load before each fault.
    var settleSeconds: Double
    /// What happens to the leader in each trial of a failover.
    var fault = LeaderFault.kill
    /// Between the nodes.
    var network = NetworkKind.loopback
    var keepData = false
    /// Further arguments of each server: the positions of its switches.
    var switches: [String] = []
    var name: String?
    var command: [String]

    /// Bounds that keep a run's ledger within memory and its table readable.
    static let clientsMax = 10_000
    static let valueBytesMax = 1 << 20
    static let trialsMax = 1000
    static let nodesMax = 9
    static let partitionsMax = 1000

    init(_ kind: Kind, seed: UInt64, command: [String]) {
        self.kind = kind
        self.seed = seed
        self.command = command
        let isQuick = kind == .quick
        ingestSeconds = isQuick ? 2 : 5
        writeSeconds = isQuick ? 3 : 8
        readSeconds = isQuick ? 2 : 5
        warmupSeconds = isQuick ? 0.5 : 1
        settleSeconds = isQuick ? 0.4 : 1
    }

    var runsScenarios: Bool { kind == .main || kind == .quick }
}
