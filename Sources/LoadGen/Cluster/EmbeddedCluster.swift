// The cluster that LoadGen starts for itself: real server processes on this machine, loopback ports, a fresh folder. It
// is taken down on every way out, and its data with it unless that is wanted.
import Foundation
import Glibc
import LabKit

/// One node of the embedded cluster.
struct EmbeddedNode: Sendable {
    let name: String
    let grpc: SocketAddress
    let http: SocketAddress
    let resp: SocketAddress
    let dataFolder: String
    let logPath: String
    let arguments: [String]
    /// Words before its command line.
    var entry: [String] = []
    /// Its wall clock, where that can be set.
    var clock: ClockShift?
    var process: ChildProcess?
    /// It lost its folder and asks to be added as a new member.
    var joins = false
    /// It was stopped, told to end, or may die of its fault: it is not asked, and its end is no surprise.
    var isDisturbed = false

    var probe: NodeProbe { NodeProbe(address: http) }
}

/// Nodes under LoadGen's control. Used by the main thread only.
final class EmbeddedCluster {
    struct Options {
        var nodes = 3
        /// Absolute; holds the nodes' folders and logs.
        var folder: String
        var keepData = false
        var seed: UInt64
        /// Further arguments for each server.
        var serverArguments: [String] = []
        /// Between the nodes.
        var network = NetworkKind.loopback
        /// Whether the nodes' wall clocks can be set; needs a C compiler.
        var hasFalseClocks = false
    }

    var nodes: [EmbeddedNode] = []
    /// Between the nodes.
    private(set) var network = ClusterNetwork.loopback
    /// Whether the data stays when the cluster is taken down.
    var keepsData: Bool
    private let options: Options
    private let executable: String

    static let startSeconds = 20.0
    static let stopSeconds = 10.0
    private static let logTailLines = 15

    /// Prepares the folder and the ports; starts nothing yet.
    init(_ options: Options, serverExecutable: String) throws(LoadGenError) {
        self.options = options
        keepsData = options.keepData
        executable = serverExecutable
        let ports = try FreePorts.find(options.nodes * EmbeddedCluster.portsPerNode, seed: options.seed)
        do {
            try FileManager.default.createDirectory(atPath: options.folder, withIntermediateDirectories: true)
        } catch {
            throw LoadGenError.cluster(
                "can't create \(options.folder): \(error); run LoadGen in a folder you may write")
        }
        switch options.network {
        case .loopback: break
        case .proxy:
            network = .proxy(
                try FaultProxy(try EmbeddedCluster.links(ports, options), nodes: options.nodes, seed: options.seed))
        case .namespaces: network = .namespaces(try NamespaceNetwork(nodes: options.nodes))
        }
        for index in 0..<options.nodes {
            var node = try EmbeddedCluster.node(index, ports, options, network)
            if options.hasFalseClocks {
                let clock = try ClockShift(folder: options.folder, name: node.name)
                node.clock = clock
                node.entry += clock.entry
            }
            nodes.append(node)
        }
    }

    /// Whether the nodes' wall clocks can be set.
    var hasFalseClocks: Bool { options.hasFalseClocks }

    /// Sets a node's wall clock ahead of the true one, or behind it.
    func setClock(ahead seconds: Double, at index: Int) throws(LoadGenError) {
        guard let clock = nodes[index].clock else {
            throw LoadGenError.failed(
                "the clock of \(nodes[index].name) can't be set: it was started with the true one")
        }
        try clock.set(seconds: seconds)
    }

    /// gRPC, HTTP, RESP, and framed TCP of peers.
    private static let portsPerNode = 4

