// Messages for one peer on one lane, between the host's thread, which must not wait, and a stream, which may. Bounded in
// bytes: what does not fit is dropped, as a network would, and Raft repeats it.
import Synchronization

final class LaneQueue: Sendable {
    private struct State {
        var batches: [[UInt8]] = []
        var bytes = 0
        var dropped: UInt64 = 0
    }

    private let bytesMax: Int
    private let state = Mutex(State())
    private let signal: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
        (signal, ring) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Batches that did not fit.
    var dropped: UInt64 { state.withLock { $0.dropped } }

    func push(_ batch: [UInt8]) {
        let queued = state.withLock { state in
            guard state.bytes + batch.count <= bytesMax else {
                state.dropped += 1
                return false
            }
            state.batches.append(batch)
            state.bytes += batch.count
            return state.batches.count == 1
        }
        if queued { ring.yield() }
    }

    /// Everything queued, joined into batches of at most `batchBytesMax` unless a single one is larger.
    func take(batchBytesMax: Int) -> [[UInt8]] {
        let batches = state.withLock { state in
            let batches = state.batches
            state.batches = []
            state.bytes = 0
            return batches
        }
        guard batches.count > 1 else { return batches }
        var joined: [[UInt8]] = []
        for batch in batches {
            if let last = joined.last, last.count + batch.count <= batchBytesMax {
                joined[joined.count - 1].append(contentsOf: batch)
            } else {
                joined.append(batch)
            }
        }
        return joined
    }

    /// Ticks whenever something was queued. One consumer at a time.
    var arrivals: AsyncStream<Void> { signal }
}
