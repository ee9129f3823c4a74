// A node's metrics: made once, each with its sentence. Groups' states are read from the status table when somebody
// asks.
import Cluster
import CoreMetrics
import Raft
import Telemetry

final class NodeMetrics: Sendable {
    private let registry = MetricsRegistry()
    private let logWrites: Histogram
    private let logSyncs: Telemetry.Counter
    private let turns: Histogram
    private let switches: Switches

    init(switches: Switches) {
        self.switches = switches
        logWrites = registry.histogram(
            "strata_log_write_seconds", help: "One write of log entries with its sync, as the log writer sees it.")
        logSyncs = registry.counter(
            "strata_log_syncs_total", help: "Durable writes of the log writers: entries, terms and votes.")
        turns = registry.histogram(
            "strata_host_turn_seconds",
            help: "One turn of the host's thread; while it runs, no tick or message is heard.")
        MetricsSystem.bootstrap(RegistryMetricsFactory(registry: registry))
    }

    func logWrite(nanoseconds: UInt64, syncs: Int) {
        logWrites.record(nanoseconds: nanoseconds)
        logSyncs.increment(by: UInt64(syncs))
    }

    func turn(nanoseconds: UInt64) {
        turns.record(nanoseconds: nanoseconds)
    }

    /// Everything in the Prometheus text format 0.0.4.
    func exposition(gate: ServiceGate, host: HostCounters, diagnostics: Diagnostics) -> String {
        var text = PrometheusText()
        let status = gate.status()
        text.family("strata_node_info", .gauge, "Who this node is and the position of each switch; always 1.")
        text.sample(
            "strata_node_info", [("node", status.nodeID), ("cluster", status.clusterID)] + switches.labels, 1)
        text.family("strata_node_healthy", .gauge, "1 when the node knows a leader and its storage works.")
        text.sample("strata_node_healthy", [], status.isHealthy ? 1 : 0)
        let groups = gate.groups
        write(groups, to: &text)
        writeSums(groups, to: &text)
        write(gate.outages, to: &text)
        Self.writeMemory(gate.storeMemory, groups: groups, to: &text)
        host.write(to: &text)
        diagnostics.write(to: &text)
        if let snapshots = gate.snapshots { write(snapshots, to: &text) }
        return registry.exposition() + text.text
    }

    /// Groups that are named one by one; beyond that only the controller and the key-value group are, and sums for all.
    static let namedGroupsMax = 18

    private func writeSums(_ groups: [(group: GroupID, status: GroupStatus)], to text: inout PrometheusText) {
        let statuses = groups.map(\.status)
        let commitLag = statuses.map { $0.lastIndex - min($0.lastIndex, $0.commitIndex) }.max() ?? 0
        let applyLag = statuses.map { $0.commitIndex - min($0.commitIndex, $0.appliedIndex) }.max() ?? 0
        let readings: [(String, String, Double)] = [
            ("strata_groups", "Raft groups on this node.", Double(groups.count)),
            ("strata_groups_led", "Groups that this node leads.", Double(statuses.count { $0.role == .leader })),
            ("strata_groups_leaderless", "Groups without a known leader.", Double(statuses.count { $0.leader == nil })),
            (
                "strata_commit_lag_max", "Entries of the group that has most of them not known committed.",
                Double(commitLag)
            ),
            (
                "strata_apply_lag_max", "Committed entries of the group that has most of them not applied.",
                Double(applyLag)
            ),
        ]
        for (name, help, value) in readings {
            text.family(name, .gauge, help)
            text.sample(name, [], value)
        }
    }

    /// How many groups are out of service, and the first of them by name.
    private func write(_ outages: [GroupOutage], to text: inout PrometheusText) {
        text.family("strata_groups_unavailable", .gauge, "Groups that are out of service on this node.")
        text.sample("strata_groups_unavailable", [], Double(outages.count))
        guard !outages.isEmpty else { return }
        text.family(
            "strata_group_unavailable", .gauge, "A group that is out of service on this node, and why; always 1.")
        for outage in outages.prefix(Self.namedGroupsMax) {
            text.sample(
                "strata_group_unavailable",
                [("group", outage.group.description), ("name", outage.name), ("reason", outage.reason)], 1)
        }
    }

    private func write(_ groups: [(group: GroupID, status: GroupStatus)], to text: inout PrometheusText) {
        typealias Reading = (name: String, help: String, value: (GroupStatus) -> Double)
        let readings: [Reading] = [
            ("strata_raft_leader", "1 on the node that leads the group.", { $0.role == .leader ? 1 : 0 }),
            ("strata_raft_term", "Current term of the group.", { Double($0.term) }),
            ("strata_raft_commit_index", "Newest entry known to be committed.", { Double($0.commitIndex) }),
            (
                "strata_raft_applied_index", "Newest entry that the state machine has applied.",
                { Double($0.appliedIndex) }
            ),
            ("strata_raft_last_index", "Newest entry of the group's log.", { Double($0.lastIndex) }),
            ("strata_raft_first_index", "Oldest entry that the group's log still has.", { Double($0.firstIndex) }),
        ]
        // One series for each partition of a node with thousands would drown whoever scrapes it.
        let named = groups.count <= Self.namedGroupsMax ? groups : groups.filter { $0.group < .firstPartition }
        guard !named.isEmpty else { return }
        for reading in readings {
            text.family(reading.name, .gauge, reading.help)
            for (group, status) in named {
                text.sample(reading.name, [("group", group.description)], reading.value(status))
            }
        }
    }

    private func write(_ snapshots: SnapshotCounters, to text: inout PrometheusText) {
        let readings: [(name: String, help: String, value: UInt64)] = [
            ("strata_snapshots_sent_total", "Snapshots that another member has installed.", snapshots.sent),
            ("strata_snapshots_received_total", "Snapshots installed on this node.", snapshots.received),
            ("strata_snapshots_failed_total", "Transfers that ended without an installed snapshot.", snapshots.failed),
            ("strata_snapshot_sent_bytes_total", "Bytes of snapshots handed to the network.", snapshots.bytesSent),
            ("strata_snapshot_received_bytes_total", "Bytes of snapshots written here.", snapshots.bytesReceived),
            ("strata_log_compactions_total", "Times that the beginning of a log was dropped.", snapshots.compactions),
        ]
        for reading in readings {
            text.family(reading.name, .counter, reading.help)
            text.sample(reading.name, [], Double(reading.value))
        }
    }
}
