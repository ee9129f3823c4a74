// The control lane on its way into a TCP connection: one write at a time, so that what waits for a slow peer waits
// here, where a heartbeat can take the place of the one before it, and not in the event loop.
import Cluster
import NIOCore
import Synchronization

final class ControlLane: Sendable {
    private struct State {
        var waiting = WaitingBatches(.control)
        var isWriting = false
    }

    private let channel: any Channel
    private let state = Mutex(State())

    init(_ channel: any Channel) {
        self.channel = channel
    }

    /// Batches that did not fit.
    var dropped: UInt64 { state.withLock { $0.waiting.dropped } }

    /// Queues a batch; does not block.
    func push(_ batch: PeerBatch) {
        let isFirst = state.withLock { state in
            guard state.waiting.push(batch), !state.isWriting else { return false }
            state.isWriting = true
            return true
        }
        if isFirst { channel.eventLoop.execute { self.write() } }
    }

    /// On the event loop. After a failure the connection is about to end, and nothing is written any more.
    private func write() {
        let batches = state.withLock { state in
            let batches = state.waiting.take(batchBytesMax: PeerLimits.batchBytesMax)
            if batches.isEmpty { state.isWriting = false }
            return batches
        }
        guard let last = batches.last else { return }
        for batch in batches.dropLast() {
            channel.write(PeerFrames.frame(batch, allocator: channel.allocator), promise: nil)
        }
        channel.writeAndFlush(PeerFrames.frame(last, allocator: channel.allocator)).whenSuccess { self.write() }
    }
}
