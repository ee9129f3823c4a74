// One node's Raft groups, run by one thread: `poll(now:)` is a turn. A turn looks at control traffic and timers first,
// then at bulk traffic and clients, then hands out one log submission per group and one batch per peer, then applies a
// bounded amount of what is committed. Nothing here blocks, reads a clock, or knows a socket; the simulator runs this
// very code.
public import FileIO
public import Raft
public import SegmentedLog
import Synchronization

/// Runs the Raft groups of one node. Confined to one thread; other threads talk to it through ``inbox``.
public final class ClusterHost {
    /// Tuning of a host. Times in nanoseconds.
    public struct Settings: Sendable {
        /// Length of one Raft tick.
        public var tickInterval: UInt64 = 10_000_000
        /// How long a client's request may stay unanswered.
        public var requestTimeout: UInt64 = 5_000_000_000
        /// Requests that may wait for a leader, and their bytes.
        public var parkedMax = 16_384
        public var parkedBytesMax = 64 * 1024 * 1024
        /// How long one operation on the log's disk may take before this node gives up what it leads.
        public var storageStallLimit: UInt64 = 500_000_000
        /// How long the store's background work may finish nothing, while writers wait for it, before this node says
        /// that it is not healthy and gives up what it leads. Far above what one piece of that work takes on a slow
        /// disk.
        public var maintenanceStallLimit: UInt64 = 5_000_000_000
        public var raft = RaftCore.Settings()
        public var snapshots = SnapshotSettings()
        public init() { raft.quiesceTicks = 100 }
    }

    public let inbox: HostInbox
    public let member: Member
    public let members: MembershipTable
    /// Why the node's own storage can no longer be trusted; set once, final: the process must stop (fsync is never
    /// retried).
    public private(set) var failure: String?

    let settings: Settings
    let environment: any HostEnvironment
    let outbox: Outbox
    var groups: [Group] = []
    /// Those with files of their own.
    var snapshotGroups: [Group] = []
    public let snapshotCounters = SnapshotCounters()
    private var groupByID: [GroupID: Group] = [:]
    private var seed: UInt64
    var nextTick: UInt64 = 0
    var now: UInt64 = 0
    var handover: Handover?
    let schedule = GroupSchedule()
    var peerLiveness: [PeerLiveness] = []
    var ticksToBeat = 0
    /// The ways to the peers and back, and the times that follow from them (`ClusterHost+Pace`).
    var roundTrips: [RoundTrip] = []
    var nextEcho: UInt64 = 0
    var answerTicks = 1
    var pace: RaftCore.Pace
    /// Gaps between turns that were longer than a few ticks, and the end of the last one.
    public internal(set) var pauses: UInt64 = 0
    var pauseEndedAt: UInt64 = 0
    /// Times that the log's disk was stuck.
    public internal(set) var storageStalls: UInt64 = 0
    var isStorageStalled = false
    var isMaintenanceStalled = false
    var nextStallNotice: UInt64 = 0
    /// What the controller's log declares, as far as this node has applied it.
    var membership: ClusterMembership
    var nextApproach: UInt64 = 0
    var removalsDue: UInt64 = 0
    var departureDue: UInt64?
    /// When this node may say again that it is reached at another address than the members' record has.
    var nextMove: UInt64 = 0
    /// Groups whose logs' ends are not marked as durable.
    var unsealed: [Group] = []
    /// Told of every declaration, on the host's thread; old ones too, when the controller's log is replayed.
    public var membershipObserver: (ClusterMembership) -> Void = { _ in }
    /// Told on the host's thread when a group goes out of service on this node, and with nil when it is back.
    public var outageObserver: (GroupID, GroupOutage?) -> Void = { _, _ in }
    /// Makes what opens a group again that ran and could not go on; nil: such a group stays out until a restart.
    public var reopen: (GroupID) -> (@Sendable () -> Void)? = { _ in nil }
    /// What people call a group.
    public var nameOfGroup: (GroupID) -> String = { $0.description }
    var outages: [GroupID: OutageState] = [:]
    /// What members can read, as they said in handshakes; see ``FeatureLevel``.
    var supportedLevels: [NodeID: UInt32] = [:]
    var nextRaise: UInt64 = 0
    /// Told once when this node has been removed and has nothing left to do.
    public var departed: () -> Void = {}
    var parked = ParkedProposals()
    var forwarded: [ForwardedWait] = []
    /// Of groups with forwarded proposals that are not answered.
    var forwardOrders: [GroupID: ForwardOrder] = [:]
    var nextForward: UInt64
    private let observer: @Sendable (GroupID, GroupStatus) -> Void

