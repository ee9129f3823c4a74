// A piece of a file as a transport may hand it over: in memory from which direct I/O can write it, its checksum taken
// while its bytes came in and were near the processor. A transport that can't do this hands over whole batches as for
// every other message. The memory is nobody else's once the piece is whole.
import CEngine
import FileIO
import Raft

/// What stands before the bytes of a piece, in a batch that holds nothing else (Docs/Formats/peer-messages.md).
public struct PieceHead: Sendable {
    /// Bytes of a batch before those of the piece.
    public static let byteCount = 38

    /// A message with a chunk without bytes.
    let message: SnapshotMessage
    /// Bytes of the piece.
    public let pieceBytes: Int

    /// Nil: a batch of `batchBytes` that begins with `bytes` is something else than one piece.
    public init?(_ bytes: [UInt8], batchBytes: Int) {
        guard bytes.count == Self.byteCount, batchBytes > Self.byteCount,
            let message = PeerCodec.decodePieceHead(bytes[...], batchBytes: batchBytes)
        else { return nil }
        self.message = message
        pieceBytes = batchBytes - Self.byteCount
    }
}

/// A received piece and its head.
public final class ReceivedPiece: @unchecked Sendable {
    // Unchecked: the slot's memory and `checksum` are changed by `fill` only, before the piece is handed to anybody.
    let head: PieceHead
    private let pool: PiecePool
    private let slot: PiecePool.Slot
    private(set) var checksum: UInt32 = 0

    /// Bytes that are received and then still near the processor when their checksum is taken.
    private static let blockBytes = 128 << 10

    public init(_ head: PieceHead, from pool: PiecePool) {
        self.head = head
        self.pool = pool
        let alignment = FileCaching.alignmentBytes
        slot = pool.take((head.pieceBytes + alignment - 1) / alignment * alignment)
    }

    deinit { pool.give(slot) }

    private var memory: UnsafeMutableRawBufferPointer { slot.memory }

    /// Has `read` fill the memory, block by block, until all is there or it says false.
    public func fill(_ read: (UnsafeMutableRawBufferPointer) -> Bool) -> Bool {
        for start in stride(from: 0, to: head.pieceBytes, by: Self.blockBytes) {
            let end = min(start + Self.blockBytes, head.pieceBytes)
            let block = UnsafeMutableRawBufferPointer(rebasing: memory[start..<end])
            guard read(block) else { return false }
            checksum = strata_crc32c(checksum, block.baseAddress, block.count)
        }
        memory[head.pieceBytes...].initializeMemory(as: UInt8.self, repeating: 0)
        return true
    }

    /// Takes a piece out of a batch; nil when it is something else.
    public convenience init?(batch: [UInt8], from pool: PiecePool) {
        guard let head = PieceHead(Array(batch.prefix(PieceHead.byteCount)), batchBytes: batch.count) else {
            return nil
        }
        self.init(head, from: pool)
        var position = PieceHead.byteCount
        _ = fill { room in
            room.copyBytes(from: batch[position..<position + room.count])
            position += room.count
            return true
        }
    }

    var chunk: SnapshotChunk {
        guard case .chunk(var chunk) = head.message.content else {
            preconditionFailure("a piece's head is one of a chunk")
        }
        chunk.bytes = .received(self)
        return chunk
    }

    /// The piece without and with the zeros behind it, up to the end of the last block.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<head.pieceBytes]) }
    var blocks: UnsafeRawBufferPointer { UnsafeRawBufferPointer(memory) }
}
