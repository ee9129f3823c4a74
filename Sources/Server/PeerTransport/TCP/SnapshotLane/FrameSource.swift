// Cuts the stream of the snapshot lane into frames, read to where they stay: pieces of files into memory that direct
// I/O can write, everything else into batches. Knows no socket: it is handed a function that reads. A length is no
// reason to believe that so much will come: memory grows with what has arrived.
import Cluster
import NIOCore

/// Frames out of what was read already, then out of a stream.
struct FrameSource {
    enum Frame {
        case batch([UInt8])
        case piece(ReceivedPiece)
    }

    /// Fills the memory, or returns false when the stream has ended.
    typealias Read = (UnsafeMutableRawBufferPointer) throws(FrameSocket.Failure) -> Bool

    private let read: Read
    private var rest: ByteBuffer
    private let pool = PiecePool()
    private var failure: FrameSocket.Failure?

    /// - Parameters:
    ///   - rest: the beginning of the stream.
    ///   - read: what comes behind it.
    init(rest: ByteBuffer, read: @escaping Read) {
        self.read = read
        self.rest = rest
    }

    /// Nil: the peer has closed the connection.
    mutating func next() throws(FrameSocket.Failure) -> Frame? {
        let frame = frame()
        if let failure { throw failure }
        return frame
    }

    private mutating func frame() -> Frame? {
        guard let length = bytes(FrameSocket.lengthBytes) else { return nil }
        let count = length.reversed().reduce(0) { $0 << 8 | Int($1) }
        guard count <= PeerLimits.frameBytesMax else {
            let tooLong = PeerFrameCutter.Failure.tooLong(count, limit: PeerLimits.frameBytesMax)
            failure = FrameSocket.Failure("\(tooLong)")
            return nil
        }
        guard let head = bytes(min(count, PieceHead.byteCount)) else { return nil }
        guard let pieceHead = PieceHead(head, batchBytes: count), pieceHead.pieceBytes <= PeerLimits.frameReservedBytes
        else { return batch(head, count).map { .batch($0) } }
        let piece = ReceivedPiece(pieceHead, from: pool)
        return piece.fill { fill($0) } ? .piece(piece) : nil
    }

    /// A frame of `count` bytes that begins with `head`. Its memory doubles at most with what has arrived.
    private mutating func batch(_ head: [UInt8], _ count: Int) -> [UInt8]? {
        var frame = head
        while frame.count < count {
            let room = max(frame.count, PeerLimits.frameReservedBytes)
            guard let part = bytes(min(count - frame.count, room)) else { return nil }
            frame += part
        }
        return frame
    }

    private mutating func bytes(_ count: Int) -> [UInt8]? {
        var isWhole = true
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            isWhole = fill(UnsafeMutableRawBufferPointer(buffer))
            initialized = isWhole ? count : 0
        }
        return isWhole ? bytes : nil
    }

    private mutating func fill(_ room: UnsafeMutableRawBufferPointer) -> Bool {
        let known = min(room.count, rest.readableBytes)
        rest.readWithUnsafeReadableBytes { bytes in
            room.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<known]))
            return known
        }
        do throws(FrameSocket.Failure) {
            return try read(UnsafeMutableRawBufferPointer(rebasing: room[known...]))
        } catch {
            failure = error
            return false
        }
    }
}
