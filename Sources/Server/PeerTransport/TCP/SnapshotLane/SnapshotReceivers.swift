// The incoming connections of the snapshot lane: one for each peer, the newest. Must not outlive the node.
import Cluster
import Logging
import NIOCore
import Raft
import Synchronization

final class SnapshotReceivers: Sendable {
    private struct State {
        var receivers: [NodeID: (number: Int, receiver: FrameReceiver)] = [:]
        var lastNumber = 0
        var hasStopped = false
    }

    private let inbox: HostInbox
    private let logger: Logger
    private let state = Mutex(State())

    init(inbox: HostInbox, logger: Logger) {
        self.inbox = inbox
        self.logger = logger
    }

    /// Posts a peer's frames to the host until its connection ends. An older one of the same peer is ended: its other
    /// end may be gone without a word, and its end is no news.
    func receive(from peer: NodeID, over socket: FrameSocket, rest: ByteBuffer) {
        // Begun under the lock, so that even one that ends at once is known before it is forgotten.
        let earlier = state.withLock { state -> FrameReceiver? in
            state.lastNumber += 1
            let receiver = begin(peer, state.lastNumber, socket, rest)
            if state.hasStopped { return receiver }
            return state.receivers.updateValue((state.lastNumber, receiver), forKey: peer)?.receiver
        }
        earlier?.stop()
    }

    private func begin(_ peer: NodeID, _ number: Int, _ socket: FrameSocket, _ rest: ByteBuffer) -> FrameReceiver {
        FrameReceiver(socket, rest: rest, name: "strata-receive") { [inbox] frame in
            switch frame {
            case .batch(let messages): inbox.post(.received(from: peer, messages: messages), lane: .snapshot)
            case .piece(let piece): inbox.post(.receivedPiece(from: peer, piece), lane: .snapshot)
            }
        } ended: { [weak self, inbox, logger] failure in
            self?.forget(peer, number)
            if let failure {
                logger.debug("a peer's snapshot lane broke", metadata: ["peer": "\(peer)", "why": "\(failure)"])
            }
            inbox.post(.disconnected(peer), lane: .control)
        }
    }

    /// Lets go of a connection that has ended, unless there is a newer one.
    private func forget(_ peer: NodeID, _ number: Int) {
        state.withLock { state in
            if state.receivers[peer]?.number == number { state.receivers[peer] = nil }
        }
    }

    func stop() {
        let receivers = state.withLock { state in
            state.hasStopped = true
            return state.receivers.values.map(\.receiver)
        }
        for receiver in receivers { receiver.stop() }
    }
}
