// What a node that was away is sent when it comes back, against what it lacked: counted by the proxy, so that no node's
// own word is needed. Sending the same entries again and again is what this finds.
import LabKit

/// Bytes between the nodes since a moment.
struct CatchUpTraffic: Sendable {
    private let before: [[UInt64]]
    private let node: Int

    /// A node may be sent half as much again as it lacked.
    static let shareMax = 1.5
    /// Heartbeats, handshakes, and what was on its way twice.
    static let slackBytes: UInt64 = 1 << 20
    /// Sending goes on for a moment after a node has caught up.
    static let settleSeconds = 1.0

    /// Begins to count.
    init(to node: Int, bytes: [[UInt64]]) {
        self.node = node
        before = bytes
    }

    /// The bytes to the node until now, and what one of the others was sent meanwhile: every entry of every group once,
    /// and the answers of followers. Nodes that lead some groups send these to the others, so that all that passed
    /// among the others counts, divided by how many of them received each entry.
    func catchUp(_ bytes: [[UInt64]]) -> ChaosResult.CatchUp {
        var (sent, among): (UInt64, UInt64) = (0, 0)
        for from in bytes.indices where from != node {
            for to in bytes.indices where to != from {
                let count = bytes[from][to] - min(bytes[from][to], before[from][to])
                if to == node { sent += count } else { among += count }
            }
        }
        let lacked = among / UInt64(max(1, bytes.count - 2))
        let bound = UInt64(Double(lacked) * Self.shareMax) + Self.slackBytes
        return ChaosResult.CatchUp(sentBytes: sent, lackedBytes: lacked, boundBytes: bound)
    }
}
