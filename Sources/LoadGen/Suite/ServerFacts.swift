// What the servers say of their own switches, so that a number carries what really ran and not what was asked for.
import LabKit

/// Labels of `strata_node_info` on a node's /metrics.
struct ServerFacts: Hashable, Sendable {
    var backend = ServerFacts.unknown
    var allocator = ServerFacts.unknown
    var durability = ServerFacts.unknown
    var engine = ServerFacts.unknown
    var transport = ServerFacts.unknown

    /// Nil when the disks are left alone.
    var fault: String?

    static let unknown = "unknown"
    private static let metric = "strata_node_info"

    static func ask(_ probe: NodeProbe) -> ServerFacts {
        guard let body = probe.get("/metrics", seconds: 2) else { return ServerFacts() }
        return parse(String(decoding: body, as: UTF8.self))
    }

    static func parse(_ metrics: String) -> ServerFacts {
        var facts = ServerFacts()
        guard let line = metrics.split(separator: "\n").first(where: { $0.hasPrefix(metric + "{") }),
            let end = line.lastIndex(of: "}")
        else { return facts }
        // Values of these labels are plain words: no quotes, commas or escapes.
        for pair in line[line.index(line.startIndex, offsetBy: metric.count + 1)..<end].split(separator: ",") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let value = String(parts[1].drop { $0 == "\"" }.prefix { $0 != "\"" })
            switch parts[0] {
            case "backend": facts.backend = value
            case "allocator": facts.allocator = value
            case "durability": facts.durability = value
            case "engine": facts.engine = value
            case "transport": facts.transport = value
            case "fault": facts.fault = value
            default: break
            }
        }
        return facts
    }
}
