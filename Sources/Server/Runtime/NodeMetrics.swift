// A node's metrics: made once, each with its sentence. Groups' states are read from the status table when somebody asks.
import Cluster
import CoreMetrics
import Raft
import Telemetry

final class NodeMetrics: Sendable {
    private let registry = MetricsRegistry()
    private let logWrites: Histogram
    private let switches: Switches

    init(switches: Switches) {
        self.switches = switches
        logWrites = registry.histogram(
            "strata_log_write_seconds", help: "One write of log entries with its sync, as the log writer sees it.")
        MetricsSystem.bootstrap(RegistryMetricsFactory(registry: registry))
    }

    func logWrite(nanoseconds: UInt64) {
        logWrites.record(nanoseconds: nanoseconds)
    }

    /// Everything in the Prometheus text format 0.0.4.
    func exposition(gate: ServiceGate) -> String {
        var text = PrometheusText()
        let status = gate.status()
        text.family("strata_node_info", .gauge, "Who this node is and the position of each switch; always 1.")
        text.sample(
            "strata_node_info", [("node", status.nodeID), ("cluster", status.clusterID)] + switches.labels, 1)
        text.family("strata_node_healthy", .gauge, "1 when the node knows a leader and its storage works.")
        text.sample("strata_node_healthy", [], status.isHealthy ? 1 : 0)
        write(gate.groups, to: &text)
        Self.writeMemory(gate.storeMemory, groups: gate.groups, to: &text)
        return registry.exposition() + text.text
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
        ]
        guard !groups.isEmpty else { return }
        for reading in readings {
            text.family(reading.name, .gauge, reading.help)
            for (group, status) in groups {
                text.sample(reading.name, [("group", group.description)], reading.value(status))
            }
        }
    }
}
