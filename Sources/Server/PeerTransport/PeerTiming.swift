// The two times that all members of a cluster must be set to alike: promises that leases rest on count by them. They
// are said in every handshake; a node that was set otherwise is refused, by both sides.
import Cluster
import Raft
import StrataProtocol

/// How often a leader is heard, and after how long it is missed.
struct PeerTiming: Hashable, Sendable {
    var heartbeatMilliseconds = 50
    var electionMilliseconds = 150

    /// A leader must be heard so many times before it may be missed.
    static let heartbeatsPerElectionMin = 3
    /// Length of the host's tick; shorter times are rounded up to it.
    private static let tickMilliseconds = 10

    /// Why these don't go together; nil when they do.
    var problem: String? {
        guard electionMilliseconds < Self.heartbeatsPerElectionMin * heartbeatMilliseconds else { return nil }
        return "--election-timeout is \(electionMilliseconds) ms and --heartbeat-interval \(heartbeatMilliseconds) ms: "
            + "a leader must be heard \(Self.heartbeatsPerElectionMin) times before it is missed; make the first at least "
            + "\(Self.heartbeatsPerElectionMin * heartbeatMilliseconds) ms, or the second at most "
            + "\(electionMilliseconds / Self.heartbeatsPerElectionMin) ms"
    }

    /// Sets a host's times, and those that stand in a fixed relation to them.
    func apply(to settings: inout ClusterHost.Settings) {
        func ticks(_ milliseconds: Int) -> Int { (milliseconds + Self.tickMilliseconds - 1) / Self.tickMilliseconds }
        let standard = RaftCore.Settings()
        let loss = ticks(electionMilliseconds)
        settings.raft.heartbeatTicks = ticks(heartbeatMilliseconds)
        settings.raft.lossTicks = loss
        settings.raft.retryTicks =
            max(
                1, standard.retryTicks.lowerBound * loss / standard.lossTicks)..<max(
                2, standard.retryTicks.upperBound * loss / standard.lossTicks)
        settings.raft.readForwardTicks = loss
        settings.raft.stallTicks = max(standard.stallTicks, 2 * loss)
        // Room for two elections within a request's time.
        settings.requestTimeout = max(settings.requestTimeout, UInt64(electionMilliseconds) * 6_000_000)
    }
}

extension Strata_V1_PeerIdentity {
    /// Why a node that says this of itself can't be a peer of one with `own` times. Older versions say nothing of them.
    func timingRefusal(_ own: PeerTiming) -> PeerRefusalReason? {
        guard heartbeatMilliseconds != 0 || electionMilliseconds != 0 else { return nil }
        guard
            Int(heartbeatMilliseconds) != own.heartbeatMilliseconds
                || Int(electionMilliseconds) != own.electionMilliseconds
        else { return nil }
        let text =
            "it was started with --heartbeat-interval \(heartbeatMilliseconds) and --election-timeout "
            + "\(electionMilliseconds), this node with \(own.heartbeatMilliseconds) and \(own.electionMilliseconds): these "
            + "are equal on all members; to change them, stop all members and start all with the new ones"
        return PeerRefusalReason(why: text, told: text)
    }
}
