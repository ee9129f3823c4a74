// What a node watches for all its groups at once: whether it stood still itself, whether its disk does, and whether its
// peers' nodes are alive. The last is what lets idle groups sleep: one beat per pair of nodes stands for the heartbeats
// of all of them (CockroachDB's store liveness, Redpanda's lightweight heartbeats).
import Raft
import Synchronization

/// What is known of a peer's node.
struct PeerLiveness {
    var id: NodeID
    /// When anything last came from it, on the host's clock.
    var heardAt: UInt64
    /// The groups have been told that it is gone.
    var isLost: Bool
}

extension ClusterHost {
    /// Ticks that one turn makes up for. A longer gap is a pause: its ticks are not made up for, and what was measured
    /// in ticks (leases) is void.
    static let ticksPerTurnMax: UInt64 = 2

    /// Between the beats of a node whose groups all sleep; three of them fit into the time after which it counts as
    /// lost.
    static let idleBeatTicks = 7

    /// Nothing waits for time to pass but the next beat.
    var needsNoTicks: Bool {
        schedule.awake.isEmpty && parked.isEmpty && forwarded.isEmpty && unsealed.isEmpty && handover == nil
            && departureDue == nil
    }

    /// After a turn: a node that has nothing to do wakes for its beats only.
    func stretchTick() {
        guard needsNoTicks, ticksToBeat > 1, nextTick <= now + settings.tickInterval else { return }
        nextTick += UInt64(ticksToBeat - 1) * settings.tickInterval
        ticksToBeat = 1
    }

    /// Before anything else in a turn: a process that stood still (SIGSTOP, a starved machine) must neither answer from
    /// an old lease nor campaign or judge others by its own absence.
    func noticePause() {
        guard now >= nextTick, (now - nextTick) / settings.tickInterval >= Self.ticksPerTurnMax else { return }
        pauses += 1
        HostCounters.add(to: inbox.counters.pauses)
        pauseEndedAt = now
        for group in groups { group.core.step(.paused, log: EmptyLogView(), into: &group.ready) }
        for position in peerLiveness.indices {
            peerLiveness[position].heardAt = now
            voidEchoes(of: peerLiveness[position].id)
        }
    }

    /// Anything from a peer shows that its node is alive.
    func heard(from peer: NodeID) {
        if let position = peerLiveness.firstIndex(where: { $0.id == peer }) {
            peerLiveness[position].heardAt = now
            peerLiveness[position].isLost = false
        } else {
            peerLiveness.append(PeerLiveness(id: peer, heardAt: now, isLost: false))
        }
    }

    /// The connection is gone: nothing is to be expected until the peer is heard again.
    func forgetLiveness(of peer: NodeID) {
        peerLiveness.removeAll { $0.id == peer }
        voidEchoes(of: peer)
    }

    /// Once a tick: says that this node is alive, and tells the groups of nodes that went silent.
    func watchPeers() {
        ticksToBeat -= 1
        if ticksToBeat <= 0 {
            // Transports listen for these, whatever the groups' own heartbeats are set to.
            ticksToBeat =
                schedule.awake.isEmpty ? Self.idleBeatTicks : min(settings.raft.heartbeatTicks, Self.idleBeatTicks)
            let peers = members.current.members.map(\.member.id).filter { $0 != member.id }
            askEchoes(of: peers)
            outbox.addBeats(to: peers)
        }
        // Half a loss time more than the groups' own timers need, so that these decide where they run.
        let limit = UInt64(pace.lossTicks) * settings.tickInterval * 3 / 2
        for position in peerLiveness.indices {
            let peer = peerLiveness[position]
            guard !peer.isLost, now > peer.heardAt, now - peer.heardAt > limit else { continue }
            peerLiveness[position].isLost = true
            voidEchoes(of: peer.id)
            lost(peer.id)
        }
    }

    /// Once a tick: a node whose disk is stuck gives up what it leads, and seeks nothing until the disk answers again.
    /// Ticks and messages go on meanwhile, which is why nobody else would notice (etcd #13527, hashicorp/raft #666).
    func watchStorage() {
        let isStuck = hasLasted(since: environment.storageBusySince(), settings.storageStallLimit)
        if isStuck, !isStorageStalled {
            storageStalls += 1
            HostCounters.add(to: inbox.counters.storageStalls)
        }
        let isNew = isStuck && !isStorageStalled || watchMaintenance()
        isStorageStalled = isStuck
        guard isStorageStalled || isMaintenanceStalled, isNew || now >= nextStallNotice else { return }
        // Before the members' own memory of it (`stallTicks`) ends.
        nextStallNotice = now + UInt64(settings.raft.stallTicks) / 2 * settings.tickInterval
        for group in groups where group.core.role != .follower || !group.core.isAsleep {
            group.step(.storageStalled, outbox: outbox)
        }
    }

    /// Writers wait for a store that no longer works off what it took in: a leader in this state stops the service of
    /// the whole cluster and would not be missed by anybody. True when it has just come to that.
    private func watchMaintenance() -> Bool {
        let since = environment.maintenanceStuckSince()
        let isStuck = hasLasted(since: since, settings.maintenanceStallLimit)
        defer { isMaintenanceStalled = isStuck }
        guard isStuck != isMaintenanceStalled else { return false }
        inbox.counters.maintenanceStalled.store(isStuck ? 1 : 0, ordering: .relaxed)
        guard isStuck, let since else { return false }
        let seconds = (now - since) / 1_000_000_000
        inbox.diagnostics.report(
            .maintenanceStalled,
            "the store's background work has finished nothing for \(seconds) s although writes wait for it; "
                + "this node gives up what it leads. Look at its disk and at its threads; a restart ends the wait")
        return true
    }

    /// True when something that began then has been going on for longer than `limit`, pauses of this process not
    /// counted.
    private func hasLasted(since: UInt64?, _ limit: UInt64) -> Bool {
        guard let since else { return false }
        let start = max(since, pauseEndedAt)
        return now > start && now - start > limit
    }
}

/// For inputs that never look at the log.
struct EmptyLogView: LogReader {
    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead { .pending }
}
