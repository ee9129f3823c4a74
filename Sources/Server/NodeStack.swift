// Puts the parts of one node together: what is built from what, and in which order things start and stop. Later
// services may use earlier ones; they stop in reverse, so leadership goes first, then clients are let go, and the node
// ends last.
import Cluster
import FileIO
import Logging
import NIOPosix
import ServiceLifecycle

struct NodeStack {
    let services: [any Service]

    init(
        configuration: ServerConfiguration, folder: DataFolder, member: Member, fileSystem: any FileSystem,
        logger: Logger
    ) async throws {
        let switches = configuration.switches
        let metrics = NodeMetrics(switches: switches)
        let directory = PeerDirectory(
            member: member, expected: configuration.peers.count + 1, isJoining: configuration.isJoining,
            timing: configuration.timing, formed: folder.identity.cluster)
        let runtime = NodeRuntime(logger: logger, metrics: metrics, fileSystem: fileSystem)
        let gate = ServiceGate(directory: directory)
        let fatal = FatalSignal(logger: logger)
        let group = MultiThreadedEventLoopGroup.singleton
        // Bound before anybody is told of it; without peers there is nobody to listen to.
        var listeners: [any Service] = []
        if switches.transport == .tcp,
            !configuration.peers.isEmpty || folder.identity.cluster?.members.count ?? 1 > 1
        {
            let listener = try await TCPPeerListener(
                host: configuration.address.host, port: configuration.peerPort, directory: directory,
                inbox: runtime.inbox, group: group,
                logger: logger)
            directory.tcpPort = listener.port
            listeners.append(listener)
        }
        let transport = PeerNetwork(
            kind: switches.transport, directory: directory, inbox: runtime.inbox, group: group, logger: logger
        ) { reason in
            fatal.fail(.refused(reason))
        }
        var services: [any Service] = [
            NodeService(
                configuration: configuration, folder: folder, directory: directory, runtime: runtime,
                transport: transport, gate: gate, fileSystem: fileSystem, switches: switches, fatal: fatal,
                logger: logger),
            GRPCListener(
                address: configuration.address,
                services: [
                    PeerService(directory: directory, inbox: runtime.inbox, logger: logger),
                    BrokerGRPCService(broker: gate), KeyValueGRPCService(keyValue: gate),
                ],
                diagnostics: runtime.inbox.diagnostics, logger: logger),
        ]
        services += listeners
        if let http = configuration.http {
            services.append(
                HTTPServer(
                    address: http, store: gate, node: gate, hashes: gate, cluster: gate, pending: .shared,
                    group: group, diagnostics: runtime.inbox.diagnostics, logger: logger,
                    metrics: {
                        metrics.exposition(
                            gate: gate, host: runtime.inbox.counters, diagnostics: runtime.inbox.diagnostics)
                    },
                    onListening: { logger.info("HTTP is listening", metadata: ["port": "\($0)"]) }))
        }
        if let resp = configuration.resp {
            services.append(
                RESPListener(
                    address: resp, store: gate, status: gate, group: group, diagnostics: runtime.inbox.diagnostics,
                    logger: logger))
        }
        services.append(HandoverService(gate: gate, runtime: runtime, logger: logger))
        self.services = services
    }
}
