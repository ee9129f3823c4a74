// The two ends of the snapshot lane over real sockets: frames come out whole and in order, pieces as pieces; what a
// peer does not take is bounded; and both threads end when either side wants it.
import Glibc
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Cluster
@testable import Server

@Suite struct SnapshotLaneTests {
    private final class Log: Sendable {
        let frames = Mutex<[[UInt8]]>([])
        let pieces = Mutex<[Int]>([])
        let ends = Mutex<[String]>([])

        func note(_ frame: FrameSource.Frame) {
            switch frame {
            case .batch(let bytes): frames.withLock { $0.append(bytes) }
            case .piece(let piece):
                frames.withLock { $0.append(Array(piece.bytes)) }
                pieces.withLock { $0.append(piece.head.pieceBytes) }
            }
        }
    }

    private final class Leaver: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let left: AsyncStream<FrameSocket>.Continuation
        init(_ left: AsyncStream<FrameSocket>.Continuation) { self.left = left }
        func channelActive(context: ChannelHandlerContext) {
            if let socket = try? FrameSocket.take(from: context.channel) { left.yield(socket) }
        }
    }

    private static func pair() throws -> (FrameSocket, FrameSocket) {
        var descriptors: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0)
        return (FrameSocket(owning: descriptors[0]), FrameSocket(owning: descriptors[1]))
    }

    private static func receiver(_ socket: FrameSocket, _ log: Log, rest: ByteBuffer = ByteBuffer()) -> FrameReceiver {
        FrameReceiver(socket, rest: rest, name: "receive") {
            log.note($0)
        } ended: { failure in
            log.ends.withLock { $0.append(failure.map { "\($0)" } ?? "closed") }
        }
    }

    private static func piece(_ count: Int) -> [UInt8] {
        var writer = ByteWriter()
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let chunk = SnapshotChunk(file: 0, offset: 0, checksum: 0, bytes: .slice(bytes[...]))
        PeerCodec.encode(SnapshotMessage(group: .keyValue, transfer: 9, content: .chunk(chunk)), into: &writer)
        return writer.bytes
    }

    private static func until(_ condition: () -> Bool) async throws -> Bool {
        for _ in 0..<1000 where !condition() { try await Task.sleep(for: .milliseconds(10)) }
        return condition()
    }

    @Test func framesComeOutAsTheyWentIn() async throws {
        let (near, far) = try Self.pair()
        let log = Log()
        let sender = FrameSender(near, name: "send", waitingBytesMax: 64 << 20) {}
        let receiver = Self.receiver(far, log)
        defer { receiver.stop() }
        // Far more than a socket holds, so that frames are written in part and queue.
        let sizes = [0, 1, 37, 38, 39, 5000, 3_000_000, 2, 1_000_000]
        let frames = sizes.map { [UInt8](repeating: UInt8($0 % 251), count: $0) }
        for frame in frames { sender.push(frame) }
        sender.push(Self.piece(700_000))
        sender.push([1, 2, 3])
        let count = frames.count + 2
        #expect(try await Self.until { log.frames.withLock { $0.count } == count })
        let received = log.frames.withLock { $0 }
        #expect(Array(received.prefix(frames.count)) == frames)
        #expect(received[frames.count] == Array(Self.piece(700_000)[PieceHead.byteCount...]))
        #expect(received.last == [1, 2, 3])
        #expect(log.pieces.withLock { $0 } == [700_000])
        #expect(sender.dropped == 0)
        sender.stop()
        #expect(try await Self.until { !log.ends.withLock { $0.isEmpty } })
        #expect(log.ends.withLock { $0 } == ["closed"])
    }

    /// What the event loop had read already comes first.
    @Test(arguments: [0, 3, 4, 20, 60, 5000])
    func whatWasReadBeforeIsNotLost(already: Int) async throws {
        let (near, far) = try Self.pair()
        let log = Log()
        var stream = ByteBuffer()
        for frame in [[7, 7], Self.piece(9000), [9]] {
            stream.writeImmutableBuffer(PeerFrames.frame(frame, allocator: ByteBufferAllocator()))
        }
        let slice = stream.readSlice(length: already)
        let rest = try #require(slice)
        let receiver = Self.receiver(far, log, rest: rest)
        defer { receiver.stop() }
        // A frame of one's own making, for the length belongs to the stream.
        let left = Array(stream.readableBytesView)
        var sent = 4
        while sent < left.count + 4 { sent = try near.write(left, sent: sent, waits: true) }
        #expect(try await Self.until { log.frames.withLock { $0.count } == 3 })
        #expect(log.frames.withLock { $0 } == [[7, 7], Array(Self.piece(9000)[PieceHead.byteCount...]), [9]])
        #expect(log.pieces.withLock { $0 } == [9000])
    }

    @Test func aPeerThatTakesNothingCostsNoMoreThanItsBound() async throws {
        let (near, far) = try Self.pair()
        let box = Ended()
        let sender = FrameSender(near, name: "send", waitingBytesMax: 1 << 20) {
            box.isSet.store(true, ordering: .relaxed)
        }
        for _ in 0..<100 { sender.push([UInt8](repeating: 1, count: 100_000)) }
        #expect(sender.dropped >= 85)
        sender.stop()
        #expect(try await Self.until { box.isSet.load(ordering: .relaxed) })
        // Held until here: a closed end would take everything.
        far.end()
    }

    private final class Ended: Sendable {
        let isSet = Atomic<Bool>(false)
    }

    @Test func aLengthOverTheLimitEndsTheConnection() async throws {
        let (near, far) = try Self.pair()
        let log = Log()
        let receiver = Self.receiver(far, log)
        defer { receiver.stop() }
        let length = UInt32(PeerLimits.frameBytesMax + 1)
        let bytes = withUnsafeBytes(of: length.littleEndian) { [UInt8]($0) }
        _ = try near.write(bytes, sent: 4, waits: true)
        #expect(try await Self.until { !log.ends.withLock { $0.isEmpty } })
        #expect(log.ends.withLock { $0.first }?.contains("over the limit") == true)
        #expect(log.frames.withLock { $0.isEmpty })
    }

    @Test func aReceiverThatIsStoppedSaysNothing() async throws {
        let (near, far) = try Self.pair()
        let log = Log()
        Self.receiver(far, log).stop()
        // Its peer sees the end.
        #expect(try await Self.until { (try? near.write([1], sent: 0, waits: true)) == nil })
        #expect(log.ends.withLock { $0.isEmpty })
    }

    /// The other end of a connection must not notice that it has left its event loop.
    @Test func aChannelIsLeftWithoutAWord() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let (accepted, continuation) = AsyncStream.makeStream(of: FrameSocket.self)
        let server = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Leaver(continuation))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        defer { server.close(promise: nil) }
        let client = try await ClientBootstrap(group: group)
            .connect(host: "127.0.0.1", port: server.localAddress?.port ?? 0).get()
        let near = try await client.eventLoop.submit { try FrameSocket.take(from: client) }.get()
        var iterator = accepted.makeAsyncIterator()
        let far = try #require(await iterator.next())
        #expect(!client.isActive)
        let log = Log()
        let receiver = Self.receiver(far, log)
        defer { receiver.stop() }
        let sender = FrameSender(near, name: "send", waitingBytesMax: 64 << 20) {}
        sender.push(Array(repeating: 5, count: 2_000_000))
        sender.push([6])
        #expect(try await Self.until { log.frames.withLock { $0.count } == 2 })
        #expect(log.ends.withLock { $0.isEmpty })
        sender.stop()
        #expect(try await Self.until { log.ends.withLock { $0 } == ["closed"] })
    }

    /// Both ends of a connection of this machine.
    private static func connection() throws -> (FrameSocket, FrameSocket) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        var count = socklen_t(MemoryLayout<sockaddr_in>.size)
        let near = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let far = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> Int32 in
                guard bind(listener, address, count) == 0, listen(listener, 1) == 0,
                    getsockname(listener, address, &count) == 0, connect(near, address, count) == 0
                else { return -1 }
                return accept(listener, nil, nil)
            }
        }
        try #require(near >= 0 && far >= 0)
        return (FrameSocket(owning: near), FrameSocket(owning: far))
    }

    @Test(arguments: [("bbr", "cubic"), ("reno", "reno")]) func onlyPacingIsTakenFromANearPeer(
        chosen: String, kept: String
    ) throws {
        let (near, far) = try Self.connection()
        near.congestionControl = chosen
        // Not every kernel has BBR; what it has not, it refuses.
        guard near.congestionControl == chosen else { return }
        near.dontPaceNearPeer()
        #expect(near.congestionControl == kept)
        far.end()
    }

    @Test func aSocketOfAnotherKindHasNoCongestionControl() throws {
        let (near, _) = try Self.pair()
        near.dontPaceNearPeer()
        #expect(near.congestionControl.isEmpty)
    }
}
