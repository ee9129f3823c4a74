// Heartbeat and election times: checked against each other, equal on all members, and what is derived from them.
import Cluster
import Raft
import StrataProtocol
import SwiftProtobuf
import Testing

@testable import Server

@Suite struct PeerTimingTests {
    private func identity(_ heartbeat: UInt32, _ election: UInt32) -> Strata_V1_PeerIdentity {
        .with { ($0.heartbeatMilliseconds, $0.electionMilliseconds) = (heartbeat, election) }
    }

    @Test func anElectionTimeoutBelowThreeHeartbeatsIsRefused() {
        #expect(PeerTiming().problem == nil)
        #expect(PeerTiming(heartbeatMilliseconds: 100, electionMilliseconds: 300).problem == nil)
        let problem = PeerTiming(heartbeatMilliseconds: 100, electionMilliseconds: 299).problem
        #expect(problem?.contains("--election-timeout is 299 ms") == true && problem?.contains("300 ms") == true)
    }

    @Test func aMemberWithOtherTimesIsRefusedInASentenceThatNamesBoth() {
        #expect(identity(50, 150).timingRefusal(PeerTiming()) == nil)
        #expect(identity(0, 0).timingRefusal(PeerTiming()) == nil, "older versions say nothing of it")
        let reason = identity(100, 300).timingRefusal(PeerTiming())
        #expect(reason?.told.contains("--heartbeat-interval 100 and --election-timeout 300") == true)
        #expect(reason?.told.contains("50 and 150") == true)
    }

    @Test func theHostsTimesFollowAndTheStandardOnesAreAsBefore() {
        var settings = ClusterHost.Settings()
        PeerTiming().apply(to: &settings)
        #expect(settings.raft == ClusterHost.Settings().raft)
        #expect(settings.requestTimeout == ClusterHost.Settings().requestTimeout)
        PeerTiming(heartbeatMilliseconds: 500, electionMilliseconds: 3000).apply(to: &settings)
        #expect(settings.raft.heartbeatTicks == 50 && settings.raft.lossTicks == 300)
        #expect(settings.raft.retryTicks == 60..<160 && settings.requestTimeout == 18_000_000_000)
    }
}