    /// - Parameters:
    ///   - member: this node.
    ///   - members: those of the cluster, as far as this node knew when it was last up.
    ///   - founders: those that the controller's log starts from.
    ///   - seed: for election timeouts and request numbers; differs between starts of one node.
    ///   - observer: told, on the host's thread, whenever a group's visible state has changed.
    public init(
        member: Member, members: MembershipTable, founders: [Member], settings: Settings, seed: UInt64,
        inbox: HostInbox,
        environment: any HostEnvironment, observer: @escaping @Sendable (GroupID, GroupStatus) -> Void
    ) {
        self.member = member
        self.members = members
        membership = ClusterMembership(founders: founders)
        self.settings = settings
        pace = RaftCore.Pace(settings.raft)
        inbox.counters.lossMilliseconds.store(
            UInt64(pace.lossTicks) * settings.tickInterval / 1_000_000, ordering: .relaxed)
        self.seed = seed
        self.inbox = inbox
        self.environment = environment
        self.observer = observer
        nextForward = seed &* 0x9e37_79b9_7f4a_7c15
        outbox = Outbox(environment: environment)
    }

    /// Starts a group over an opened log. Opening blocks, so the caller does it before, on a thread that may.
    public func addGroup(
        _ id: GroupID, log: SegmentedLog, hardStateFile: HardStateFile, hardState: HardState,
        history: MembershipHistory, machine: any StateMachine, durability: WriteDurability
    ) {
        guard groupByID[id] == nil else { return }
        seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let restored = RaftCore.Restored(
            hardState: hardState, snapshot: log.beginning, lastIndex: log.lastIndex,
            termStarts: log.recovery.termStarts.map { TermStart(index: $0.index, term: $0.term) },
            commit: machine.appliedAtStart, applied: machine.appliedAtStart,
            configurationEntries: history.changes.map(\.index).filter { $0 > machine.appliedAtStart })
        let core = RaftCore(
            id: member.id, configuration: history.membership(asOf: machine.appliedAtStart).configuration,
            restored: restored, settings: settings.raft, seed: seed ^ id.rawValue)
        let group = Group(
            id: id, log: log, hardStateFile: hardStateFile, history: history, machine: machine, core: core,
            durability: durability, readContextSeed: (seed >> 32) << 32)
        group.core.setPace(pace)
        group.schedule = schedule
        group.counters = inbox.counters
        group.diagnostics = inbox.diagnostics
        prepareSnapshots(of: group)
        schedule.touch(group)
        groups.append(group)
        groups.sort { $0.id < $1.id }
        groupByID[id] = group
        schedule.tailBytes = LogTail.keptBytes(ofGroups: groups.count)
        if !hardStateFile.isSettled || !log.isEndMarked { noteUnsealed(group) }
        endOutage(of: id)
    }

    /// The group gets no turn, tick or message any more.
    func forget(_ group: Group) {
        groups.removeAll { $0 === group }
        snapshotGroups.removeAll { $0 === group }
        unsealed.removeAll { $0 === group }
        groupByID[group.id] = nil
        schedule.tailBytes = LogTail.keptBytes(ofGroups: groups.count)
        schedule.remove(group)
    }

    public func hasGroup(_ id: GroupID) -> Bool { groupByID[id] != nil }

