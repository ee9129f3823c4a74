// The host's own counters in the Prometheus text format.
import Cluster
import Synchronization
import Telemetry

extension HostCounters {
    func write(to text: inout PrometheusText) {
        func write(
            _ name: String, _ kind: PrometheusText.Kind, _ help: String, _ value: borrowing Atomic<UInt64>,
            scale: Double = 1
        ) {
            text.family(name, kind, help)
            text.sample(name, [], Double(value.load(ordering: .relaxed)) * scale)
        }
        write(
            "strata_raft_candidacies_total", .counter, "Times that a group of this node stood for election.",
            candidacies)
        write(
            "strata_raft_leaderships_total", .counter, "Times that a group of this node won an election.", leaderships)
        write("strata_host_pauses_total", .counter, "Gaps between turns that were longer than a few ticks.", pauses)
        write("strata_storage_stalls_total", .counter, "Times that the log's disk was stuck.", storageStalls)
        write(
            "strata_raft_election_timeout_seconds", .gauge,
            "After so long without its leader a group elects another: what was set, or more where messages need it.",
            lossMilliseconds, scale: 1e-3)
        write(
            "strata_maintenance_stalled", .gauge,
            "1 while the store's background work finishes nothing although writes wait for it.", maintenanceStalled)
        write(
            "strata_committed_commands_total", .counter,
            "Commands that clients were told are committed, by this node as leader.", committedCommands)
        write("strata_reads_total", .counter, "Reads that asked the leader for confirmation or by its lease.", reads)
        write("strata_lease_reads_total", .counter, "Reads answered by the leader's lease.", leaseReads)
        text.family("strata_peer_sent_bytes_total", .counter, "Bytes of messages to each other node.")
        for (peer, bytes) in peerBytes.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
            text.sample("strata_peer_sent_bytes_total", [("peer", peer)], Double(bytes))
        }
        write(
            "strata_writes_held_seconds_total", .counter, "Time for which writes were held back for the store.",
            heldNanoseconds, scale: 1e-9)
        write("strata_host_waiting_requests", .gauge, "Requests that wait for a leader or a quorum.", waitingRequests)
        write("strata_raft_inflight_bytes", .gauge, "Bytes of entries sent and not acknowledged.", bytesInFlight)
        write("strata_groups_awake", .gauge, "Groups whose timers run; the others sleep.", groupsAwake)
    }
}
