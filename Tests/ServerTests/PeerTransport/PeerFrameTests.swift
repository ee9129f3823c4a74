// Frames come out as they went in, however the stream was cut on its way, and a length that nobody of ours would send ends
// the connection instead of filling memory.
import NIOCore
import Testing

@testable import Server

@Suite struct PeerFrameTests {
    private let frames: [[UInt8]] = [[1, 2, 3], [], Array(repeating: 7, count: 1000), [9]]

    private var stream: ByteBuffer {
        var all = ByteBuffer()
        for frame in frames {
            var encoded = PeerFrames.frame(frame, allocator: ByteBufferAllocator())
            all.writeBuffer(&encoded)
        }
        return all
    }

    @Test(arguments: [1, 2, 3, 5, 64, 4096])
    func piecesOfAnySize(size: Int) throws {
        var cutter = PeerFrameCutter()
        var received: [[UInt8]] = []
        var stream = stream
        while stream.readableBytes > 0 {
            guard var piece = stream.readSlice(length: min(size, stream.readableBytes)) else { break }
            while let frame = try cutter.next(&piece) { received.append(frame) }
        }
        #expect(received == frames)
    }

    @Test func aLengthOverTheLimitIsRefused() {
        var cutter = PeerFrameCutter()
        var bytes = ByteBuffer()
        bytes.writeInteger(UInt32(PeerLimits.frameBytesMax + 1), endianness: .little)
        #expect(throws: PeerFrameCutter.Failure.self) { try cutter.next(&bytes) }
    }
}
