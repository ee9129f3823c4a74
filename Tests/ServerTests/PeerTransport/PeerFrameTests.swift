// Frames come out as they went in, however the stream was cut on its way, and a length that nobody of ours would send
// ends the connection instead of filling memory.
import Cluster
import NIOCore
import StrataProtocol
import SwiftProtobuf
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

    /// Before it has said who it is, a connection gets little memory.
    @Test func aStrangersFirstFrameIsShort() throws {
        var cutter = PeerFrameCutter(frameBytesMax: PeerLimits.helloBytesMax)
        var bytes = ByteBuffer()
        bytes.writeInteger(UInt32(PeerLimits.helloBytesMax), endianness: .little)
        #expect(try cutter.next(&bytes) == nil)
        cutter = PeerFrameCutter(frameBytesMax: PeerLimits.helloBytesMax)
        bytes.writeInteger(UInt32(PeerLimits.helloBytesMax + 1), endianness: .little)
        #expect(throws: PeerFrameCutter.Failure.self) { try cutter.next(&bytes) }
    }
}

@Suite struct HandshakeTests {
    private func identity(_ change: (inout Strata_V1_PeerIdentity) -> Void = { _ in }) -> Strata_V1_PeerIdentity {
        var identity = Strata_V1_PeerIdentity(
            PeerDirectory(
                member: Member(name: "n1", incarnation: "i1", address: "127.0.0.1:1"), expected: 3, formed: nil),
            .everything)
        change(&identity)
        return identity
    }

    private func member(_ id: UInt64, _ name: String) -> Strata_V1_PeerMember {
        .with {
            $0.raftID = id
            $0.nodeID = name
            $0.incarnation = "i"
            $0.address = "a:1"
        }
    }

    @Test func anHonestOneIsTaken() {
        #expect(identity().formRefusal == nil)
        #expect(identity { $0.tcpPort = 65_535 }.formRefusal == nil)
    }

    /// A port above 65535 would trap where it is dialled; a member twice would trap where its groups begin.
    @Test func whatWouldStopThisNodeIsRefused() {
        #expect(identity { $0.tcpPort = 65_536 }.formRefusal != nil)
        #expect(identity { $0.tcpPort = .max }.formRefusal != nil)
        #expect(identity { $0.raftID = 0 }.formRefusal != nil)
        #expect(identity { $0.founders = [member(1, "a"), member(1, "b")] }.formRefusal != nil)
        #expect(identity { $0.members = [member(1, "a"), member(2, "a")] }.formRefusal != nil)
        #expect(identity { $0.founders = [member(0, "a")] }.formRefusal != nil)
        #expect(identity { $0.members = (1...1025).map { member($0, "n\($0)") } }.formRefusal != nil)
        #expect(identity { $0.nodeID = String(repeating: "n", count: 1025) }.formRefusal != nil)
        #expect(identity { $0.founders = [member(1, String(repeating: "n", count: 1025))] }.formRefusal != nil)
    }
}