    /// One turn. Returns the time, on the same clock, by which the next turn is due; earlier when the inbox fills.
    ///
    /// - Parameter clock: the time, asked for once, after the inbox was emptied: what came in was there before it, so
    ///   that a lease that holds at that time holds for every read of this turn.
    public func poll(now clock: @autoclosure () -> UInt64) -> UInt64 {
        let (control, bulk, isAll) = inbox.take()
        now = clock()
        if nextTick == 0 { nextTick = now + settings.tickInterval }
        guard failure == nil else { return now + settings.tickInterval }
        noticePause()
        for event in control { handle(event) }
        if !needsNoTicks { nextTick = min(nextTick, now + settings.tickInterval) }
        tickIfDue()
        for event in bulk { handle(event) }
        schedule.releaseHeld(now: now)
        var turn = schedule.beginTurn()
        // Who waited for a leader goes to the disk with the first entry of a new one.
        if turn.contains(where: \.softStateChanged) { retryParked(now: now) }
        for group in turn {
            if !mustKeepOrder(group) {
                route(group.proposeWaiting(now: now, outbox: outbox), to: group)
            }
            group.confirmWaiting(outbox: outbox)
        }
        submitStorage(turn)
        outbox.flush()
        var busy: [Group] = []
        for group in turn {
            do throws(StateMachineFailure) {
                if try group.applyCommitted(now: now, environment: environment, outbox: outbox) || group.hasGathered {
                    busy.append(group)
                }
            } catch {
                fail(group.id, error.description, error.scope)
                continue
            }
            group.serveReads()
            group.fetchForReplication(environment: environment)
        }
        if !outages.isEmpty { turn.removeAll { groupByID[$0.id] !== $0 } }
        continueHandover()
        submitStorage(turn)
        outbox.flush()
        schedule.endTurn(turn)
        for group in busy { schedule.touch(group) }
        publish(turn)
        stretchTick()
        return schedule.hasDirty || !isAll ? now : min(nextTick, schedule.nextRelease)
    }

    /// Stops taking requests and refuses what waits. The log keeps everything that was acknowledged.
    public func close() {
        inbox.close()
        let error = RequestError.unavailable("the node is shutting down")
        for id in parked.groups {
            for proposal in parked.take(of: id) { proposal.completion(.failure(error)) }
        }
        for wait in forwarded { wait.proposal.completion(.failure(.unknown("the node is shutting down"))) }
        forwarded = []
        failReturned(error)
        for group in groups {
            group.fail(group.proposals, error)
            group.proposals = []
            for entry in group.pending {
                group.fail(entry.proposals.map(\.proposal), .unknown("the node is shutting down"))
            }
            group.pending = []
            group.expireReads(now: .max)
            group.expireMoments(now: .max)
        }
    }

    /// Stops the node for good: its storage can no longer be trusted.
    public func stop(because reason: String) {
        guard failure == nil else { return }
        failure = reason
        close()
    }

    private func handle(_ event: HostEvent) {
        switch event {
        case .received(let peer, let received):
            heard(from: peer)
            // A batch that does not decode is dropped whole: Raft repeats what matters.
            guard let messages = received.messages else {
                inbox.diagnostics.report(
                    .undecodableBatch,
                    "a batch of \(received.byteCount) bytes from \(peer) can't be decoded and is dropped")
                return
            }
            for message in messages { receive(message, from: peer) }
        case .receivedPiece(let peer, let piece):
            heard(from: peer)
            var message = piece.head.message
            message.content = .chunk(piece.chunk)
            receive(.snapshot(message), from: peer)
        case .connected(let peer):
            heard(from: peer)
            retryParked(now: now)
        case .disconnected(let peer):
            forgetLiveness(of: peer)
            lost(peer)
        case .propose(let id, var proposal):
            proposal.deadline = now + settings.requestTimeout
            proposal.leaderDeadline = now + min(proposal.leaderPatience, settings.requestTimeout)
            take(proposal, for: id)
        case .read(let id, var request):
            request.deadline = now + min(request.patience, settings.requestTimeout)
            guard let group = groupByID[id] else {
                let error = outage(of: id)?.error ?? .unavailable("the group is not on this node yet")
                request.completion(.failure(error))
                return
            }
            take(request, for: group)
        case .stored(let receipt):
            // What came after a failure must not release what the failed work held back.
            guard failure == nil else { return }
            stored(receipt)
        case .fetched(let result):
            guard let group = groupByID[result.fetch.group] else { return }
            schedule.touch(group)
            do throws(StateMachineFailure) {
                try group.fetched(result, outbox: outbox)
            } catch {
                fail(group.id, error.description, error.scope)
            }
        case .snapshot(let id, let outcome):
            groupByID[id]?.finished(outcome, now: now, outbox: outbox)
        case .answer(let peer, let request, let result):
            outbox.add(ForwardedResult(request: request, result: result), to: peer)
        case .run(let body):
            body(self)
        }
    }

