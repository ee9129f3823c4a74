// A cluster in one process: every node runs the shipped engine (host, Raft, log, store) on a simulated disk, and
// messages travel on a simulated network that loses, delays and cuts. A crash takes a node's memory and what its disk
// had not synced.
import Cluster
import FileIO
import KeyValue
import Raft
import SegmentedLog
import SimulatedIO
import Storage
import StrataNode
import Synchronization

/// Work that a node would do on its own threads, queued until the world runs it.
final class SimulatedExecutor: BlockingExecutor {
    private let queue = Mutex<[@Sendable () -> Void]>([])

    func run(_ work: @escaping @Sendable () -> Void) {
        queue.withLock { $0.append(work) }
    }

    func takeAll() -> [@Sendable () -> Void] {
        queue.withLock { queue in
            let all = queue
            queue = []
            return all
        }
    }
}

/// What a node reported.
final class ReportBox: Sendable {
    private let content = Mutex<[(kind: Diagnostics.Kind, text: String)]>([])
    func add(_ kind: Diagnostics.Kind, _ text: String) { content.withLock { $0.append((kind, text)) } }
    func texts(of kind: Diagnostics.Kind) -> [String] {
        content.withLock { $0.filter { $0.kind == kind }.map(\.text) }
    }
    func removeAll() { content.withLock { $0.removeAll() } }
}

/// Set by whoever posts to a sleeping host.
final class WakeFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    func set() { flag.store(true, ordering: .relaxed) }
    func take() -> Bool { flag.exchange(false, ordering: .relaxed) }
}

final class SimulatedNode: HostEnvironment {
    /// The address may be another one after a restart; the rest is the node.
    var member: Member
    let fileSystem: SimulatedFileSystem
    unowned let cluster: SimulatedCluster
    /// What a handshake told it.
    let formed: FormedCluster
    private(set) var node: Node?
    /// It was removed and knows it.
    private(set) var hasDeparted = false
    private var inbox: HostInbox?
    private(set) var executor = SimulatedExecutor()
    /// Counts starts; what an earlier start left in flight is void.
    private(set) var epoch = 0
    private var storageQueue: [StorageWork] = []
    /// Works that the log writer has taken and not done.
    private var storageUnderWay: [StorageWork] = []
    private var storageBusy = false
    /// As `node.json` says: a registry of groups was made in this folder.
    private(set) var hasRun = false
    /// What the node reported, by kind.
    let reports = ReportBox()
    private var snapshotQueue: [SnapshotWork] = []
    private var pieceQueue: [SnapshotWork] = []
    private var piecesBusy = 0
    private var snapshotBusy = false
    private var wakeFlag = WakeFlag()
    /// The process stands still, or its log's disk does, until then.
    var pausedUntil: UInt64 = 0
    var diskStalledUntil: UInt64 = 0
    /// The store's background work stands still since then, and writers wait for it.
    var maintenanceStuck: UInt64?
    private var storageSince: UInt64?
    /// Counts scheduled turns; only the newest one is run.
    private var schedule = 0

    init(member: Member, formed: FormedCluster, fileSystem: SimulatedFileSystem, cluster: SimulatedCluster) {
        self.member = member
        self.formed = formed
        self.fileSystem = fileSystem
        self.cluster = cluster
    }

    var isUp: Bool { node != nil }
    var counters: HostCounters? { inbox?.counters }
    var diagnostics: Diagnostics? { inbox?.diagnostics }

    var stateHash: NodeStateHash? {
        guard let node, let inbox else { return nil }
        return NodeStateHash(node: node, inbox: inbox, blocking: executor)
    }

