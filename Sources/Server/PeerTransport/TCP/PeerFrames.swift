// The framing of the TCP transport: `u32 length` (little endian) and as many bytes. The first frame of a connection is the
// hello (`u8 lane`, then the sender's identity in protobuf); every further one is a batch of peer messages.
import Cluster
import NIOCore

enum PeerFrames {
    static func frame(_ bytes: [UInt8], allocator: ByteBufferAllocator) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: bytes.count + 4)
        buffer.writeInteger(UInt32(bytes.count), endianness: .little)
        buffer.writeBytes(bytes)
        return buffer
    }
}

/// Cuts a byte stream into frames. A frame over the limit ends the connection: its sender is not one of ours.
struct PeerFrameCutter {
    private var pending = ByteBuffer()

    enum Failure: Error, CustomStringConvertible {
        case tooLong(Int)
        var description: String {
            switch self {
            case .tooLong(let count):
                "a frame of \(count) bytes is over the limit of \(PeerLimits.frameBytesMax)"
            }
        }
    }

    /// Takes in what was read and hands out the frames that are complete.
    mutating func feed(_ bytes: inout ByteBuffer, _ body: ([UInt8]) -> Void) throws(Failure) {
        if pending.readableBytes == 0 { pending = bytes } else { pending.writeBuffer(&bytes) }
        while let length = pending.getInteger(at: pending.readerIndex, endianness: .little, as: UInt32.self) {
            guard Int(length) <= PeerLimits.frameBytesMax else { throw .tooLong(Int(length)) }
            guard pending.readableBytes >= 4 + Int(length) else { return }
            pending.moveReaderIndex(forwardBy: 4)
            if let frame = pending.readBytes(length: Int(length)) { body(frame) }
        }
        if pending.readableBytes == 0 { pending.clear() }
    }
}
