// Messages for one peer on one lane, between the host's thread, which must not wait, and a stream, which may. Bounded
// in bytes: what does not fit is dropped, as a network would, and Raft repeats it.
import Cluster
import Synchronization

final class LaneQueue: Sendable {
    private let state: Mutex<WaitingBatches>
    private let signal: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation

    init(_ lane: PeerLane) {
        state = Mutex(WaitingBatches(lane))
        (signal, ring) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Batches that did not fit.
    var dropped: UInt64 { state.withLock { $0.dropped } }

    func push(_ batch: PeerBatch) {
        let isFirst = state.withLock { $0.push(batch) && $0.count == 1 }
        if isFirst { ring.yield() }
    }

    /// Everything queued, joined into batches of at most `batchBytesMax` unless a single one is larger.
    func take(batchBytesMax: Int) -> [[UInt8]] {
        state.withLock { $0.take(batchBytesMax: batchBytesMax) }
    }

    /// Ticks whenever something was queued. One consumer at a time.
    var arrivals: AsyncStream<Void> { signal }
}
