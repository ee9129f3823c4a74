// What one thread needs to write pieces of received files: memory as direct I/O wants it, and a lock that tells whether
// it is at work.
import CEngine
import FileIO
import Synchronization

/// Memory that is aligned for direct I/O, used again for every piece.
struct StagingBuffer: ~Copyable {
    private let pool: PiecePool
    private var slot: PiecePool.Slot?

    init(_ pool: PiecePool) { self.pool = pool }

    /// Bytes that are copied and then still near the processor when their checksum is taken.
    private static let blockBytes = 64 << 10

    /// A piece in memory that is aligned for direct I/O, without and with zeros up to the end of the last block, and
    /// its CRC-32C. Valid until the next time, and as long as the piece.
    mutating func ready(
        _ bytes: PieceBytes
    ) -> (checksum: UInt32, bytes: UnsafeRawBufferPointer, blocks: UnsafeRawBufferPointer) {
        switch bytes {
        case .received(let piece):
            return (piece.checksum, piece.bytes, piece.blocks)
        case .slice(let slice):
            let (checksum, memory) = hold(slice)
            return (
                checksum, UnsafeRawBufferPointer(rebasing: memory[..<slice.count]), UnsafeRawBufferPointer(memory)
            )
        }
    }

    private mutating func hold(_ bytes: ArraySlice<UInt8>) -> (checksum: UInt32, UnsafeMutableRawBufferPointer) {
        let alignment = FileCaching.alignmentBytes
        if let slot { pool.give(slot) }
        let slot = pool.take((bytes.count + alignment - 1) / alignment * alignment)
        self.slot = slot
        let memory = slot.memory
        var checksum: UInt32 = 0
        bytes.withUnsafeBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: Self.blockBytes) {
                let block = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + Self.blockBytes, bytes.count)])
                checksum = strata_crc32c(checksum, block.baseAddress, block.count)
                UnsafeMutableRawBufferPointer(rebasing: memory[start...]).copyMemory(from: block)
            }
        }
        memory[bytes.count...].initializeMemory(as: UInt8.self, repeating: 0)
        return (checksum, memory)
    }
}

/// Lets one thread at a time write a piece.
final class PieceWriter: Sendable {
    private let staging: Mutex<StagingBuffer>

    init(_ pool: PiecePool) { staging = Mutex(StagingBuffer(pool)) }

    /// Waits until the piece before is written.
    func use<Value: Sendable>(_ body: (inout StagingBuffer) -> Value) -> Value {
        staging.withLock { body(&$0) }
    }

    /// Nil when a piece is being written.
    func useIfFree<Value: Sendable>(_ body: (inout StagingBuffer) -> Value) -> Value? {
        staging.withLockIfAvailable { body(&$0) }
    }
}
