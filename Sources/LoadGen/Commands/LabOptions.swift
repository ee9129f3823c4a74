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

    @Option(
        help: """
            What the servers' disks do wrong, as their own --fault takes it; for failover also what happens to the \
            leader: kill, pause, partition, partition-in, partition-out, graceful, disk-stall.
            """)
    var fault: String?

    @Option(help: "Between the nodes: loopback, proxy (cuts, delays, breaks) or namespaces (cuts; needs root).")
    var network: String?

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
        "name", "minutes", "network", "io", "allocator", "engine", "transport", "partitions", "fault",
        "faults",
    ]
    static let flagNames: Set<String> = [
        "no-write", "quick", "no-failover", "keep-data", "strict", "debug-ok", "help", "version",
    ]

    /// The switches as the servers' own command line takes them; the servers check the words.
    /// - Parameter diskFaults: for the servers' --fault.
    private func switches(diskFaults: [String]) -> [String] {
        let disk = diskFaults.isEmpty ? nil : diskFaults.joined(separator: ",")
        return [("io", io), ("allocator", allocator), ("engine", engine), ("transport", transport), ("fault", disk)]
            .flatMap { name, word in word.map { ["--" + name, $0] } ?? [] }
    }

    /// The words of --fault: what happens to leaders, and what the servers do to their disks.
    private func faults(_ kind: SuitePlan.Kind) -> (leader: [LeaderFault], disk: [String]) {
        let words = (fault ?? "").split(separator: ",").map(String.init)
        guard kind == .failover else { return ([], words) }
        return (words.compactMap(LeaderFault.init(rawValue:)), words.filter { LeaderFault(rawValue: $0) == nil })
    }

    /// The plans that these options ask for: one for each fault of a failover.
    func plans(_ kind: SuitePlan.Kind, command: [String]) throws(LoadGenError) -> [SuitePlan] {
        var plan = try plan(kind, command: command)
        let faults = faults(kind).leader
        guard !faults.isEmpty else { return [plan] }
        var plans: [SuitePlan] = []
        for fault in faults {
            plan.fault = fault
            plan.network = try network(needsPartitions: fault.needsPartitions)
            plan.switches = switches(diskFaults: self.faults(kind).disk + fault.diskFaults)
            plans.append(plan)
        }
        return plans
    }

    /// What connects the nodes: what was asked for, else the least that can do what is needed.
    private func network(needsPartitions: Bool) throws(LoadGenError) -> NetworkKind {
        guard let network else { return needsPartitions ? .proxy : .loopback }
        guard let kind = NetworkKind(rawValue: network) else {
            let words = NetworkKind.allCases.map(\.rawValue).joined(separator: ", ")
            throw LoadGenError.usage("'\(network)' is no --network; take one of \(words)")
        }
        guard !needsPartitions || kind != .loopback else {
            throw LoadGenError.usage("--network loopback can't be cut, and this needs partitions; leave it out")
        }
        guard kind != .namespaces || NamespaceNetwork.isPossible else {
            throw LoadGenError.usage("--network namespaces needs root and iproute2; --network proxy needs neither")
        }
        return kind
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
        plan.switches = switches(diskFaults: faults(kind).disk)
        plan.network = try network(needsPartitions: kind == .chaos)
        if kind == .chaos {
            plan.switches = switches(diskFaults: (fault == nil ? ["power-loss"] : faults(kind).disk) + ["disk-control"])
        }
        if let duration {
            plan.chaosSeconds = duration
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
        if !plan.runsScenarios, noFailover {
            throw LoadGenError.usage("\(plan.kind.rawValue) is what --no-failover leaves out: give one of them")
        }
        guard plan.writeSeconds >= 0.1, plan.writeSeconds <= 3600 else {
            throw LoadGenError.usage("--duration must be between 0.1 and 3600 seconds")
        }
        if endpoints != nil, nodes != nil {
            throw LoadGenError.usage("--nodes starts a cluster and --endpoints uses one: give one of them")
        }
        guard endpoints == nil || plan.switches.isEmpty else {
            throw LoadGenError.usage(
                "\(plan.switches[0]) is for servers that LoadGen starts; those behind --endpoints have their own switches"
            )
        }
        guard (endpoints == nil) == (respEndpoints == nil) else {
            throw LoadGenError.usage("--endpoints and --resp-endpoints go together: records use one, keys the other")
        }
        if endpoints != nil, !plan.runsScenarios {
            throw LoadGenError.usage(
                "\(plan.kind.rawValue) kills nodes, so it needs the embedded cluster: leave --endpoints out")
        }
        if !plan.runsScenarios, plan.nodes < 3 {
            throw LoadGenError.usage("\(plan.kind.rawValue) needs at least three nodes")
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
