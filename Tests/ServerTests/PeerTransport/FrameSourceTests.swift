// The stream of the snapshot lane, cut into frames: memory grows with what has arrived, never with what was announced.
import NIOCore
import Testing

@testable import Cluster
@testable import Server

@Suite struct FrameSourceTests {
    /// A stream that ends, and the most memory that it was asked to fill at once.
    private final class Stream {
        private var bytes: ArraySlice<UInt8>
        private(set) var roomMax = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

        func read(into room: UnsafeMutableRawBufferPointer) -> Bool {
            roomMax = max(roomMax, room.count)
            guard room.count <= bytes.count else { return false }
            room.copyBytes(from: bytes.prefix(room.count))
            bytes = bytes.dropFirst(room.count)
            return true
        }
    }

    private static func length(_ count: Int) -> [UInt8] {
        withUnsafeBytes(of: UInt32(count).littleEndian) { [UInt8]($0) }
    }

    private static func head(ofPieceOf count: Int) throws -> [UInt8] {
        var writer = ByteWriter()
        let chunk = SnapshotChunk(
            file: 0, offset: 0, checksum: 0, bytes: .slice([UInt8](repeating: 0, count: count)[...]))
        PeerCodec.encode(SnapshotMessage(group: .keyValue, transfer: 9, content: .chunk(chunk)), into: &writer)
        let head = Array(writer.bytes.prefix(PieceHead.byteCount))
        try #require(PieceHead(head, batchBytes: writer.bytes.count) != nil)
        return head
    }

    /// 128 MiB were allocated for whoever announced them.
    @Test func anAnnouncedBatchGetsMemoryAsItArrives() throws {
        let stream = Stream(Self.length(PeerLimits.frameBytesMax) + [UInt8](repeating: 7, count: 1000))
        var source = FrameSource(rest: ByteBuffer()) { stream.read(into: $0) }
        #expect(try source.next() == nil)
        #expect(stream.roomMax <= PeerLimits.frameReservedBytes)
    }

    /// What is longer than the first allocation comes out whole all the same.
    @Test(arguments: [1, 4 << 20, (4 << 20) + 1, 9_000_001])
    func longBatchesComeOutWhole(count: Int) throws {
        let frame = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) | 0x80 }
        let stream = Stream(Self.length(count) + frame + Self.length(1) + [5])
        var source = FrameSource(rest: ByteBuffer()) { stream.read(into: $0) }
        guard case .batch(let bytes) = try source.next() else {
            Issue.record("no batch")
            return
        }
        #expect(bytes == frame)
        guard case .batch([5]) = try source.next() else {
            Issue.record("the next frame is lost")
            return
        }
    }

    /// A piece over the first allocation is a batch: the codec reads it as well.
    @Test(arguments: [700_000, 5_000_000]) func longPiecesAreReadToo(count: Int) throws {
        let head = try Self.head(ofPieceOf: count)
        let stream = Stream(Self.length(head.count + count) + head + [UInt8](repeating: 3, count: count))
        var source = FrameSource(rest: ByteBuffer()) { stream.read(into: $0) }
        switch try source.next() {
        case .piece(let piece): #expect(piece.head.pieceBytes == count && count <= PeerLimits.frameReservedBytes)
        case .batch(let bytes):
            #expect(bytes.count == head.count + count && count > PeerLimits.frameReservedBytes)
            guard case .snapshot(let message)? = PeerCodec.decode(bytes)?.first,
                case .chunk(let chunk) = message.content
            else {
                Issue.record("no chunk")
                return
            }
            #expect(chunk.bytes.count == count)
        case nil: Issue.record("no frame")
        }
    }
}
