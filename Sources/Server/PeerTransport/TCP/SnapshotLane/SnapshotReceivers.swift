// The incoming connections of the snapshot lane: one for each peer, the newest. Must not outlive the node.
import Cluster
import Logging
import NIOCore
import Raft
import Synchronization

final class SnapshotReceivers: Sendable {
    private struct State {
        var receivers: [NodeID: FrameReceiver] = [:]
        var hasStopped = false
    }

    private let inbox: HostInbox
    private let logger: Logger
    private let state = Mutex(State())

    init(inbox: HostInbox, logger: Logger) {
        self.inbox = inbox
        self.logger = logger
    }

    /// Posts a peer's frames to the host until its connection ends. An older one of the same peer is ended: its other end may
    /// be gone without a word, and its end is no news.
    func receive(from peer: NodeID, over socket: FrameSocket, rest: ByteBuffer) {
        let receiver = FrameReceiver(socket, rest: rest, name: "strata-receive") { [inbox] frame in
            switch frame {
            case .batch(let messages): inbox.post(.received(from: peer, messages: messages), lane: .snapshot)
            case .piece(let piece): inbox.post(.receivedPiece(from: peer, piece), lane: .snapshot)
            }
        } ended: { [inbox, logger] failure in
            if let failure {
                logger.debug("a peer's snapshot lane broke", metadata: ["peer": "\(peer)", "why": "\(failure)"])
            }
            inbox.post(.disconnected(peer), lane: .control)
        }
        let earlier = state.withLock { state in
            let earlier = state.hasStopped ? receiver : state.receivers[peer]
            state.receivers[peer] = receiver
            return earlier
        }
        earlier?.stop()
    }

    func stop() {
        let receivers = state.withLock { state in
            state.hasStopped = true
            return Array(state.receivers.values)
        }
        for receiver in receivers { receiver.stop() }
    }
}
