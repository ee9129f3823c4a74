// A small deterministic simulation of whole groups: one seed draws the cluster, the faults and every event. Messages
// are delivered in any order, lost, doubled; disks finish late; nodes crash and lose what was not synced.
// `SimulationChecks` holds the invariants that are tested after every event.

import Raft

/// A broken invariant.
package struct SimulationFailure: Error, CustomStringConvertible {
    package var description: String
}

/// What happened over a run, to see that the faults are really met.
package struct SimulationCounts: Sendable {
    var elections = 0
    var commits = 0
    var cuts = 0
    var crashes = 0
    var lostJobs = 0
    var snapshots = 0
    var readsServed = 0
    var readsDropped = 0
    var transfers = 0
    var pendingReads = 0
    var dropped = 0
    var changes = 0
    var changesApplied = 0
    var pauses = 0
    var leaseReads = 0
    var cutLinks = 0
    var messagesLost = 0
    var losses = 0
    var recoveries = 0
    /// The longest time that the liveness check took, in ticks.
    var liveTicksMax = 0
    /// Ticks of simulated time at the first node.
    package var ticks = 0

    package init() {}

    /// Name and value of each, in a fixed order.
    package var all: [(name: String, value: Int)] {
        [
            ("elections", elections), ("commits", commits), ("cuts", cuts), ("crashes", crashes),
            ("lost_jobs", lostJobs), ("snapshots", snapshots), ("reads_served", readsServed),
            ("reads_dropped", readsDropped), ("transfers", transfers), ("pending_reads", pendingReads),
            ("dropped", dropped), ("changes", changes), ("changes_applied", changesApplied), ("pauses", pauses),
            ("lease_reads", leaseReads), ("cut_links", cutLinks), ("messages_lost", messagesLost), ("losses", losses),
            ("recoveries", recoveries), ("live_ticks_max", liveTicksMax), ("ticks", ticks),
        ]
    }

    /// What was done to the groups, in sum.
    package var faults: Int { crashes + lostJobs + pauses + cutLinks + messagesLost + pendingReads }

    package mutating func add(_ other: SimulationCounts) {
        elections += other.elections
        commits += other.commits
        cuts += other.cuts
        crashes += other.crashes
        lostJobs += other.lostJobs
        snapshots += other.snapshots
        readsServed += other.readsServed
        readsDropped += other.readsDropped
        transfers += other.transfers
        pendingReads += other.pendingReads
        dropped += other.dropped
        changes += other.changes
        changesApplied += other.changesApplied
        pauses += other.pauses
        leaseReads += other.leaseReads
        cutLinks += other.cutLinks
        messagesLost += other.messagesLost
        losses += other.losses
        recoveries += other.recoveries
        liveTicksMax = max(liveTicksMax, other.liveTicksMax)
        ticks += other.ticks
    }
}

