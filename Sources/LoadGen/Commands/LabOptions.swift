// The options that every command of LoadGen knows, and their check. Each has a default; a wrong one is answered with a
// sentence before anything is started.
import ArgumentParser
import Foundation
import LabKit

struct LabOptions: ParsableArguments {
    @Option(help: "Use this running cluster instead of starting one: gRPC addresses, host:port,…")
    var endpoints: String?

    @Option(help: "RESP addresses of the running cluster, host:port,… (with --endpoints).")
    var respEndpoints: String?

    @Option(help: "Nodes of the embedded cluster (default: 3).")
    var nodes: Int?

    @Option(help: "Seconds of each measured window (default: the suite's).")
    var duration: Double?

    @Option(help: "Clients of the closed loops.")
    var clients = 64

    @Option(help: "Bytes of a key-value value.")
    var valueSize = 256

    @Option(help: "Partitions that ingest writes to at once (default: 6).")
    var partitions: Int?

    @Option(help: "Faults to inject (default: 3, failover: 30).")
    var trials: Int?

    @Option(help: "Who does the servers' disk I/O: posix, uring or auto.")
    var io: String?

    @Option(help: "Where the servers' stores take memory: arena, jemalloc or system.")
    var allocator: String?

    @Option(help: "The servers' storage engine: lsm or hashlog.")
    var engine: String?

    @Option(help: "How the servers talk to each other: tcp or grpc.")
    var transport: String?

    @Option(help: "What the servers' disks do wrong, as their own --fault takes it.")
    var fault: String?

    @Option(help: "Seed of keys, values and choices (default: random, printed).")
    var seed: UInt64?

    @Option(help: "Folder for results.")
    var results = "Results"

    @Option(help: "A word to find the run by.")
    var name: String?

    @Flag(help: "Write no result files.")
    var noWrite = false

    @Flag(help: "Shorter windows: about 20 seconds.")
    var quick = false

    @Flag(help: "Kill no leaders under load; the restart of every node before the check stays.")
    var noFailover = false

    @Flag(help: "Keep the embedded cluster's data and logs.")
    var keepData = false

    @Flag(help: "Exit with 4 when the run is not valid.")
    var strict = false

    @Flag(help: "Run a debug build as it is; the run is marked invalid.")
    var debugOk = false

    /// Long names that take a value, for SingleDash.
    static let valueNames: Set<String> = [
        "endpoints", "resp-endpoints", "nodes", "duration", "clients", "value-size", "trials", "seed", "results",
        "name", "io", "allocator", "engine", "transport", "partitions", "fault",
    ]
    static let flagNames: Set<String> = [
        "no-write", "quick", "no-failover", "keep-data", "strict", "debug-ok", "help", "version",
    ]

    /// The switches as the servers' own command line takes them; the servers check the words.
    var switches: [String] {
        [("io", io), ("allocator", allocator), ("engine", engine), ("transport", transport), ("fault", fault)].flatMap {
            name, word in
            word.map { ["--" + name, $0] } ?? []
        }
    }

    /// The plan that these options ask for.
    func plan(_ kind: SuitePlan.Kind, command: [String]) throws(LoadGenError) -> SuitePlan {
        let seed = seed ?? UInt64.random(in: 0..<1_000_000_000)
        var plan = SuitePlan(kind, seed: seed, command: command)
        plan.nodes = nodes ?? 3
        plan.clients = clients
        plan.valueBytes = valueSize
        plan.trials = trials ?? (kind == .failover ? 30 : 3)
        plan.partitions = partitions ?? plan.partitions
        plan.injectsFaults = !noFailover
        plan.keepData = keepData
        plan.name = name
        plan.switches = switches
        if let duration {
            plan.ingestSeconds = duration
            plan.writeSeconds = duration
            plan.readSeconds = duration
        }
        try check(plan)
        return plan
    }

    private func check(_ plan: SuitePlan) throws(LoadGenError) {
        try LabOptions.check("nodes", plan.nodes, 1...SuitePlan.nodesMax)
        try LabOptions.check("clients", plan.clients, 1...SuitePlan.clientsMax)
        try LabOptions.check("value-size", plan.valueBytes, KeyValueCodec.valueBytesMin...SuitePlan.valueBytesMax)
        try LabOptions.check("trials", plan.trials, 1...SuitePlan.trialsMax)
        try LabOptions.check("partitions", plan.partitions, 1...SuitePlan.partitionsMax)
        if plan.kind == .failover, noFailover {
            throw LoadGenError.usage("failover is what --no-failover leaves out: give one of them")
        }
        guard plan.writeSeconds >= 0.1, plan.writeSeconds <= 3600 else {
            throw LoadGenError.usage("--duration must be between 0.1 and 3600 seconds")
        }
        if endpoints != nil, nodes != nil {
            throw LoadGenError.usage("--nodes starts a cluster and --endpoints uses one: give one of them")
        }
        guard endpoints == nil || switches.isEmpty else {
            throw LoadGenError.usage(
                "\(switches[0]) is for servers that LoadGen starts; those behind --endpoints have their own switches")
        }
        guard (endpoints == nil) == (respEndpoints == nil) else {
            throw LoadGenError.usage("--endpoints and --resp-endpoints go together: records use one, keys the other")
        }
        if endpoints != nil, plan.kind == .failover {
            throw LoadGenError.usage("failover kills nodes, so it needs the embedded cluster: leave --endpoints out")
        }
        if plan.kind == .failover, plan.nodes < 3 {
            throw LoadGenError.usage("failover needs at least three nodes")
        }
    }

    private static func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(LoadGenError) {
        guard range.contains(value) else {
            throw LoadGenError.usage("--\(name) must be between \(range.lowerBound) and \(range.upperBound)")
        }
    }

    /// The running cluster, when one was named.
    func externalTarget() throws(LoadGenError) -> Target? {
        guard let endpoints, let respEndpoints else { return nil }
        var grpc: [String] = []
        for endpoint in endpoints.split(separator: ",") {
            grpc.append(try SocketAddress(parsing: String(endpoint)).description)
        }
        var resp: [SocketAddress] = []
        for endpoint in respEndpoints.split(separator: ",") {
            resp.append(try SocketAddress(parsing: String(endpoint)))
        }
        guard !grpc.isEmpty, !resp.isEmpty else {
            throw LoadGenError.usage("--endpoints and --resp-endpoints need at least one address each")
        }
        return .external(grpc: grpc, resp: resp)
    }
}