    private func stored(_ receipt: StorageReceipt) {
        guard let group = groupByID[receipt.group] else {
            storedWhileLeaving(receipt)
            return
        }
        if let failure = receipt.failure {
            fail(receipt.group, failure, receipt.scope)
            storedWhileLeaving(receipt)
        } else {
            if group.stored(receipt, outbox: outbox) { noteUnsealed(group) }
            schedule.touch(group)
        }
    }

    private func receive(_ message: PeerMessage, from peer: NodeID) {
        switch message {
        case .raft(let id, let message, let frames):
            // A snapshot is told to the core by this host, when all of its files are here; never by a peer.
            guard let group = groupByID[id], message.from == peer, message.to == member.id, message.kind != .snapshot
            else { return }
            if !frames.isEmpty, let problem = group.contradiction(in: frames, of: message) {
                inbox.diagnostics.report(
                    .undecodableBatch, "an append of \(peer) to group \(id) is dropped: \(problem)")
                return
            }
            group.step(.receive(message), frames: frames, outbox: outbox)
            if message.from == group.core.leader { group.noteHeard(message, now: now) }
        case .forward(let forward):
            accept(forward, from: peer)
        case .forwardResult(let result):
            finish(result)
        case .beat:
            break
        case .echo(let time, let isAnswer):
            receiveEcho(time: time, isAnswer: isAnswer, from: peer)
        case .snapshot(let message):
            groupByID[message.group]?.receive(message, from: peer, now: now, outbox: outbox)
        case .transfer(let request):
            accept(request)
        }
    }

    func take(_ proposal: Proposal, for id: GroupID) {
        guard let group = groupByID[id] else {
            if let outage = outage(of: id) { return proposal.completion(.failure(outage.error)) }
            park(proposal, for: id)
            return
        }
        if isFenced(proposal) || mustWaitBehindParked(proposal, of: id) { return park(proposal, for: id) }
        group.proposals.append(proposal)
        schedule.touch(group)
    }

    func group(_ id: GroupID) -> Group? { groupByID[id] }

    /// At most two ticks a turn, and none to make up for a pause: a host that was starved must first hear what arrived
    /// meanwhile, or it would campaign against a leader that is alive.
    private func tickIfDue() {
        var ticks: UInt64 = 0
        while now >= nextTick, ticks < Self.ticksPerTurnMax {
            ticks += 1
            nextTick += settings.tickInterval
            watchPeers()
            watchStorage()
            schedule.dropSleeping()
            for group in schedule.awake {
                group.step(.tick, outbox: outbox)
                group.retryReads()
                group.expire(now: now)
            }
            for group in snapshotGroups { group.tickSnapshots(now: now, outbox: outbox) }
            expireForwarded(now: now)
            retryParked(now: now)
            approachMembership()
            sealIdleLogs()
            retryOutages()
            raiseFeatureLevel()
            refreshCounters()
        }
        if now >= nextTick { nextTick = now + settings.tickInterval }
    }

    func lost(_ peer: NodeID) {
        for group in groups {
            if group.core.leader == peer { group.step(.forgetLeader, outbox: outbox) }
            if group.core.role == .leader { group.step(.unreachable(peer), outbox: outbox) }
        }
        for group in snapshotGroups { group.abandonSnapshots(with: peer, now: now, outbox: outbox) }
        loseForwarded(to: peer)
    }

    private func submitStorage(_ turn: [Group]) {
        for group in turn {
            group.submitWork()
            for work in group.submitted { environment.submit(work) }
            group.submitted.removeAll(keepingCapacity: true)
        }
        submitSnapshotWork()
    }

    private func publish(_ turn: [Group]) {
        for group in turn {
            let status = group.status
            guard status != group.publishedStatus else { continue }
            group.publishedStatus = status
            observer(group.id, status)
            if group.softStateChanged {
                group.softStateChanged = false
                retryParked(now: now)
            }
        }
    }

    /// The member behind a Raft id.
    public func member(_ id: NodeID?) -> Member? {
        guard let id else { return nil }
        return members.current.member(id)?.member
    }
}
