// The threads of a running node: one that runs the host, log writers, a pool for reads, and one for the store's
// background work. It joins the engine, which never waits, to the disk, the clock and the peers, which do.
import Broker
import Cluster
import Dispatch
import FileIO
import KeyValue
import Logging
import Raft
import Storage
import StrataNode
import Synchronization

/// Carries messages to other nodes; the two peer transports are its implementations.
protocol PeerTransport: AnyObject, Sendable {
    /// Must not block; may drop.
    func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID)
    /// True while there is a connection to send on.
    func canReach(_ peer: NodeID) -> Bool
}

final class NodeRuntime: Sendable {
    /// Log writers; groups are spread over them.
    static let storageThreads = 2
    static let readThreads = 2
    /// How often the store's background work is looked after, in nanoseconds: while entries are applied, and else.
    static let maintenanceInterval: UInt64 = 10_000_000
    static let idleMaintenanceInterval: UInt64 = 50_000_000
    /// How often consumers whose time to wait is over are looked for.
    static let waitersInterval: UInt64 = 40_000_000

    let inbox: HostInbox
    let blocking = BlockingPool(name: "strata-read", threads: NodeRuntime.readThreads)
    /// Entries read back for followers and for apply, apart from requests.
    private let fetching = BlockingPool(name: "strata-fetch", threads: 1)
    /// Opening of partitions, and files of the node itself.
    let opening = BlockingPool(name: "strata-open", threads: 1)
    /// Hashes of whole stores and logs: one at a time, behind everything else.
    private let hashing = BlockingPool(name: "strata-hash", threads: 1, niceness: WorkerThread.bulkNiceness)
    private let stateHash = Mutex<NodeStateHash?>(nil)
    /// One thread: work around snapshots keeps its order, and never stands in front of a read or of the log.
    private let snapshotThread = BlockingPool(
        name: "strata-snapshot", threads: 1, niceness: WorkerThread.bulkNiceness)
    private let pieceThreads = BlockingPool(
        name: "strata-piece", threads: SnapshotWork.independentMax, niceness: WorkerThread.bulkNiceness)
    private let wakeup: Wakeup
    private let storage: [StorageThread]
    private let stopping = Atomic<Bool>(false)
    private let maintenance = MaintenanceWatch()
    private let threads = Mutex<[WorkerThread]>([])
    private let logger: Logger
    private let metrics: NodeMetrics

    init(logger: Logger, metrics: NodeMetrics, fileSystem: any FileSystem) {
        let wakeup = Wakeup()
        let inbox = HostInbox(diagnostics: DiagnosticsLog(logger: logger).diagnostics) { wakeup.wake() }
        self.wakeup = wakeup
        self.inbox = inbox
        self.logger = logger
        self.metrics = metrics
        storage = (0..<Self.storageThreads).map { number in
            StorageThread(name: "strata-log-\(number)", inbox: inbox, batches: fileSystem.batchesGain) {
                metrics.logWrite(nanoseconds: $0, syncs: $1)
            }
        }
    }

    /// What other threads may use of a node that is running.
    struct Services: Sendable {
        var keyValue: any KeyValueService
        var broker: any BrokerService
        var administration: any ClusterAdministration
        var status: NodeStatusReader
        var statuses: StatusTable
        var stateHash: any StateHashService
        var store: any KeyValueStore
        var snapshots: SnapshotCounters
    }

    /// Opens a node on its own thread and runs it there until ``stop()``.
    /// - Parameters:
    ///   - declared: called on the host's thread whenever the controller's log declares other members.
    ///   - departed: called once, from the host's thread, when this node was removed and has handed everything over.
    ///   - failed: called once, from the host's thread, when the node's storage has failed.
    func start(
        cluster: FormedCluster, member: Member, options: Node.Options, transport: any PeerTransport,
        fileSystem: any FileSystem, declared: @escaping @Sendable (ClusterMembership) -> Void,
        departed: @escaping @Sendable () -> Void, failed: @escaping @Sendable (String) -> Void
    ) async throws -> Services {
        try await withCheckedThrowingContinuation { continuation in
            let host = WorkerThread(name: "strata-host") { [self] in
                let environment = RuntimeEnvironment(
                    storage: storage, fetching: fetching, snapshotThread: snapshotThread,
                    pieceThreads: pieceThreads, inbox: inbox, transport: transport, maintenance: maintenance)
                do throws(NodeError) {
                    let node = try Node(
                        cluster: cluster, member: member, options: options, fileSystem: fileSystem, inbox: inbox,
                        environment: environment, blocking: blocking, opening: opening, clock: monotonicNanoseconds)
                    node.host.membershipObserver = declared
                    node.host.departed = departed
                    let status = NodeStatusReader(node: node, cluster: cluster, member: member)
                    startMaintenance(of: node)
                    startWaking(waitersOf: node)
                    let hashes = NodeStateHash(
                        node: node, inbox: inbox, blocking: hashing, clock: monotonicNanoseconds)
                    stateHash.withLock { $0 = hashes }
                    continuation.resume(
                        returning: Services(
                            keyValue: node.keyValue, broker: node.broker, administration: node.administration,
                            status: status, statuses: node.statuses,
                            stateHash: hashes,
                            store: node.store, snapshots: node.host.snapshotCounters))
                    run(node, status: status, failed: failed)
                } catch {
                    continuation.resume(throwing: error)
                }
            }
            threads.withLock { $0.append(host) }
        }
    }

