// How long messages to the other nodes and back take, and the election times that follow from it: a candidacy must
// outlast its answers, and a leader must not miss a quorum whose answers are on their way (Jacobson's estimate, RFC
// 6298). Measured between nodes, so that an idle node knows it too. Times only grow beyond what was set; leases and
// promises count by what was set, which is equal on all members.
import Raft
import Synchronization

/// What is known of the way to one peer and back.
struct RoundTrip {
    let peer: NodeID
    private(set) var smoothed: UInt64 = 0
    private var deviation: UInt64 = 0
    private var isMeasured = false
    /// Answers to questions from before are void: this node or the peer stood still meanwhile.
    var voidBefore: UInt64 = 0

    init(peer: NodeID) { self.peer = peer }

    /// Within so many nanoseconds an answer comes, nearly always.
    var answerTime: UInt64 { smoothed + 4 * deviation }

    mutating func note(_ sample: UInt64) {
        guard isMeasured else {
            (smoothed, deviation, isMeasured) = (sample, sample / 2, true)
            return
        }
        let error = sample > smoothed ? sample - smoothed : smoothed - sample
        deviation = (3 * deviation + error) / 4
        smoothed = (7 * smoothed + sample) / 8
    }
}

extension ClusterHost {
    /// Between two questions to the peers, in nanoseconds: while something happens, and else.
    static let echoInterval: UInt64 = 200_000_000
    static let idleEchoInterval: UInt64 = 1_000_000_000
    /// The loss time grows to so many times what was set.
    static let paceMax = 20
    /// A longer way is none: what answers later than this is not counted on.
    static let roundTripMax: UInt64 = 10_000_000_000

    /// With the beats: asks every peer that is alive.
    func askEchoes(of peers: [NodeID]) {
        guard now >= nextEcho else { return }
        nextEcho = now + (schedule.awake.isEmpty ? Self.idleEchoInterval : Self.echoInterval)
        for peer in peers where peerLiveness.contains(where: { $0.id == peer && !$0.isLost }) {
            outbox.addEcho(time: now, isAnswer: false, from: member.id, to: peer)
        }
        updatePace()
    }

    func receiveEcho(time: UInt64, isAnswer: Bool, from peer: NodeID) {
        guard isAnswer else {
            outbox.addEcho(time: time, isAnswer: true, from: member.id, to: peer)
            return
        }
        // The number comes from outside.
        guard time <= now, now - time <= Self.roundTripMax else { return }
        let position = roundTripPosition(of: peer)
        if time >= roundTrips[position].voidBefore { roundTrips[position].note(now - time) }
    }

    /// The peer, or this node, stood still: what comes late says nothing about the way.
    func voidEchoes(of peer: NodeID) {
        roundTrips[roundTripPosition(of: peer)].voidBefore = now
    }

    private func roundTripPosition(of peer: NodeID) -> Int {
        if let position = roundTrips.firstIndex(where: { $0.peer == peer }) { return position }
        roundTrips.append(RoundTrip(peer: peer))
        return roundTrips.count - 1
    }

    /// Lets the groups' times follow what was measured; small changes are not worth it.
    private func updatePace() {
        let alive = roundTrips.filter { way in peerLiveness.contains { $0.id == way.peer && !$0.isLost } }
        let longest = alive.map(\.answerTime).max() ?? 0
        // A tick for the turns at both ends; on a near network that is all.
        let ticks = Int(longest / settings.tickInterval) + 1
        guard ticks > answerTicks || ticks < answerTicks - answerTicks / 4 else { return }
        answerTicks = ticks
        let settled = RaftCore.Pace(
            settings.raft, answerTicks: ticks, lossTicksMax: settings.raft.lossTicks * Self.paceMax)
        guard settled != pace else { return }
        pace = settled
        for group in groups { group.core.setPace(pace) }
        let milliseconds = UInt64(pace.lossTicks) * settings.tickInterval / 1_000_000
        inbox.counters.lossMilliseconds.store(milliseconds, ordering: .relaxed)
    }
}
