// Whether all nodes of a cluster hold the same state: the hash that each gives of each group's replicated state,
// compared at the same applied index. Asks, never changes anything.
import Foundation
import LabKit

struct StateHashes: Hashable, Sendable {
    private struct Answer: Decodable {
        var applied: UInt64
        var hash: String
    }

    /// Every group of the cluster, as the metrics and `/hash` name them.
    private var groups: [String] = []
    private var nodes = 0

    /// By node, then by group: `<applied index>:<hash>`.
    private(set) var byNode: [String: [String: String]] = [:]

    static func ask(_ cluster: EmbeddedCluster) -> StateHashes {
        var hashes = StateHashes()
        hashes.nodes = cluster.nodes.count
        let metrics = cluster.nodes.first?.probe.get("/metrics", seconds: 2).map { String(decoding: $0, as: UTF8.self) }
        hashes.groups = ElectionWatch.terms(metrics ?? "").compactMap { label in
            label.group.split(separator: "\"").dropFirst().first.map(String.init)
        }
        for node in cluster.nodes {
            for group in hashes.groups {
                guard let body = node.probe.get("/hash?group=\(group)", seconds: 5),
                    let answer = try? JSONDecoder().decode(Answer.self, from: Data(body))
                else { continue }
                hashes.byNode[node.name, default: [:]][group] = "\(answer.applied):\(answer.hash)"
            }
        }
        return hashes
    }

    /// Somebody gave a hash at all.
    var isKnown: Bool { !byNode.isEmpty }

    /// Every node gave a hash of every group, and they are equal.
    var agree: Bool {
        guard let first = byNode.first?.value, !groups.isEmpty, first.count == groups.count else { return false }
        return byNode.count == nodes && byNode.values.allSatisfy { $0 == first }
    }

    var summary: String {
        guard isKnown else { return "no node gave one" }
        let states = byNode.keys.sorted().map { name in
            "\(name) "
                + (byNode[name] ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
                .joined(separator: " ")
        }
        return (agree ? "equal on \(nodes) nodes: " : "DIFFERENT: ") + states.joined(separator: ", ")
    }
}