package final class Simulation {
    package enum Action: UInt8, CaseIterable, Hashable, Sendable {
        case deliver, tick, drain, sync, report, propose, read, apply, compact, crash, restart, cutLink, healLinks
        case transfer, campaign, forget, unreachable, stall, entriesAvailable, change, pause, resume
        case lose
    }

    static let networkMax = 120

    package let seed: UInt64
    var random: SplitMix64
    var nodes: [SimulatedNode] = []
    let initial: Configuration
    var settings = RaftCore.Settings()
    var network: [SimulatedMessage] = []
    /// `cut[from][to]`: nothing passes.
    var cut: [[Bool]] = []
    var weights: [(action: Action, weight: Int)] = []
    var lossPercent = 0
    var duplicatePercent = 0
    var drainPercent = 100
    var pendingPercent = 0
    var calm = false
    /// With lease reads, ticks follow one clock (in tenths of a tick) at rates that differ by up to a tenth.
    var hasClock = false
    var clock = 0
    var checks = SimulationChecks()
    package var counts = SimulationCounts()
    var nextPayload: UInt64 = 1
    var nextContext: UInt64 = 1
    var nextTransfer = 1
    /// Snapshot transfers that are under way: number, sender and its incarnation, receiver, index.
    var transfers: [(number: Int, sender: Int, incarnation: Int, peer: NodeID, index: LogIndex)] = []
    /// What left nodes and what clients were told, where somebody wants to read it.
    var journal: [String]?
    var appliesWhenSettling = true
    /// Events so far.
    package private(set) var eventCount = 0
    /// FNV-1a over all events and their effects.
    package private(set) var eventHash: UInt64 = 0xcbf2_9ce4_8422_2325

    package init(seed: UInt64) throws {
        self.seed = seed
        var random = SplitMix64(seed: seed)
        let size = [1, 2, 3, 3, 3, 3, 4, 5][random.next(in: 0..<8)]
        let learners = random.next(in: 0..<4) == 0 ? [NodeID(UInt64(size + 1))] : []
        initial = Configuration(voters: (1...size).map { NodeID(UInt64($0)) }, learners: learners)
        // Nodes that may be added later.
        let spares = [0, 0, 1, 2][random.next(in: 0..<4)]
        self.random = random
        drawSettings()
        drawFaults(spares: spares)
        if isContested { contest() }
        // Every fifth seed, without a draw, so that the others stay what they were.
        if seed % 5 == 1 { weights.append((.lose, 3)) }
        try startAll(count: size + learners.count + spares)
    }

    /// A group without faults, whose events come from outside.
    init(configuration: Configuration, count: Int, settings: RaftCore.Settings) throws {
        seed = 1
        random = SplitMix64(seed: 1)
        initial = configuration
        self.settings = settings
        calm = true
        try startAll(count: count)
    }

    /// The same simulation once more, to try what follows from here twice.
    package init(copying other: Simulation) {
        seed = other.seed
        random = other.random
        nodes = other.nodes
        initial = other.initial
        settings = other.settings
        network = other.network
        cut = other.cut
        weights = other.weights
        (lossPercent, duplicatePercent) = (other.lossPercent, other.duplicatePercent)
        (drainPercent, pendingPercent) = (other.drainPercent, other.pendingPercent)
        (calm, hasClock, clock) = (other.calm, other.hasClock, other.clock)
        checks = other.checks
        counts = other.counts
        (nextPayload, nextContext, nextTransfer) = (other.nextPayload, other.nextContext, other.nextTransfer)
        transfers = other.transfers
        eventCount = other.eventCount
        eventHash = other.eventHash
    }

    private func startAll(count: Int) throws {
        cut = Array(repeating: Array(repeating: false, count: count), count: count)
        let priorities = seed % 8 == 3
        for number in 1...count {
            var own = settings
            if priorities { own.priorityDelayTicks = random.next(in: 0..<3) }
            var node = SimulatedNode(id: NodeID(UInt64(number)), configuration: initial, settings: own)
            node.tickPeriod = random.next(in: 9..<12)
            nodes.append(node)
        }
        for node in nodes.indices { try start(node) }
    }

    private func drawSettings() {
        settings.appendBytesMax = [1, 30, 1 << 20][random.next(in: 0..<3)]
        settings.inflightMessagesMax = [1, 3, 256][random.next(in: 0..<3)]
        settings.inflightBytesMax = [20, 1 << 20][random.next(in: 0..<2)]
        settings.uncommittedBytesMax = [200, 1 << 20][random.next(in: 0..<2)]
        settings.preVote = random.next(in: 0..<4) != 0
        settings.checkQuorum = random.next(in: 0..<4) != 0
        settings.readsPendingMax = 20
        settings.lossTicks = [3, 5, 10][random.next(in: 0..<3)]
        settings.retryTicks = 2..<4
        settings.heartbeatTicks = random.next(in: 1..<4)
        settings.stallTicks = 20
        if random.next(in: 0..<6) == 0 { settings.quiesceTicks = random.next(in: 3..<12) }
        if random.next(in: 0..<4) == 0 {
            hasClock = true
            settings.leaseReads = true
            settings.checkQuorum = true
            settings.lossTicks = [5, 10][random.next(in: 0..<2)]
        }
    }

    /// Each seed first draws which faults exist, then how often (swarm testing).
    private func drawFaults(spares: Int) {
        lossPercent = [0, 0, 3, 15][random.next(in: 0..<4)]
        duplicatePercent = [0, 0, 5, 30][random.next(in: 0..<4)]
        drainPercent = [30, 80, 100][random.next(in: 0..<3)]
        pendingPercent = [0, 0, 20][random.next(in: 0..<3)]
        func sometimes(_ weight: Int) -> Int { random.next(in: 0..<3) == 0 ? 0 : weight }
        weights = [
            (.deliver, 500), (.tick, [60, 120, 200][random.next(in: 0..<3)]), (.drain, 80),
            (.sync, [8, 40, 150][random.next(in: 0..<3)]), (.report, 80), (.propose, 30), (.read, 15),
            (.apply, 30), (.compact, sometimes(8)), (.crash, sometimes(4)), (.restart, 20), (.cutLink, sometimes(8)),
            (.healLinks, 5), (.transfer, sometimes(2)), (.campaign, sometimes(3)), (.forget, sometimes(3)),
            (.unreachable, sometimes(4)), (.stall, sometimes(1)), (.entriesAvailable, 20),
            (.change, spares > 0 ? 6 : sometimes(3)), (.pause, sometimes(3)), (.resume, 12),
        ]
    }

    /// Every fourth seed is about reads while the leadership is contested: leaders are cut off, paused and asked to go,
    /// late messages are common, and whoever still believes to lead is asked for reads.
    var isContested: Bool { seed % 4 == 2 && !calm }

    private func contest() {
        hasClock = seed % 8 == 2
        settings.leaseReads = hasClock
        settings.checkQuorum = settings.checkQuorum || hasClock
        settings.lossTicks = 10
        settings.heartbeatTicks = 1 + Int(seed / 8 % 2)
        settings.quiesceTicks = 0
        lossPercent = 0
        duplicatePercent = 0
        pendingPercent = 0
        drainPercent = 100
        weights = [
            (.deliver, 600), (.tick, [150, 300, 500][Int(seed / 16 % 3)]), (.drain, 20), (.sync, 200), (.report, 80),
            (.propose, 30), (.read, 40), (.apply, 30), (.crash, 1), (.restart, 20), (.cutLink, 3), (.healLinks, 5),
            (.transfer, 4), (.campaign, 2), (.forget, 1), (.pause, 2), (.resume, 12),
        ]
    }

    func percent(_ chance: Int) -> Bool { random.next(in: 0..<100) < chance }

    func mix(_ value: UInt64) {
        for shift in stride(from: 0, to: 64, by: 16) {
            eventHash = (eventHash ^ ((value >> UInt64(shift)) & 0xFFFF)) &* 0x100_0000_01b3
        }
    }

    /// Runs `events` random events with faults.
    package func run(events: Int, without: Set<Action> = []) throws {
        for position in weights.indices where without.contains(weights[position].action) {
            weights[position].weight = 0
        }
        let total = weights.reduce(0) { $0 + $1.weight }
        for _ in 0..<events {
            eventCount += 1
            var draw = random.next(in: 0..<total)
            var position = 0
            while draw >= weights[position].weight {
                draw -= weights[position].weight
                position += 1
            }
            let node = random.next(in: 0..<nodes.count)
            mix(UInt64(weights[position].action.rawValue) << 8 | UInt64(node))
            try perform(weights[position].action, node)
        }
    }

    // MARK: Steps

    func start(_ node: Int) throws {
        let disk = nodes[node].disk
        nodes[node].core = RaftCore(
            id: nodes[node].id, configuration: disk.baseConfiguration, restored: disk.restored,
            settings: nodes[node].settings, seed: random.next())
        nodes[node].baseConfiguration = disk.baseConfiguration
        nodes[node].configuration = disk.baseConfiguration
        nodes[node].isPaused = false
        nodes[node].base = disk.base
        nodes[node].baseState = disk.baseState
        nodes[node].log = disk.log
        nodes[node].applied = disk.base.index
        nodes[node].applicable = nodes[node].core?.commitIndex ?? 0
        nodes[node].state = disk.baseState
        nodes[node].incarnation += 1
        try checks.started(nodes[node])
    }

    func crash(_ node: Int) {
        guard nodes[node].core != nil else { return }
        counts.crashes += 1
        nodes[node].core = nil
        let kept = random.next(in: 0..<nodes[node].jobs.count + 1)
        for (position, job) in nodes[node].jobs.enumerated() {
            if position < kept {
                nodes[node].write(job)
            } else if position == kept {
                let entries = random.next(in: 0..<job.entries.count + 1)
                nodes[node].write(job, tornAfter: entries, keepsHardState: percent(50))
                counts.lostJobs += 1
            } else {
                counts.lostJobs += 1
            }
        }
        nodes[node].jobs.removeAll()
        nodes[node].completions.removeAll()
        nodes[node].ready.removeAll()
        nodes[node].staged.removeAll()
    }

    func reader(_ node: Int) -> SimulatedReader {
        let isPending = pendingPercent > 0 && !calm && percent(pendingPercent)
        if isPending { counts.pendingReads += 1 }
        return SimulatedReader(
            base: nodes[node].base.index, entries: nodes[node].log[...], isPending: isPending,
            misuse: SimulatedReader.Misuse())
    }

    /// One input for a running core, then the checks.
    func step(_ node: Int, _ input: Input, attached: SimulatedMessage? = nil) throws {
        guard nodes[node].core != nil, !nodes[node].isPaused else { return }
        let reader = reader(node)
        let before = checks.before(nodes[node])
        nodes[node].step(input, reader)
        if let attached, nodes[node].ready.snapshot != nil, attached.message.kind == .snapshot {
            nodes[node].stagedState = attached.state
            nodes[node].stagedConfiguration = attached.configuration ?? initial
        }
        try finish(node, before, reader, attached, proposed: [])
    }

    func propose(_ node: Int) throws {
        guard nodes[node].core != nil, !nodes[node].isPaused else { return }
        let count = random.next(in: 1..<4)
        var entries: [ProposedEntry] = []
        var payloads: [UInt64] = []
        for _ in 0..<count {
            entries.append(ProposedEntry(kind: .data, byteCount: UInt32(random.next(in: 0..<40))))
            payloads.append(nextPayload)
            nextPayload += 1
        }
        let reader = reader(node)
        let before = checks.before(nodes[node])
        do throws(ProposalDropped) {
            try nodes[node].propose(entries, reader)
        } catch {
            counts.dropped += 1
            payloads = []
        }
        try finish(node, before, reader, nil, proposed: payloads)
    }

    func finish(
        _ node: Int, _ before: SimulationChecks.Before, _ reader: SimulatedReader, _ attached: SimulatedMessage?,
        proposed: [UInt64]
    ) throws {
        if let misuse = reader.misuse.message { throw SimulationFailure(description: "log reader: \(misuse)") }
        try stage(node, attached, proposed)
        try checks.after(before, nodes[node], nodes, &counts)
        guard let core = nodes[node].core else { return }
        mix(core.term << 32 ^ core.commitIndex << 16 ^ core.lastIndex)
        mix(UInt64(core.role.rawValue) << 32 ^ UInt64(nodes[node].ready.messages.count))
        if calm || percent(drainPercent) { try drain(node) }
    }

    /// Finds the payload of every entry in `ready`: from the message, from the proposal, or staged before.
    private func stage(_ node: Int, _ attached: SimulatedMessage?, _ proposed: [UInt64]) throws {
        let headers = nodes[node].ready.entries
        var staged: [SimulatedEntry] = []
        for (position, header) in headers.enumerated() {
            if let old = nodes[node].staged.first(where: { $0.header == header }) {
                staged.append(old)
                continue
            }
            var payload: UInt64 = 0
            let distance = headers.count - position
            if let attached, let offset = attached.message.entries.firstIndex(of: header) {
                payload = attached.payloads[offset]
            } else if distance <= proposed.count {
                payload = proposed[proposed.count - distance]
            } else if header.kind == .configuration && header.byteCount == 0 {
                payload = encode(.leave)
            } else if header.kind != .noop {
                throw SimulationFailure(description: "entry \(header) came from nowhere")
            }
            staged.append(SimulatedEntry(header: header, payload: payload))
        }
        nodes[node].staged = staged
        try checks.staged(nodes[node])
    }

    /// Takes everything out of `ready`, as a host does at the end of a turn.
    func drain(_ node: Int) throws {
        guard nodes[node].core != nil, !nodes[node].isPaused else { return }
        let ready = nodes[node].ready
        let staged = nodes[node].staged
        var job = StorageJob()
        if let point = ready.snapshot {
            job.snapshot = (point, nodes[node].stagedState, nodes[node].stagedConfiguration)
            nodes[node].baseConfiguration = nodes[node].stagedConfiguration
            nodes[node].configuration = nodes[node].stagedConfiguration
            nodes[node].base = point
            nodes[node].baseState = nodes[node].stagedState
            nodes[node].log = []
            nodes[node].applied = point.index
            nodes[node].state = nodes[node].stagedState
            counts.snapshots += 1
        }
        if let cut = ready.truncateFrom {
            job.truncateFrom = cut
            counts.cuts += 1
            let keep = Int(cut - nodes[node].base.index - 1)
            if keep < nodes[node].log.count { nodes[node].log.removeLast(nodes[node].log.count - keep) }
        }
        job.entries = staged
        job.hardState = ready.hardState
        if let commit = ready.commit { nodes[node].applicable = max(nodes[node].applicable, commit) }
        nodes[node].log += staged
        nodes[node].ready.removeAll()
        nodes[node].staged.removeAll()
        for message in ready.messages { send(try attach(node, message)) }
        for message in ready.afterDurable { job.afterDurable.append(SimulatedMessage(message: message)) }
        if ready.needsStorage || !job.afterDurable.isEmpty { nodes[node].jobs.append(job) }
        for read in ready.reads { journal?.append("\(nodes[node].id) serves read \(read.context) at \(read.index)") }
        for read in ready.droppedReads { journal?.append("\(nodes[node].id) drops read \(read)") }
        for read in ready.reads { try checks.readServed(read, at: nodes[node].id, &counts) }
        for context in ready.droppedReads { try checks.readDropped(context, at: nodes[node].id, &counts) }
        for peer in ready.snapshotsNeeded { sendSnapshot(node, to: peer) }
        if ready.snapshot != nil { try step(node, .applied(nodes[node].applied)) }
    }

    /// Adds the bytes of the entries, which the host must still have.
    private func attach(_ node: Int, _ message: Message) throws -> SimulatedMessage {
        var payloads: [UInt64] = []
        for header in message.entries {
            guard let entry = nodes[node].entry(at: header.index), entry.header == header else {
                throw SimulationFailure(description: "no bytes for \(header) in a message of \(nodes[node].id)")
            }
            payloads.append(entry.payload)
        }
        try checks.leaving(message, nodes[node])
        return SimulatedMessage(message: message, payloads: payloads)
    }

    private func sendSnapshot(_ node: Int, to peer: NodeID) {
        guard let core = nodes[node].core, core.role == .leader else { return }
        var message = Message(.snapshot, from: core.id, to: peer, term: core.term)
        message.index = nodes[node].base.index
        message.logTerm = nodes[node].base.term
        let number = nextTransfer
        nextTransfer += 1
        transfers.append((number, node, nodes[node].incarnation, peer, message.index))
        send(
            SimulatedMessage(
                message: message, state: nodes[node].baseState, configuration: nodes[node].baseConfiguration,
                transfer: number))
    }

    /// Puts a message on the network, or loses it.
    func send(_ message: SimulatedMessage) {
        journal?.append(message.message.text)
        if !calm && percent(lossPercent) {
            counts.messagesLost += 1
            settleTransfer(message, isDelivered: false)
            return
        }
        network.append(message)
        if !calm && percent(duplicatePercent) {
            var copy = message
            copy.transfer = 0
            network.append(copy)
        }
        if network.count > Self.networkMax && !calm {
            settleTransfer(network.remove(at: random.next(in: 0..<network.count)), isDelivered: false)
        }
    }

    func isCut(_ message: Message) -> Bool {
        cut[Int(message.from.rawValue) - 1][Int(message.to.rawValue) - 1]
    }

    /// Tells the sender how its snapshot fared.
    func settleTransfer(_ message: SimulatedMessage, isDelivered: Bool) {
        guard message.transfer != 0, let position = transfers.firstIndex(where: { $0.number == message.transfer })
        else { return }
        let transfer = transfers.remove(at: position)
        if nodes[transfer.sender].incarnation == transfer.incarnation, nodes[transfer.sender].core != nil {
            nodes[transfer.sender].completions.append(
                .snapshotFinished(transfer.peer, index: isDelivered ? transfer.index : 0))
        }
    }
}
