// The receiving end of the snapshot lane: a thread that reads whole frames to where they stay and posts them to the host. It
// lives as long as the connection; the listener ends it with the node, or when the same peer has a newer one.
import Cluster
import NIOCore
import Synchronization

final class FrameReceiver: Sendable {
    enum Frame {
        case batch([UInt8])
        case piece(ReceivedPiece)
    }

    private let socket: FrameSocket
    private let hasStopped = Atomic<Bool>(false)

    /// - Parameters:
    ///   - rest: what the event loop had read behind the hello.
    ///   - ended: called once, on the thread, with what went wrong or nil when the peer has closed; not after ``stop()``.
    init(
        _ socket: FrameSocket, rest: ByteBuffer, name: String, received: @escaping @Sendable (Frame) -> Void,
        ended: @escaping @Sendable (FrameSocket.Failure?) -> Void
    ) {
        self.socket = socket
        _ = WorkerThread(name: name, niceness: WorkerThread.bulkNiceness) { [self] in
            var source = Source(socket: socket, rest: rest)
            var failure: FrameSocket.Failure?
            do throws(FrameSocket.Failure) {
                while let frame = try source.next() { received(frame) }
            } catch {
                failure = error
            }
            if !hasStopped.load(ordering: .acquiring) { ended(failure) }
        }
    }

    /// Ends the connection and with it the thread.
    func stop() {
        hasStopped.store(true, ordering: .releasing)
        socket.end()
    }

    /// Frames out of what was read already, then out of the socket.
    private struct Source {
        let socket: FrameSocket
        var rest: ByteBuffer
        let pool = PiecePool()
        private var failure: FrameSocket.Failure?

        init(socket: FrameSocket, rest: ByteBuffer) {
            self.socket = socket
            self.rest = rest
        }

        /// Nil: the peer has closed the connection.
        mutating func next() throws(FrameSocket.Failure) -> Frame? {
            let frame = read()
            if let failure { throw failure }
            return frame
        }

        private mutating func read() -> Frame? {
            guard let length = bytes(FrameSocket.lengthBytes) else { return nil }
            let count = length.reversed().reduce(0) { $0 << 8 | Int($1) }
            guard count <= PeerLimits.frameBytesMax else {
                let tooLong = PeerFrameCutter.Failure.tooLong(count, limit: PeerLimits.frameBytesMax)
                failure = FrameSocket.Failure("\(tooLong)")
                return nil
            }
            guard let head = bytes(min(count, PieceHead.byteCount)) else { return nil }
            guard let pieceHead = PieceHead(head, batchBytes: count) else {
                return bytes(count - head.count).map { .batch(head + $0) }
            }
            let piece = ReceivedPiece(pieceHead, from: pool)
            return piece.fill { fill($0) } ? .piece(piece) : nil
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
                return try socket.read(into: UnsafeMutableRawBufferPointer(rebasing: room[known...]))
            } catch {
                failure = error
                return false
            }
        }
    }
}