    private static func node(
        _ index: Int, _ allPorts: [UInt16], _ options: Options, _ network: ClusterNetwork
    ) throws(LoadGenError) -> EmbeddedNode {
        let name = "node\(index + 1)"
        let data = "\(options.folder)/\(name)"
        let ports = Array(allPorts[index * portsPerNode..<(index + 1) * portsPerNode])
        func host(_ node: Int) -> String {
            if case .namespaces(let namespaces) = network { namespaces.host(node) } else { "127.0.0.1" }
        }
        let own = host(index)
        var arguments = [
            "--id", name, "--address", "\(own):\(ports[0])", "--http", "\(own):\(ports[1])", "--resp",
            "\(own):\(ports[2])", "--data", data,
        ]
        let isProxied = options.network == .proxy
        let peers = (0..<options.nodes).filter { $0 != index }.map { other in
            let port = allPorts[other * portsPerNode]
            return isProxied
                ? "node\(other + 1)=\(linkHost(from: index, to: other)):\(port)" : "\(host(other)):\(port)"
        }
        if !peers.isEmpty {
            arguments += ["--peers", peers.joined(separator: ",")]
        }
        if isProxied {
            arguments += ["--peer-port", "\(ports[3])"]
        }
        var node = EmbeddedNode(
            name: name, grpc: try SocketAddress(host: own, port: ports[0]),
            http: try SocketAddress(host: own, port: ports[1]),
            resp: try SocketAddress(host: own, port: ports[2]), dataFolder: data,
            logPath: "\(options.folder)/\(name).log", arguments: arguments + options.serverArguments)
        if case .namespaces(let namespaces) = network { node.entry = namespaces.entry(index) }
        return node
    }

    /// All of 127.0.0.0/8 is this machine: the address says who calls whom, the port stays the receiver's own.
    private static func linkHost(from: Int, to: Int) -> String { "127.77.\(from + 1).\(to + 1)" }

    private static func links(_ ports: [UInt16], _ options: Options) throws(LoadGenError) -> [ProxyLink] {
        var links: [ProxyLink] = []
        for from in 0..<options.nodes {
            for to in 0..<options.nodes where to != from {
                for port in [ports[to * portsPerNode], ports[to * portsPerNode + 3]] {
                    links.append(
                        ProxyLink(
                            from: from, to: to,
                            listen: try SocketAddress(host: linkHost(from: from, to: to), port: port),
                            target: try SocketAddress(host: "127.0.0.1", port: port)))
                }
            }
        }
        return links
    }

    /// The server's binary beside LoadGen's own.
    static func serverExecutable() throws(LoadGenError) -> String {
        let own: String
        do {
            own = try PackageCheckout.runningExecutable()
        } catch {
            throw LoadGenError.failed(error.description)
        }
        let path = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("Server").path
        guard access(path, X_OK) == 0 else {
            let configuration = RunEnvironment.isDebugBuild ? "debug" : "release"
            throw LoadGenError.cluster(
                "there is no server at \(path); build it with: swift build -c \(configuration) --product Server")
        }
        return path
    }

    var folder: String { options.folder }
    var respEndpoints: [SocketAddress] { nodes.map(\.resp) }
    var grpcEndpoints: [SocketAddress] { nodes.map(\.grpc) }

    /// Starts every node that does not run.
    func startAll() throws(LoadGenError) {
        for index in nodes.indices where nodes[index].process == nil {
            try start(index)
        }
    }

    func start(_ index: Int) throws(LoadGenError) {
        precondition(nodes[index].process == nil, "a node is started once")
        nodes[index].isDisturbed = false
        let line =
            nodes[index].entry + [executable] + nodes[index].arguments + (nodes[index].joins ? ["--join"] : [])
        nodes[index].process = try ChildProcess(
            executable: line[0], arguments: Array(line.dropFirst()), logPath: nodes[index].logPath)
    }

    /// SIGKILL.
    /// - Returns: when, just before the signal was sent.
    func kill(_ index: Int) -> UInt64 {
        let now = MonotonicClock.now()
        nodes[index].process?.killNow()
        nodes[index].process = nil
        return now
    }

