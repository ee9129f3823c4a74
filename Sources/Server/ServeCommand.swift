// `Server` without a subcommand: reads the settings, opens the data folder, and runs a node with its listeners until SIGTERM
// or SIGINT. Files and listeners are checked before anything else starts, so that a wrong flag costs nothing.
import ArgumentParser
import Cluster
import Configuration
import Foundation
import Logging
import ServiceLifecycle
import SimulatedIO
import SystemPackage
import UnixSignals
import UringIO

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Runs a node (the default).", shouldDisplay: false)

    /// How long the whole stop may take before what is left is cancelled.
    static let shutdownMax = Duration.seconds(5)

    @Option(help: "The node's name; made up and kept when not given.")
    var id: String?

    @Option(help: "Where gRPC listens, for clients and peers: host:port, or :port for loopback.")
    var address: String?

    @Option(help: "Short for --address 127.0.0.1:<port>.")
    var port: Int?

    @Option(help: "Where HTTP listens: host:port or :port.")
    var http: String?

    @Option(help: "Where the plain-text (RESP) listener is: host:port or :port.")
    var resp: String?

    @Option(
        help: "gRPC addresses of the other nodes, separated by commas; id=host:port is the only way taken to that node."
    )
    var peers: String?

    @Option(
        name: .customLong("peer-port"),
        help: "Port on which framed TCP of peers arrives (default: any free one, told to them).")
    var peerPort: Int?

    @Flag(help: "Wait to be added to the cluster that --peers belong to, instead of forming one with them.")
    var join = false

    @Option(help: "How peers talk: tcp (framed, faster) or grpc.")
    var transport: String?

    @Option(help: "What keeps the keys: lsm or hashlog.")
    var engine: String?

    @Option(help: "Who does disk I/O: posix, uring or auto.")
    var io: String?

    @Option(help: "Where the store takes its memory: arena, jemalloc or system.")
    var allocator: String?

    @Option(help: "Leases for reads with consistency=lease: off or on; the same on all nodes.")
    var leases: String?

    @Option(
        name: .customLong("stall-limit"),
        help:
            "Milliseconds after which a log write that is not done counts as a stuck disk, and the node stops leading.")
    var stallLimit: String?

    @Option(
        name: .customLong("log-retained"),
        help: "Bytes of the key-value group's log that stay for nodes that lag; 268435456 when not given.")
    var logRetained: String?

    @Option(
        name: .customLong("snapshot-rate"),
        help: "Bytes a second at which a node that lags further is sent files; 134217728 when not given.")
    var snapshotRate: String?

    @Option(
        help: "For experiments: what the disk does wrong, such as power-loss (kill -9 forgets what was not synced).")
    var fault: String?

    @Option(help: "The data folder.")
    var data: String?

    @Option(name: .customLong("log-level"), help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel: String?

    @Option(help: "A JSON file with settings; flags and environment variables go before it.")
    var config: String?

    func run() async throws {
        var configuration = try await settings()
        let logLevel = configuration.logLevel
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = logLevel
            return handler
        }
        let backend = IOBackend(configuration.switches.io)
        let seed = UInt64.random(in: 0...UInt64.max)
        var fileSystem = backend.fileSystem
        for fault in configuration.faults {
            fileSystem = fault.wrap(fileSystem, folder: configuration.data, seed: seed)
        }
        configuration.switches.io = backend.kind
        if !configuration.faults.isEmpty {
            configuration.switches.fault = configuration.faults.map { "\($0)" }.joined(separator: ",")
        }
        let folder = try DataFolder(path: configuration.data, name: configuration.id, fileSystem: fileSystem)
        let member = folder.member(address: configuration.address.description, isJoining: configuration.isJoining)
        var logger = Logger(label: "strata")
        logger[metadataKey: "node"] = "\(member.name)"
        let stack = try await NodeStack(
            configuration: configuration, folder: folder, member: member, fileSystem: fileSystem, logger: logger)
        for fault in configuration.faults {
            logger.warning("the disk is made to fail, as asked", metadata: ["fault": "\(fault)", "seed": "\(seed)"])
        }
        logger.info("starting", metadata: ["data": "\(configuration.data)", "io": "\(backend.reason)"])
        var group = ServiceGroupConfiguration(
            services: stack.services.map { service in
                // A failure ends the others in order too: a listener that is cancelled in mid-call would lose answers.
                .init(service: service, failureTerminationBehavior: .gracefullyShutdownGroup)
            }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = Self.shutdownMax
        do {
            try await ServiceGroup(configuration: group).run()
        } catch let error as ServerError {
            throw error
        } catch let error as CommandError {
            throw error
        } catch {
            throw ServerError.configuration("the node stopped: \(error)")
        }
        logger.info("stopped")
    }

    private func settings() async throws -> ServerConfiguration {
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        func set(_ key: [String], _ value: String?) {
            guard let value else { return }
            values[AbsoluteConfigKey(["strata"] + key)] = ConfigValue(.string(value), isSecret: false)
        }
        if address != nil, port != nil { throw CommandError.usage("give --address or --port, not both") }
        set(["id"], id)
        set(["address"], address ?? port.map { "\(ListenAddress.loopback):\($0)" })
        set(["http"], http)
        set(["resp"], resp)
        set(["peers"], peers)
        if join { values[AbsoluteConfigKey(["strata", "join"])] = ConfigValue(.bool(true), isSecret: false) }
        set(["peer", "port"], peerPort.map(String.init))
        set(["transport"], transport)
        set(["engine"], engine)
        set(["io"], io)
        set(["allocator"], allocator)
        set(["leases"], leases)
        set(["stall", "limit"], stallLimit)
        set(["log", "retained"], logRetained)
        set(["snapshot", "rate"], snapshotRate)
        set(["fault"], fault)
        set(["data"], data)
        set(["log", "level"], logLevel)
        var providers: [any ConfigProvider] = [
            InMemoryProvider(name: "flags", values: values), EnvironmentVariablesProvider(),
        ]
        if let config {
            do {
                providers.append(try await FileProvider<JSONSnapshot>(filePath: FilePath(config)))
            } catch {
                throw ServerError.configuration("the configuration file \(config) can't be read: \(error)")
            }
        }
        return try ServerConfiguration(config: ConfigReader(providers: providers))
    }
}