    func start() throws {
        epoch += 1
        let flag = WakeFlag()
        wakeFlag = flag
        let inbox = HostInbox(diagnostics: Diagnostics { [reports] in reports.add($0, $1()) }) { flag.set() }
        self.inbox = inbox
        executor = SimulatedExecutor()
        storageQueue = []
        storageUnderWay = []
        storageBusy = false
        storageSince = nil
        snapshotQueue = []
        snapshotBusy = false
        pieceQueue = []
        piecesBusy = 0
        var options = Node.Options(directory: "data", seed: cluster.world.random.next())
        options.log.segmentBytes = 16 * 1024
        options.storage.lsm.memtableBytes = 64 * 1024
        options.engine = cluster.engine
        options.settings.raft.leaseReads = cluster.leaseReads
        if let snapshots = cluster.snapshots { options.settings.snapshots = snapshots }
        options.expectsRegistry = hasRun
        node = try Node(
            cluster: formed, member: member, options: options, fileSystem: fileSystem, inbox: inbox,
            environment: self, blocking: executor, clock: { 0 })
        hasRun = true
        node?.host.departed = { [unowned self] in hasDeparted = true }
        // What the handshakes of both directions tell.
        for other in cluster.nodes where other !== self {
            let (own, others) = (member.id, other.member.id)
            node?.host.noteSupport(of: others, level: FeatureLevel.supported)
            other.post(.run { $0.noteSupport(of: own, level: FeatureLevel.supported) }, lane: .control)
        }
        scheduleTurn(after: 0)
    }

    /// Power is gone: memory and unsynced sectors with it.
    func crash() {
        guard isUp else { return }
        node?.host.close()
        node = nil
        inbox = nil
        epoch += 1
        fileSystem.crash()
        for other in cluster.nodes where other !== self { other.post(.disconnected(member.id), lane: .control) }
    }

    /// SIGTERM: what was handed to the log writer is done, the logs are sealed, and nothing of the page cache is lost.
    func stop() {
        guard let node else { return }
        node.host.sealLogs()
        let works = storageUnderWay + storageQueue
        for wave in StorageTurn(works).waves { perform(wave) }
        node.host.close()
        node.store.close()
        self.node = nil
        inbox = nil
        epoch += 1
        for other in cluster.nodes where other !== self { other.post(.disconnected(member.id), lane: .control) }
    }

    /// The replica that this node said it refuses since it was started, or why the whole node stopped.
    var refusal: String? { node?.host.failure ?? node?.statuses.outages.first?.reason }

    func post(_ event: HostEvent, lane: PeerLane) {
        inbox?.post(event, lane: lane)
    }

    /// Called after every event of the world: a woken host gets its turn a little later.
    func turnIfWoken() {
        guard isUp, wakeFlag.take() else { return }
        scheduleTurn(after: UInt64.random(in: 10_000...200_000, using: &cluster.world.random))
    }

    private func scheduleTurn(after delay: UInt64) {
        schedule += 1
        let (number, epoch) = (schedule, epoch)
        cluster.world.after(delay) { [weak self] in
            guard let self, number == schedule, epoch == self.epoch else { return }
            turn()
        }
    }

    private func turn() {
        guard let node, let inbox else { return }
        guard cluster.world.now >= pausedUntil else { return scheduleTurn(after: pausedUntil - cluster.world.now) }
        let due = node.host.poll(now: cluster.world.now)
        for work in executor.takeAll() { work() }
        if cluster.world.random.chance(0.02) { _ = try? node.store.performMaintenance() }
        let isIdle = due > cluster.world.now && inbox.prepareToSleep()
        scheduleTurn(after: isIdle ? due - cluster.world.now : 10_000)
    }

    func submit(_ work: StorageWork) {
        storageQueue.append(work)
        runStorage(epoch)
    }

