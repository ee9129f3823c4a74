// Holding writers back while the store is behind: smoothly, by the time that it asks for after each batch it applied, so that
// a leader seldom meets the cliff of `needsBackpressure`. Only proposals wait; ticks, messages and reads never do.
import Raft

extension Group {
    /// The longest that one turn's debt holds proposals back; far below the time at which clients give up.
    static let holdMax: UInt64 = 1_000_000_000

    /// Takes over what the store asked for since the last time. Followers have no proposals to hold.
    func holdBack(now: UInt64) {
        let owed = machine.takeWriteDelay()
        guard owed > 0, core.role == .leader else { return }
        let start = max(heldUntil, now)
        heldUntil = min(start + owed, now + Self.holdMax)
        if let counters, heldUntil > start { HostCounters.add(heldUntil - start, to: counters.heldNanoseconds) }
    }

    func note(_ softState: SoftState) {
        softStateChanged = true
        guard let counters else { return }
        if softState.role == .candidate { HostCounters.add(to: counters.candidacies) }
        if softState.role == .leader { HostCounters.add(to: counters.leaderships) }
    }

    func note(answered entry: PendingEntry) {
        guard let counters else { return }
        let commands = entry.proposals.reduce(UInt64(0)) { $0 + UInt64($1.proposal.operations) }
        HostCounters.add(commands, to: counters.committedCommands)
    }
}
