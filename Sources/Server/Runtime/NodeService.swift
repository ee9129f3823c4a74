// The node as a service: forms or joins its cluster, runs until it is told to stop or its storage fails, and ends in
// order. Owns the data folder's lock for as long as anything may write there.
import Cluster
import FileIO
import Logging
import PosixIO
import Raft
import ServiceLifecycle
import Storage
import StrataNode

struct NodeService: Service {
    let configuration: ServerConfiguration
    let folder: DataFolder
    let directory: PeerDirectory
    let runtime: NodeRuntime
    let transport: PeerNetwork
    let gate: ServiceGate
    let fileSystem: any FileSystem
    let switches: Switches
    let fatal: FatalSignal
    let logger: Logger

    func run() async throws {
        let failure = await withTaskGroup(of: ServerError?.self) { group in
            group.addTask {
                await transport.run(addresses: configuration.peers, named: configuration.peerNames)
                return nil
            }
            group.addTask { await runNode() }
            group.addTask { await fatal.wait() }
            group.addTask {
                try? await gracefulShutdown()
                return nil
            }
            // The first to end decides: a failure, or the wish to stop.
            let first = await group.next() ?? nil
            // From here on the end is certain, however long the others take.
            if let first { fatal.fail(first) }
            group.cancelAll()
            return first
        }
        runtime.stop()
        folder.release()
        if let failure { throw failure }
    }

    private func runNode() async -> ServerError? {
        if directory.cluster == nil, directory.isJoining {
            logger.info("waiting to be added to the cluster; run: Server cluster add \(directory.member.name)")
        } else if directory.cluster == nil, directory.expected > 1 {
            logger.info("waiting for the other nodes", metadata: ["expected": "\(directory.expected)"])
        }
        guard let cluster = await directory.formed() else { return nil }
        do {
            if folder.identity.cluster != cluster { try folder.adopt(cluster) }
            var options = Node.Options(directory: folder.path, seed: UInt64.random(in: .min ... .max))
            options.partitionsMax = configuration.partitionsMax
            options.engine = switches.engine
            options.expectsRegistry = folder.identity.keepsRegistry == true
            options.settings.raft.leaseReads = switches.leases == .on
            configuration.timing.apply(to: &options.settings)
            options.settings.storageStallLimit = UInt64(configuration.stallLimit) * 1_000_000
            options.settings.snapshots = configuration.snapshots
            options.storage.lsm.seed = UInt64.random(in: .min ... .max)
            options.storage.lsm.allocator = switches.allocator
            options.storage.hashLog.seed = UInt64.random(in: .min ... .max)
            options.storage.hashLog.allocator = switches.allocator
            if cluster.hasRemoved(directory.member) { return removal(from: cluster.id) }
            guard var member = cluster.members.first(where: { $0.id == directory.member.id }) else {
                return .refused("this node is not a member of the cluster that formed")
            }
            // It may have been started at another address than the record has.
            member.address = directory.member.address
            let fatal = fatal
            let services = try await runtime.start(
                cluster: cluster, member: member, options: options, transport: transport, fileSystem: fileSystem,
                declared: declared, departed: departed(cluster.id)
            ) { reason in
                fatal.fail(.storageFailed(reason))
            }
            try folder.noteRegistry()
            gate.open(services)
            logger.info(
                "node is running",
                metadata: [
                    "cluster": "\(cluster.id)", "members": "\(cluster.members.map(\.name).joined(separator: ","))",
                ])
        } catch {
            return .dataFolder(folder.path, "\(error)")
        }
        await sleepUntilCancelled()
        return nil
    }

    /// Peers hear of other members at once; the folder learns of them in the background.
    private var declared: @Sendable (ClusterMembership) -> Void {
        { [directory, runtime, folder, fatal, logger] membership in
            guard let cluster = directory.take(membership) else { return }
            let names = membership.members.map { "\($0.member.name)=\($0.role)" }.joined(separator: ",")
            logger.info("the members are declared anew", metadata: ["members": "\(names)"])
            runtime.opening.run {
                do {
                    try folder.adopt(cluster)
                } catch {
                    fatal.fail(.storageFailed("\(error)"))
                }
            }
        }
    }

    private func departed(_ cluster: String) -> @Sendable () -> Void {
        { [fatal, removal = removal(from: cluster)] in fatal.fail(removal) }
    }

    private func removal(from cluster: String) -> ServerError {
        .refused(
            "\(directory.member.name) was removed from cluster \(cluster) and has nothing left to do; to bring the node "
                + "back, empty its data folder, start it with --join and add it")
    }
}

/// Returns when the task is cancelled, and not before.
func sleepUntilCancelled() async {
    let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
    for await _ in stream {}
    withExtendedLifetime(continuation) {}
}