    /// SIGTERM to all, then waits for each.
    /// - Returns: the names of nodes that had to be killed.
    func stopAll() -> [String] {
        for node in nodes { node.process?.send(SIGTERM) }
        var stubborn: [String] = []
        for index in nodes.indices {
            guard let process = nodes[index].process else { continue }
            if !process.stop(graceSeconds: EmbeddedCluster.stopSeconds) { stubborn.append(nodes[index].name) }
            nodes[index].process = nil
        }
        return stubborn
    }

    /// Kills what is left and removes the data. The logs go too, unless the run failed or they are to be kept.
    func close(keepLogs: Bool) {
        for index in nodes.indices {
            nodes[index].process?.killNow()
            nodes[index].process = nil
        }
        network.close()
        network = .loopback
        guard !keepsData else { return }
        for node in nodes {
            try? FileManager.default.removeItem(atPath: node.dataFolder)
        }
        if !keepLogs {
            try? FileManager.default.removeItem(atPath: options.folder)
        }
    }

    /// The node that leads now, as the nodes themselves see it: the newest term wins.
    func leader() -> (index: Int, report: NodeReport)? {
        var best: (index: Int, report: NodeReport)?
        for index in nodes.indices where nodes[index].process != nil && !nodes[index].isDisturbed {
            guard let report = nodes[index].probe.status(), report.isLeader else { continue }
            if report.term > best?.report.term ?? 0 { best = (index, report) }
        }
        return best
    }

    /// Waits until one node leads and every running node knows it.
    func waitForLeader(seconds: Double = EmbeddedCluster.startSeconds) throws(LoadGenError) -> Int {
        let deadline = MonotonicClock.now() + UInt64(seconds * 1e9)
        while MonotonicClock.now() < deadline {
            try Interruption.check()
            try checkAlive()
            if let leader = leader() {
                let reports = nodes.filter { $0.process != nil && !$0.isDisturbed }.map { $0.probe.status() }
                if reports.allSatisfy({ $0?.leader == leader.report.nodeId }) { return leader.index }
            }
            MonotonicClock.sleep(seconds: 0.02)
        }
        throw LoadGenError.cluster(
            "no leader within \(NumberText.fixed(seconds, 0)) s; the servers' last words:\n" + logTails())
    }

    /// Waits until a node has everything that the leader had when asked.
    /// - Returns: seconds waited; nil when it did not get there in time.
    func waitUntilCaughtUp(_ index: Int, seconds: Double) throws(LoadGenError) -> Double? {
        let start = MonotonicClock.now()
        let deadline = start + UInt64(seconds * 1e9)
        while MonotonicClock.now() < deadline {
            try Interruption.check()
            try checkAlive()
            if let target = leader()?.report.commitIndex, let report = nodes[index].probe.status(),
                report.commitIndex >= target
            {
                return MonotonicClock.seconds(from: start, to: MonotonicClock.now())
            }
            MonotonicClock.sleep(seconds: 0.01)
        }
        return nil
    }

    /// Throws when a node that should run has ended.
    func checkAlive() throws(LoadGenError) {
        for node in nodes where !node.isDisturbed {
            guard let process = node.process else { continue }
            let end: String
            switch process.status {
            case .running: continue
            case .exited(let code): end = "exited with status \(code)"
            case .signalled(let signal): end = "was ended by signal \(signal)"
            }
            throw LoadGenError.cluster("\(node.name) \(end); its last words:\n" + logTail(node))
        }
    }

    func logTails() -> String {
        nodes.map { "--- \($0.name) (\($0.logPath))\n" + logTail($0) }.joined()
    }

    private func logTail(_ node: EmbeddedNode) -> String {
        guard let data = FileManager.default.contents(atPath: node.logPath) else { return "(no log)\n" }
        let lines = String(decoding: data.suffix(64 * 1024), as: UTF8.self).split(separator: "\n")
        return lines.suffix(EmbeddedCluster.logTailLines).map { $0 + "\n" }.joined()
    }
}
