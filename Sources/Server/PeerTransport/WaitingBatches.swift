// Batches that wait for a connection, oldest first, bounded in bytes. A heartbeat takes the place of the one before it
// that still waits, so that a peer which stood still, or a way that was cut, finds one of each kind and group.
import Cluster

struct WaitingBatches {
    private struct Waiting {
        var batch: PeerBatch
        /// What it holds, when that is heartbeats only.
        var heartbeats: Set<HeartbeatKey>?
    }

    private let bytesMax: Int
    private let replacesHeartbeats: Bool
    private var waiting: [Waiting] = []
    private(set) var bytes = 0
    private(set) var dropped: UInt64 = 0

    /// - Parameters:
    ///   - bytesMax: what exceeds it is dropped.
    ///   - replacesHeartbeats: for a lane that carries any.
    init(bytesMax: Int, replacesHeartbeats: Bool) {
        self.bytesMax = bytesMax
        self.replacesHeartbeats = replacesHeartbeats
    }

    init(_ lane: PeerLane) {
        self.init(bytesMax: PeerLimits.waitingBytesMax(lane), replacesHeartbeats: lane == .control)
    }

    var count: Int { waiting.count }

    /// False when it was dropped.
    mutating func push(_ batch: PeerBatch) -> Bool {
        let heartbeats = replacesHeartbeats ? HeartbeatKey.all(in: batch.joined) : nil
        if let heartbeats { removeReplaced(by: heartbeats) }
        guard bytes + batch.byteCount <= bytesMax else {
            dropped += 1
            return false
        }
        waiting.append(Waiting(batch: batch, heartbeats: heartbeats))
        bytes += batch.byteCount
        return true
    }

    /// Everything that waits, joined into batches of at most `batchBytesMax` unless a single one is larger.
    mutating func take(batchBytesMax: Int) -> [[UInt8]] {
        let batches = waiting
        waiting = []
        bytes = 0
        var joined: [[UInt8]] = []
        for batch in batches.map(\.batch.joined) {
            if let last = joined.last, last.count + batch.count <= batchBytesMax {
                joined[joined.count - 1].append(contentsOf: batch)
            } else {
                joined.append(batch)
            }
        }
        return joined
    }

    private mutating func removeReplaced(by heartbeats: Set<HeartbeatKey>) {
        waiting.removeAll { earlier in
            guard let held = earlier.heartbeats, held.isSubset(of: heartbeats) else { return false }
            bytes -= earlier.batch.byteCount
            return true
        }
    }
}
