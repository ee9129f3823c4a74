// Messages of one turn on their way out, one buffer for each peer and lane, so that a turn sends at most a few batches
// however many groups had something to say.
import Raft
import SegmentedLog

final class Outbox {
    /// A bulk batch is handed over when it has grown beyond this, to bound what a transport must buffer at once.
    static let batchBytesMax = 4 * 1024 * 1024

    private struct Peer {
        var id: NodeID
        var control = ByteWriter()
        var bulk = PeerBatchWriter()
        /// Handed to the transport so far.
        var bytesSent: UInt64 = 0
    }

    /// Grows as peers come; those that went stay, empty.
    private var peers: [Peer] = []
    private let environment: any HostEnvironment

    /// Bytes handed to the transport so far, by peer.
    var bytesSent: [(peer: NodeID, bytes: UInt64)] { peers.map { ($0.id, $0.bytesSent) } }

    init(environment: any HostEnvironment) {
        self.environment = environment
    }

    private func position(of peer: NodeID) -> Int {
        if let position = peers.firstIndex(where: { $0.id == peer }) { return position }
        peers.append(Peer(id: peer))
        return peers.count - 1
    }

    /// Encodes a message of a group, with its frames when it carries entries.
    func add(_ message: Message, of group: Group) {
        let position = position(of: message.to)
        guard let first = message.entries.first, let last = message.entries.last else {
            // An order that names a log end is obeyed by a member that has it: it must not overtake the entries.
            if message.kind == .timeoutNow, message.index > group.core.matchIndex(of: message.to) ?? 0 {
                PeerCodec.encode(message, group: group.id, frames: FrameBatch(), into: &peers[position].bulk.end)
                return
            }
            // An empty append behind entries that are not acknowledged stays behind them on the way too: what overtakes
            // them is refused, and they would be sent again. So would what an open connection still holds if a probe
            // overtook it.
            if message.kind == .append,
                group.core.isProbing(message.to) || message.index > group.core.matchIndex(of: message.to) ?? 0
            {
                PeerCodec.encode(message, group: group.id, frames: FrameBatch(), into: &peers[position].bulk.end)
                return
            }
            PeerCodec.encode(message, group: group.id, frames: FrameBatch(), into: &peers[position].control)
            return
        }
        // Frames that have left memory meanwhile: the follower's answer to the next message makes the core go back.
        guard
            let frames = group.tail.frames(from: first.index, through: last.index)
                ?? group.catchUp.frames(from: first.index, through: last.index)
        else { return }
        peers[position].bulk.add(message, of: group.id, frames: frames)
        if peers[position].bulk.byteCount >= Self.batchBytesMax { sendBulk(position) }
    }

    func add(_ forward: ForwardedProposal, to peer: NodeID) {
        let position = position(of: peer)
        PeerCodec.encode(forward, into: &peers[position].bulk.end)
    }

    func add(_ request: TransferRequest, to peer: NodeID) {
        let position = position(of: peer)
        PeerCodec.encode(request, into: &peers[position].control)
    }

    func add(_ result: ForwardedResult, to peer: NodeID) {
        let position = position(of: peer)
        PeerCodec.encode(result, into: &peers[position].control)
    }

    /// Shows these peers that this node is alive, where nothing else is on its way to do so.
    func addBeats(to members: some Sequence<NodeID>) {
        for peer in members {
            let position = position(of: peer)
            guard peers[position].control.bytes.isEmpty else { continue }
            PeerCodec.encodeBeat(into: &peers[position].control)
        }
    }

    /// Asks a peer how long the way is, or answers it.
    func addEcho(time: UInt64, isAnswer: Bool, from own: NodeID, to peer: NodeID) {
        let position = position(of: peer)
        PeerCodec.encodeEcho(time: time, isAnswer: isAnswer, from: own, to: peer, into: &peers[position].control)
    }

    /// Counts a message that another thread has sent.
    func noteSent(_ count: Int, to peer: NodeID) {
        peers[position(of: peer)].bytesSent += UInt64(count)
    }

    /// Sends one message of a snapshot transfer, past everything that gathers here.
    func sendSnapshot(_ message: [UInt8], to peer: NodeID) {
        noteSent(message.count, to: peer)
        environment.send(PeerBatch(message), lane: .snapshot, to: peer)
    }

    /// Hands everything to the transport, control traffic first.
    func flush() {
        for position in peers.indices where !peers[position].control.bytes.isEmpty {
            peers[position].bytesSent += UInt64(peers[position].control.bytes.count)
            environment.send(PeerBatch(peers[position].control.bytes), lane: .control, to: peers[position].id)
            peers[position].control = ByteWriter()
        }
        for position in peers.indices where !peers[position].bulk.isEmpty { sendBulk(position) }
    }

    private func sendBulk(_ position: Int) {
        let batch = peers[position].bulk.take()
        peers[position].bytesSent += UInt64(batch.byteCount)
        environment.send(batch, lane: .bulk, to: peers[position].id)
    }
}
