// What one thread needs to write pieces of received files: memory as direct I/O wants it, and a lock that tells whether it
// is at work.
import CEngine
import FileIO
import Synchronization

/// Memory that is aligned for direct I/O, used again for every piece.
struct StagingBuffer: ~Copyable {
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var held = 0
    private var padded = 0

    deinit { memory.deallocate() }

    /// Bytes that are copied and then still near the processor when their checksum is taken.
    private static let blockBytes = 64 << 10

    /// A piece in memory that is aligned for direct I/O, without and with zeros up to the end of the last block, and its
    /// CRC-32C. Valid until the next time, and as long as the piece.
    mutating func ready(
        _ bytes: PieceBytes
    ) -> (checksum: UInt32, bytes: UnsafeRawBufferPointer, blocks: UnsafeRawBufferPointer) {
        switch bytes {
        case .received(let piece):
            return (piece.checksum, piece.bytes, piece.blocks)
        case .slice(let slice):
            let checksum = hold(slice)
            return (
                checksum, UnsafeRawBufferPointer(rebasing: memory[..<held]),
                UnsafeRawBufferPointer(rebasing: memory[..<padded])
            )
        }
    }

    private mutating func hold(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        let alignment = FileCaching.alignmentBytes
        let count = (bytes.count + alignment - 1) / alignment * alignment
        if memory.count < count {
            memory.deallocate()
            memory = .allocate(byteCount: count, alignment: alignment)
        }
        var checksum: UInt32 = 0
        bytes.withUnsafeBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: Self.blockBytes) {
                let block = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + Self.blockBytes, bytes.count)])
                checksum = strata_crc32c(checksum, block.baseAddress, block.count)
                UnsafeMutableRawBufferPointer(rebasing: memory[start...]).copyMemory(from: block)
            }
        }
        memory[bytes.count..<count].initializeMemory(as: UInt8.self, repeating: 0)
        (held, padded) = (bytes.count, count)
        return checksum
    }
}

/// Lets one thread at a time write a piece.
final class PieceWriter: Sendable {
    private let staging = Mutex(StagingBuffer())

    /// Waits until the piece before is written.
    func use<Value: Sendable>(_ body: (inout StagingBuffer) -> Value) -> Value {
        staging.withLock { body(&$0) }
    }

    /// Nil when a piece is being written.
    func useIfFree<Value: Sendable>(_ body: (inout StagingBuffer) -> Value) -> Value? {
        staging.withLockIfAvailable { body(&$0) }
    }
}
