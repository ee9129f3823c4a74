// A batch of encoded messages on its way to a peer. Large frames are held by reference, as the log holds them, and
// copied once, by the transport that puts them on the wire and beside the host's thread.
import Raft
import SegmentedLog

/// Encoded messages for one peer on one lane, in pieces that follow each other on the wire.
public struct PeerBatch: Sendable {
    public let pieces: [[UInt8]]
    /// Bytes of all pieces.
    public let byteCount: Int

    public init(_ bytes: [UInt8]) {
        self.init(pieces: [bytes])
    }

    init(pieces: [[UInt8]]) {
        self.pieces = pieces
        byteCount = pieces.reduce(0) { $0 + $1.count }
    }

    /// All pieces in one. Copies when there are several.
    public var joined: [UInt8] {
        if pieces.count == 1 { return pieces[0] }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount)
        for piece in pieces { bytes.append(contentsOf: piece) }
        return bytes
    }
}

/// Gathers messages into a batch.
struct PeerBatchWriter {
    /// Smaller frames are copied: a piece of their own would cost more.
    static let referencedBytesMin = 4096

    private var pieces: [[UInt8]] = []
    private var pieceBytes = 0
    /// What comes behind the pieces.
    var end = ByteWriter()

    var byteCount: Int { pieceBytes + end.bytes.count }
    var isEmpty: Bool { byteCount == 0 }

    /// Adds a message of a group with the frames of its entries.
    mutating func add(_ message: Message, of group: GroupID, frames: FrameBatch) {
        guard frames.byteCount >= Self.referencedBytesMin else {
            PeerCodec.encode(message, group: group, frames: frames, into: &end)
            return
        }
        PeerCodec.encodeHead(of: message, group: group, frameBytes: frames.byteCount, into: &end)
        pieceBytes += end.bytes.count + frames.byteCount
        pieces.append(end.bytes)
        pieces.append(frames.bytes)
        end = ByteWriter()
    }

    /// Hands out what was gathered.
    mutating func take() -> PeerBatch {
        if !end.bytes.isEmpty { pieces.append(end.bytes) }
        defer { self = PeerBatchWriter() }
        return PeerBatch(pieces: pieces)
    }
}
