// When proposals wait a moment. Together with others for the disk and the quorum; and while the store is behind:
// smoothly, by the time that it asks for after each batch it applied, so that a leader seldom meets the cliff of
// `needsBackpressure`. Only proposals wait; ticks, messages and reads never do.
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

    /// What is proposed while the log writer is busy, or while many writes wait for their quorum, gains by going
    /// together: fewer syncs and messages for the same writes. Waits for that, and for no slow disk or far member
    /// longer than this.
    static let gatherNanoseconds: UInt64 = 500_000
    /// Commands on their way from which on others wait for them.
    static let gatherCommands = 16

    /// True while proposals should wait for those before them; the group gets its turn when the time is over.
    func mustGather(now: UInt64) -> Bool {
        guard gains else {
            gatherUntil = 0
            return false
        }
        if gatherUntil == 0 { gatherUntil = now + Self.gatherNanoseconds }
        guard now < gatherUntil else {
            gatherUntil = 0
            return false
        }
        schedule?.hold(self)
        return true
    }

    /// Proposals wait, and nothing is left to wait for.
    var hasGathered: Bool { gatherUntil > 0 && !proposals.isEmpty && !gains }

    private var gains: Bool {
        !awaiting.isEmpty || pending.reduce(0) { $0 + $1.proposals.count } >= Self.gatherCommands
    }

    /// When the proposals that are held may go on.
    var releaseAt: UInt64 { max(heldUntil, gatherUntil) }

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