    /// As the server's log writers: everything queued is one turn, with one time for all of it.
    private func runStorage(_ epoch: Int) {
        guard epoch == self.epoch, !storageBusy, !storageQueue.isEmpty else { return }
        storageBusy = true
        storageSince = cluster.world.now
        storageUnderWay = storageQueue
        storageQueue = []
        var delay = UInt64.random(in: 100_000...cluster.syncDelayMax, using: &cluster.world.random)
        if diskStalledUntil > cluster.world.now { delay += diskStalledUntil - cluster.world.now }
        cluster.world.after(delay) { [weak self] in
            guard let self, epoch == self.epoch else { return }
            for wave in StorageTurn(storageUnderWay).waves { perform(wave) }
            storageUnderWay = []
            storageBusy = false
            storageSince = nil
            runStorage(epoch)
        }
    }

    private func perform(_ wave: [StorageTurn.Run]) {
        let receipts =
            cluster.world.random.chance(0.5)
            ? StorageTurn.performTogether(wave) : wave.map { $0[0].perform(with: Array($0.dropFirst())) }
        for receipt in receipts {
            cluster.world.note(receipt.group.rawValue, receipt.sequence)
            post(.stored(receipt), lane: .control)
        }
    }

    func storageBusySince() -> UInt64? { storageSince }

    func maintenanceStuckSince() -> UInt64? { maintenanceStuck }

    func submit(_ work: SnapshotWork) {
        if work.isIndependent {
            pieceQueue.append(work)
            return runPieces(epoch)
        }
        snapshotQueue.append(work)
        runSnapshotWork(epoch)
    }

    private func runSnapshotWork(_ epoch: Int) {
        guard epoch == self.epoch, !snapshotBusy, !snapshotQueue.isEmpty else { return }
        snapshotBusy = true
        let delay = UInt64.random(in: 100_000...cluster.syncDelayMax, using: &cluster.world.random)
        cluster.world.after(delay) { [weak self] in
            guard let self, epoch == self.epoch else { return }
            let work = snapshotQueue.removeFirst()
            let outcome = work.perform { self.send(PeerBatch($0), lane: .snapshot, to: $1) }
            snapshotBusy = false
            post(.snapshot(work.group, outcome), lane: .bulk)
            runSnapshotWork(epoch)
        }
    }

    /// As on a node's threads: several are under way, and a later one may be done first.
    private func runPieces(_ epoch: Int) {
        guard epoch == self.epoch, piecesBusy < SnapshotWork.independentMax, !pieceQueue.isEmpty else { return }
        piecesBusy += 1
        let work = pieceQueue.removeFirst()
        let delay = UInt64.random(in: 100_000...cluster.syncDelayMax, using: &cluster.world.random)
        cluster.world.after(delay) { [weak self] in
            guard let self, epoch == self.epoch else { return }
            let outcome = work.perform { self.send(PeerBatch($0), lane: .snapshot, to: $1) }
            piecesBusy -= 1
            post(.snapshot(work.group, outcome), lane: .bulk)
            runPieces(epoch)
        }
        runPieces(epoch)
    }

    func fetch(_ fetch: LogFetch) {
        let epoch = epoch
        cluster.world.after(200_000) { [weak self] in
            guard let self, epoch == self.epoch else { return }
            post(.fetched(fetch.perform()), lane: .bulk)
        }
    }

    func send(_ messages: PeerBatch, lane: PeerLane, to peer: NodeID) {
        cluster.deliver(messages.joined, lane: lane, from: member.id, to: peer)
    }
}

final class SimulatedCluster {
    private let pieces = PiecePool()
    let world: SimulatedWorld
    let formed: FormedCluster
    let engine: StorageEngineKind
    /// Nil: logs are never cut.
    let snapshots: SnapshotSettings?
    private(set) var nodes: [SimulatedNode] = []
    var lossProbability = 0.0
    var delayMin: UInt64 = 50_000
    var delayMax: UInt64 = 2_000_000
    /// As over TCP: what was sent later arrives later, and what is lost is sent again after this time; 0: it stays
    /// lost.
    var resendDelay: UInt64 = 0
    private var arrivals: [String: UInt64] = [:]
    var syncDelayMax: UInt64 = 3_000_000
    /// Nodes that nobody hears and that hear nobody.
    var isolated: [NodeID] = []
    /// Everything that was sent so far.
    private(set) var bytesSent = 0