    /// Ends every thread. What was acknowledged is on disk already.
    func stop() {
        stopping.store(true, ordering: .sequentiallyConsistent)
        wakeup.wake()
        stateHash.withLock { $0 }?.stop()
        for thread in threads.withLock({ $0 }) where !thread.join(seconds: 5) {
            logger.warning("a thread of the node did not end in time")
        }
        for thread in storage { thread.stop() }
        snapshotThread.stop()
        pieceThreads.stop()
        for pool in [fetching, opening, hashing, blocking] { pool.stop() }
    }

    private func run(_ node: Node, status: NodeStatusReader, failed: @Sendable (String) -> Void) {
        var reported = false
        while !stopping.load(ordering: .relaxed) {
            let start = monotonicNanoseconds()
            let due = node.host.poll(now: monotonicNanoseconds())
            if let failure = node.host.failure, !reported {
                reported = true
                status.fail(failure)
                failed(failure)
            }
            let now = monotonicNanoseconds()
            metrics.turn(nanoseconds: now - start)
            if due > now, inbox.prepareToSleep() { wakeup.sleep(nanoseconds: due - now) }
        }
        // The log writers do it before they end: whatever is damaged from now on can't look like an interrupted write.
        node.host.sealLogs()
        node.host.close()
    }

    /// Wakes consumers and answers producers whose time to wait is over. A thread of its own: whatever the store has to
    /// do, nobody is late.
    private func startWaking(waitersOf node: Node) {
        let (topics, broker) = (node.topics, node.broker)
        let thread = WorkerThread(name: "strata-waiters") { [self] in
            let pause = Wakeup()
            while !stopping.load(ordering: .relaxed) {
                let now = monotonicNanoseconds()
                for partition in topics.partitions { partition.expire(now: now) }
                broker.expireWaiting(now: now)
                pause.sleep(nanoseconds: Self.waitersInterval)
            }
        }
        threads.withLock { $0.append(thread) }
    }

    private func startMaintenance(of node: Node) {
        let store = node.store
        let (inbox, maintenance) = (inbox, maintenance)
        maintenance.begin { store.needsBackpressure }
        let thread = WorkerThread(name: "strata-background") { [self] in
            let pause = Wakeup()
            var applied = store.applied.index
            while !stopping.load(ordering: .relaxed) {
                do throws(StorageError) {
                    while try store.performMaintenance(), !stopping.load(ordering: .relaxed) { maintenance.progress() }
                    maintenance.progress()
                } catch {
                    let reason = "the store's background work failed: \(error)"
                    let isNodes = error.scope == .node
                    inbox.post(
                        .run { host in
                            if isNodes {
                                host.stop(because: reason)
                            } else {
                                host.setUnavailable(.keyValue, because: reason)
                            }
                        }, lane: .control)
                    return
                }
                let isIdle = store.applied.index == applied
                applied = store.applied.index
                pause.sleep(nanoseconds: isIdle ? Self.idleMaintenanceInterval : Self.maintenanceInterval)
            }
        }
        threads.withLock { $0.append(thread) }
    }
}

/// The outside of the host: queues in front of threads and sockets.
private final class RuntimeEnvironment: HostEnvironment {
    private let storage: [StorageThread]
    private let fetching: BlockingPool
    private let snapshotThread: BlockingPool
    private let pieceThreads: BlockingPool
    private let inbox: HostInbox
    private let transport: any PeerTransport
    private let maintenance: MaintenanceWatch

    init(
        storage: [StorageThread], fetching: BlockingPool, snapshotThread: BlockingPool, pieceThreads: BlockingPool,
        inbox: HostInbox, transport: any PeerTransport, maintenance: MaintenanceWatch
    ) {
        self.maintenance = maintenance
        self.snapshotThread = snapshotThread
        self.pieceThreads = pieceThreads
        self.storage = storage
        self.fetching = fetching
        self.inbox = inbox
        self.transport = transport
    }

    func submit(_ work: StorageWork) {
        storage[Int(work.group.rawValue % UInt64(storage.count))].submit(work)
    }

    func fetch(_ fetch: LogFetch) {
        let inbox = inbox
        fetching.run { inbox.post(.fetched(fetch.perform())) }
    }

    func submit(_ work: SnapshotWork) {
        let (inbox, transport) = (inbox, transport)
        let threads = work.isIndependent ? pieceThreads : snapshotThread
        threads.run {
            let outcome = work.perform { transport.send(PeerBatch($0), lane: .snapshot, to: $1) }
            inbox.post(.snapshot(work.group, outcome))
        }
    }

    func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID) {
        transport.send(messages, lane: lane, to: peer)
    }

    func canReach(_ peer: NodeID) -> Bool { transport.canReach(peer) }

    func storageBusySince() -> UInt64? {
        storage.compactMap(\.busySince).min()
    }

    func maintenanceStuckSince() -> UInt64? { maintenance.stuckSince() }
}
