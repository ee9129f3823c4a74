// `Server` without a subcommand: reads the settings, opens the data folder, and runs a node with its listeners until
// SIGTERM or SIGINT. Files and listeners are checked before anything else starts, so that a wrong flag costs nothing.
import ArgumentParser
import Cluster
import Configuration
import Foundation
import Logging
import ServiceLifecycle
import SimulatedIO
import StrataNode
import UnixSignals
import UringIO

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Runs a node (the default).", shouldDisplay: false)

    /// How long the whole stop may take before what is left is cancelled.
    static let shutdownMax = Duration.seconds(5)

    @Option(help: ArgumentHelp(Setting.id.help))
    var id: String?

    @Option(help: ArgumentHelp(Setting.address.help))
    var address: String?

    @Option(help: ArgumentHelp(Setting.port.help))
    var port: Int?

    @Option(help: ArgumentHelp(Setting.http.help))
    var http: String?

    @Option(help: ArgumentHelp(Setting.resp.help))
    var resp: String?

    @Option(help: ArgumentHelp(Setting.peers.help))
    var peers: String?

    @Option(name: .customLong("peer-port"), help: ArgumentHelp(Setting.peerPort.help))
    var peerPort: String?

    @Flag(help: ArgumentHelp(Setting.join.help))
    var join = false

    @Option(help: ArgumentHelp(Setting.transport.help))
    var transport: String?

    @Option(help: ArgumentHelp(Setting.engine.help))
    var engine: String?

    @Option(help: ArgumentHelp(Setting.io.help))
    var io: String?

    @Option(help: ArgumentHelp(Setting.allocator.help))
    var allocator: String?

    @Option(help: ArgumentHelp(Setting.leases.help))
    var leases: String?

    @Option(name: .customLong("stall-limit"), help: ArgumentHelp(Setting.stallLimit.help))
    var stallLimit: String?

    @Option(name: .customLong("heartbeat-interval"), help: ArgumentHelp(Setting.heartbeatInterval.help))
    var heartbeatInterval: String?

    @Option(name: .customLong("election-timeout"), help: ArgumentHelp(Setting.electionTimeout.help))
    var electionTimeout: String?

    @Option(name: .customLong("log-retained"), help: ArgumentHelp(Setting.logRetained.help))
    var logRetained: String?

    @Option(name: .customLong("snapshot-rate"), help: ArgumentHelp(Setting.snapshotRate.help))
    var snapshotRate: String?

    @Option(help: ArgumentHelp(Setting.fault.help))
    var fault: String?

    @Option(help: ArgumentHelp(Setting.data.help))
    var data: String?

    @Option(name: .customLong("log-level"), help: ArgumentHelp(Setting.logLevel.help))
    var logLevel: String?

    @Option(help: "A JSON file with settings; flags and environment variables go before it.")
    var config: String?

    func run() async throws {
        var configuration = try settings()
        let logLevel = configuration.logLevel
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = logLevel
            return handler
        }
        let descriptors = DescriptorLimit.raise()
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
        configuration.partitionsMax = GroupBudget.partitions(within: descriptors.now)
        let stack = try await NodeStack(
            configuration: configuration, folder: folder, member: member, fileSystem: fileSystem, logger: logger)
        for fault in configuration.faults {
            logger.warning("the disk is made to fail, as asked", metadata: ["fault": "\(fault)", "seed": "\(seed)"])
        }
        logger.info(
            "limit of open files",
            metadata: [
                "before": "\(descriptors.before)", "now": "\(descriptors.now)",
                "partitions": "\(GroupBudget.partitions(within: descriptors.now))",
            ])
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

    /// Flags go before the environment, which goes before the file. Each is checked whole, also where another goes
    /// before it.
    private func settings() throws -> ServerConfiguration {
        let environment = ProcessInfo.processInfo.environment
        var sources = [try flags(), try SettingValues(environment: environment)]
        if let file = config ?? environment[Setting.fileVariable] { sources.append(try SettingValues(file: file)) }
        return try ServerConfiguration(config: ConfigReader(providers: sources.map(\.provider)))
    }

    private func flags() throws -> SettingValues {
        if address != nil, port != nil { throw CommandError.usage("give --address or --port, not both") }
        var values = SettingValues(source: "the command line")
        let given: [(Setting, String?)] = [
            (.id, id), (.address, address), (.port, port.map(String.init)), (.http, http), (.resp, resp),
            (.peers, peers), (.peerPort, peerPort), (.join, join ? "true" : nil), (.transport, transport),
            (.engine, engine), (.io, io), (.allocator, allocator), (.leases, leases), (.stallLimit, stallLimit),
            (.heartbeatInterval, heartbeatInterval), (.electionTimeout, electionTimeout),
            (.logRetained, logRetained), (.snapshotRate, snapshotRate), (.fault, fault), (.data, data),
            (.logLevel, logLevel),
        ]
        for (setting, text) in given {
            guard let text else { continue }
            if let problem = setting.problem(with: text) {
                // What no parser of command lines would take is a usage error.
                let isUsage = setting.kind == .address || setting.kind == .peers || setting == .port
                throw isUsage ? CommandError.usage(problem) : ServerError.configuration(problem)
            }
            values.set(setting, text)
        }
        return try values.resolved(calling: \.flag)
    }
}
