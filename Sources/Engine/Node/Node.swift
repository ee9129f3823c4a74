// A whole node without its sockets and threads: one host, the controller, the key-value group, a group for every
// partition, and the services on top. The Server gives it real disks, clocks and peers; the simulator virtual ones. It
// opens files when it is opened and when a topic is created, always off the host's thread, and does no other I/O
// itself.
public import Broker
public import Cluster
public import FileIO
public import KeyValue
import Raft
public import SegmentedLog
public import Storage

/// One member of a formed cluster.
///
/// Folders below `directory`: `node/controller`, `node/keyvalue/{log,lsm,hashlog}`, `node/raft/*.state`, and
/// `<topic>-<partition>`.
public final class Node {
    public struct Options: Sendable {
        /// The data folder.
        public var directory: String
        public var settings = ClusterHost.Settings()
        /// How far a log write gets before it counts (DESIGN: quorum + fsync by default).
        public var durability = WriteDurability.power
        public var log = SegmentedLog.Options()
        /// Which engine keeps the keys; another engine starts from an empty folder and replays the log.
        public var engine = StorageEngineKind.lsm
        public var storage = StoreOptions()
        /// Partitions that this node may hold; nil: as many as there are. Each keeps
        /// ``GroupBudget/descriptorsPerGroup`` descriptors open.
        public var partitionsMax: Int?
        /// Bounds of client sessions; the same on every node of a cluster.
        public var sessions = SessionLimits()
        /// The folder was run before by a version that keeps a ``GroupRegistry``: then it must be there.
        public var expectsRegistry = false
        /// Differs between starts; the simulator makes it from its own seed.
        public var seed: UInt64
        public init(directory: String, seed: UInt64) {
            self.directory = directory
            self.seed = seed
        }
    }

    public let host: ClusterHost
    public let keyValue: ReplicatedKeyValue
    public let broker: ReplicatedBroker
    public let administration: ReplicatedAdministration
    public let store: any KeyValueStore
    public let topics: TopicTable
    public let statuses: StatusTable

    /// Opens every log and store of the node and recovers them. Blocks.
    ///
    /// - Parameter opening: where partitions are opened, apart from requests; nil: where these run.
    public init(
        cluster: FormedCluster, member: Member, options: Options, fileSystem: any FileSystem, inbox: HostInbox,
        environment: any HostEnvironment, blocking: any BlockingExecutor,
        opening: (any BlockingExecutor)? = nil, clock: @escaping @Sendable () -> UInt64
    ) throws(NodeError) {
        let opening = opening ?? blocking
        let budget = GroupBudget(groupsMax: options.partitionsMax)
        let statuses = StatusTable()
        let topics = TopicTable()
        let host = ClusterHost(
            member: member, members: MembershipTable(cluster.membership, own: member), founders: cluster.founders,
            settings: options.settings, seed: options.seed, inbox: inbox, environment: environment
        ) { group, status in
            statuses.set(status, of: group)
        }
        try GroupOpener.prepare(options.directory, fileSystem)
        let registry = try GroupRegistry.open(
            directory: options.directory, mustExist: options.expectsRegistry, fileSystem: fileSystem)
        let opener = GroupOpener(
            options: options, fileSystem: fileSystem, registry: registry, members: host.members,
            diagnostics: inbox.diagnostics, budget: budget)
        let founding = ClusterMembership(founders: cluster.founders).initial
        let opened = try opener.openKeyValue(initial: founding)
        let store = opened.store
        let controller = ControllerMachine(topics: topics, founders: cluster.founders) { [unowned host] membership in
            host.declare(membership)
        } created: { record in
            opener.openPartitions(of: record, topics: topics, inbox: inbox, blocking: opening)
        } raised: { [unowned host] level in
            host.adoptFeatureLevel(level)
        }
        controller.diagnostics = inbox.diagnostics
        controller.partitionsMax = options.partitionsMax
        host.outageObserver = { group, outage in
            statuses.set(outage, of: group)
            // Whoever waits for more records of it must not wait for a partition that has ended.
            if outage != nil { topics.partition(group)?.expire(now: .max) }
        }
        host.nameOfGroup = { id in topics.partition(id).map { "\($0.topic)-\($0.number)" } ?? id.description }
        host.reopen = { id in opener.reopening(id, topics: topics, inbox: inbox, blocking: opening) }
        let durability = options.durability
        let controllerGroup = try opener.open(
            .init(name: "controller", folder: "node/controller", isIndexed: true, initial: founding))
        try registry.note(["controller", "keyvalue"])
        controllerGroup.start(.controller, on: host, machine: controller, durability: durability)
        do throws(StorageError) {
            let machine = try KeyValueMachine(
                store: store, snapshots: opened.snapshots, limits: options.sessions, diagnostics: inbox.diagnostics,
                clock: clock)
            opened.group.start(.keyValue, on: host, machine: machine, durability: durability)
        } catch {
            throw .storage(error)
        }
        self.host = host
        self.store = store
        self.topics = topics
        self.statuses = statuses
        keyValue = ReplicatedKeyValue(inbox: inbox, store: store, blocking: blocking)
        broker = ReplicatedBroker(
            inbox: inbox, topics: topics, statuses: statuses, clusterID: cluster.id, members: host.members,
            member: member,
            blocking: blocking, clock: clock)
        administration = ReplicatedAdministration(
            inbox: inbox, statuses: statuses, members: host.members, clusterID: cluster.id)
    }
}

/// Why a node could not be opened.
public enum NodeError: Error, Sendable, CustomStringConvertible {
    case files(FileIOError)
    case log(SegmentedLogError)
    case storage(StorageError)
    /// A received snapshot could not be put in place.
    case snapshot(SnapshotFailure)
    /// What a crash left can't be brought in order.
    case inconsistent(String)
    /// Files of a replica are gone, cut, replaced or altered, and it is not opened: `why` says what contradicts what,
    /// and the remedy.
    case refused(replica: String, why: String)

    /// Whose trouble it is when a group's files can't be opened.
    var openingScope: FailureScope {
        switch self {
        case .files(let error): FailureScope(opening: error)
        case .log(let error): FailureScope(opening: error)
        case .storage(.io(let error)): FailureScope(opening: error)
        case .storage, .snapshot, .inconsistent, .refused: .group(passes: false)
        }
    }

    public var description: String {
        switch self {
        case .files(let error): error.description
        case .log(let error): "\(error)"
        case .storage(let error): "\(error)"
        case .snapshot(let failure): failure.description
        case .inconsistent(let why): why
        case .refused(let replica, let why): "\(replica) is refused: \(why)"
        }
    }
}
