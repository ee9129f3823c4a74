// Lease reads (thesis §6.4.1), opt-in: for a while after a majority answered a heartbeat, counted from when it was
// *sent*, nobody else can lead, so that the leader may answer reads alone. This rests on clocks of nearly equal speed
// and on the members' promise not to help another candidate. It must never outlive a transfer of leadership, a pause of
// the process, a stalled disk or a change of the members.

/// The leader's lease; times in ticks.
struct Lease: Hashable, Sendable {
    struct Round: Hashable, Sendable {
        var sequence: UInt64
        var age: Int
    }
    /// Sent and not confirmed by a majority; ascending, at most one per tick.
    private var rounds: [Round] = []
    /// Since the newest round that a majority confirmed was sent.
    private(set) var age: Int?
    /// An order to campaign may be on its way to a member whose log ends here. It can't win once a later entry is
    /// committed.
    var voidThrough: LogIndex?

    /// Shorter than the members' promise by a fifth for clocks of unequal speed, and by the ticks that had begun.
    static func ticks(_ settings: RaftCore.Settings) -> Int { settings.lossTicks * 4 / 5 - 1 }

    mutating func noteRound(_ sequence: UInt64) {
        // A later round of the same tick proves no more than the first.
        if rounds.last?.age == 0 { return }
        rounds.append(Round(sequence: sequence, age: 0))
    }

    mutating func extend(through sequence: UInt64) {
        while let oldest = rounds.first, oldest.sequence <= sequence {
            age = Mutant.isOn(.leaseFromReceipt) ? 0 : oldest.age
            rounds.removeFirst()
        }
    }

    mutating func tick(_ settings: RaftCore.Settings) {
        let length = Self.ticks(settings)
        if let known = age { age = known + 1 < length ? known + 1 : nil }
        if Mutant.isOn(.leaseFromReceipt) { return }
        for position in rounds.indices { rounds[position].age += 1 }
        while let oldest = rounds.first, oldest.age >= length { rounds.removeFirst() }
    }

    /// Nothing that was sent before now counts.
    mutating func void() {
        rounds.removeAll()
        age = nil
    }
}

extension RaftCore {
    /// True while this leader may answer reads without asking. A host asks again after it read the value.
    public var holdsLease: Bool {
        guard settings.leaseReads, settings.checkQuorum, hasCommittedInTerm, !isAsleep else { return false }
        if quorum.isSole(id) { return true }
        guard let age = lease.age, age < Lease.ticks(settings) else { return false }
        if Mutant.isOn(.leaseSurvivesTransfer) { return true }
        // TimeoutNow makes voters ignore their promise, and it may arrive after the transfer was given up.
        guard transferTarget == nil else { return false }
        return lease.voidThrough.map { commitIndex > $0 } ?? true
    }

    /// What a voter owes the leader it last heard: to help nobody else for the loss time, whatever it has learned
    /// since. It counts from the start of the process too, because a restart forgets whom it heard.
    var isPromised: Bool { settings.leaseReads && promiseElapsed < settings.lossTicks }

    mutating func leaseRead(context: UInt64, _ ready: inout Ready) {
        if holdsLease {
            ready.reads.append(ReadState(context: context, index: commitIndex))
        } else {
            readIndex(context: context, from: id, &ready)
        }
    }

    mutating func voidLease() {
        if Mutant.isOn(.leaseSurvivesPause) { return }
        lease.void()
    }
}
