// The framing of the TCP transport: `u32 length` (little endian) and as many bytes. The first frame of a connection is
// the hello (`u8 lane`, then the sender's identity in protobuf); every further one is a batch of peer messages.
import Cluster
import NIOCore

enum PeerFrames {
    static func frame(_ bytes: [UInt8], allocator: ByteBufferAllocator) -> ByteBuffer {
        frame(PeerBatch(bytes), allocator: allocator)
    }

    static func frame(_ batch: PeerBatch, allocator: ByteBufferAllocator) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: batch.byteCount + 4)
        buffer.writeInteger(UInt32(batch.byteCount), endianness: .little)
        for piece in batch.pieces { buffer.writeBytes(piece) }
        return buffer
    }
}

/// Cuts a byte stream into frames. A frame over the limit ends the connection: its sender is not one of ours. Keeps one
/// unfinished frame and copies each byte once, so that a stream which never pauses needs no more memory than that.
struct PeerFrameCutter {
    /// The longest frame that is accepted. Raised when the sender has said who it is.
    var frameBytesMax: Int
    /// The length that is being read, and how many of its bytes are here.
    private var length: UInt32 = 0
    private var lengthBytes = 0
    /// The frame that is being read, and how much it lacks.
    private var frame: [UInt8] = []
    private var missing = 0

    init(frameBytesMax: Int = PeerLimits.frameBytesMax) {
        self.frameBytesMax = frameBytesMax
    }

    enum Failure: Error, CustomStringConvertible {
        case tooLong(Int, limit: Int)
        var description: String {
            switch self {
            case .tooLong(let count, let limit): "a frame of \(count) bytes is over the limit of \(limit)"
            }
        }
    }

    /// Takes in what was read up to the end of a frame and hands that out; nil when all was taken in and no frame is
    /// whole.
    mutating func next(_ bytes: inout ByteBuffer) throws(Failure) -> [UInt8]? {
        while lengthBytes < 4 || missing > 0 {
            if lengthBytes < 4 {
                guard let byte = bytes.readInteger(as: UInt8.self) else { return nil }
                length |= UInt32(byte) << (8 * UInt32(lengthBytes))
                lengthBytes += 1
                if lengthBytes < 4 { continue }
                guard Int(length) <= frameBytesMax else { throw .tooLong(Int(length), limit: frameBytesMax) }
                missing = Int(length)
                frame.reserveCapacity(min(missing, PeerLimits.frameReservedBytes))
            } else {
                let count = min(missing, bytes.readableBytes)
                guard count > 0 else { return nil }
                bytes.readWithUnsafeReadableBytes { buffer in
                    frame.append(contentsOf: buffer[..<count])
                    return count
                }
                missing -= count
            }
        }
        let whole = frame
        (frame, length, lengthBytes) = ([], 0, 0)
        return whole
    }
}