    let leaseReads: Bool

    init(seed: UInt64, size: Int = 3, leaseReads: Bool = false, snapshots: SnapshotSettings? = nil) throws {
        self.leaseReads = leaseReads
        self.snapshots = snapshots
        world = SimulatedWorld(seed: seed)
        engine = seed.isMultiple(of: 2) ? .lsm : .hashlog
        let members = (1...size).map {
            Member(name: "node\($0)", incarnation: "incarnation-\($0)", address: "node\($0):1")
        }
        formed = FormedCluster(id: "simulated", members: members)
        for member in members {
            nodes.append(
                SimulatedNode(
                    member: member, formed: formed, fileSystem: SimulatedFileSystem(seed: world.random.next()),
                    cluster: self))
        }
        world.afterEvent = { [unowned self] in
            for node in nodes { node.turnIfWoken() }
        }
        for node in nodes { try node.start() }
    }

    /// A new node, which was told of the cluster and is no member yet.
    func addNode(named name: String) throws -> SimulatedNode {
        let member = Member.joining(name: name, incarnation: "incarnation-of-\(name)", address: "\(name):1")
        let membership = ClusterMembership(
            version: 0, members: (nodes.map(\.member) + [member]).map { ClusterMember($0) }, removed: [])
        let node = SimulatedNode(
            member: member,
            formed: FormedCluster(id: formed.id, founders: formed.founders, membership: membership),
            fileSystem: SimulatedFileSystem(seed: world.random.next()), cluster: self)
        nodes.append(node)
        try node.start()
        return node
    }

    /// A node is gone for good.
    func retire(_ node: SimulatedNode) {
        node.crash()
        nodes.removeAll { $0 === node }
    }

    func deliver(_ messages: [UInt8], lane: PeerLane, from: NodeID, to: NodeID) {
        world.note(from.rawValue, to.rawValue, UInt64(messages.count))
        bytesSent += messages.count
        let isLost = world.random.chance(lossProbability)
        guard !isolated.contains(from), !isolated.contains(to), !isLost || resendDelay > 0 else { return }
        guard let target = nodes.first(where: { $0.member.id == to }) else { return }
        let epoch = target.epoch
        // As one of the transports receives pieces of files, and the other doesn't.
        let piece = lane == .snapshot && world.random.chance(0.5) ? ReceivedPiece(batch: messages, from: pieces) : nil
        var delay = UInt64.random(in: delayMin...delayMax, using: &world.random)
        if resendDelay > 0 {
            if isLost { delay += resendDelay }
            let link = "\(from) \(to) \(lane)"
            delay = max(delay, (arrivals[link] ?? 0) - min(arrivals[link] ?? 0, world.now))
            arrivals[link] = world.now + delay
        }
        world.after(delay) { [weak target] in
            guard let target, target.epoch == epoch else { return }
            if let piece {
                target.post(.receivedPiece(from: from, piece), lane: lane)
            } else {
                target.post(.received(from: from, messages: messages), lane: lane)
            }
        }
    }

    var leader: SimulatedNode? {
        nodes.first { $0.isUp && $0.node?.statuses.status(of: .keyValue)?.role == .leader }
    }

    /// Nothing is wrong any more and every node is up.
    func heal() throws {
        isolated = []
        lossProbability = 0
        for node in nodes where !node.isUp { try node.start() }
    }

    /// True when all nodes have applied the same, complete log of the key-value group.
    var hasConverged: Bool {
        let statuses = nodes.map { $0.node?.statuses.status(of: .keyValue) }
        guard leader != nil, let first = statuses[0] else { return false }
        return statuses.allSatisfy { status in
            guard let status else { return false }
            return status.lastIndex == first.lastIndex && status.appliedIndex == status.lastIndex
        }
    }
}
