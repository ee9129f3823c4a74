// What strangers and peers send over TCP, through the very objects that a server has: a connection from its hello on,
// and the snapshot lane's thread on a real socket.
import Glibc
import Logging
import NIOCore
import NIOEmbedded
import StrataProtocol
import SwiftProtobuf
import Synchronization

@testable import Cluster
@testable import Server

func streamTargets() -> [FuzzTarget] {
    [
        FuzzTarget(name: "admission") { mutator in try admit(&mutator) },
        FuzzTarget(name: "frame-receiver") { mutator in try receive(&mutator) },
    ]
}

/// Random pieces of a stream.
func cut(_ bytes: [UInt8], _ mutator: inout Mutator) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var rest = bytes[...]
    let most = mutator.chance(1, in: 3) ? 3 : 40
    while !rest.isEmpty {
        let piece = rest.prefix(1 + mutator.below(most))
        pieces.append(Array(piece))
        rest = rest.dropFirst(piece.count)
    }
    return pieces
}

private func framed(_ frame: [UInt8]) -> [UInt8] {
    withUnsafeBytes(of: UInt32(truncatingIfNeeded: frame.count).littleEndian) { Array($0) } + frame
}

// MARK: - A connection

/// A stranger connects: a hello, damaged more or less, and what it has to say then.
private func admit(_ mutator: inout Mutator) throws {
    let founders = PeerCorpus.founders
    let formed = FormedCluster(id: "fuzz", members: founders)
    let caller = PeerDirectory(member: founders[1], expected: 3, formed: formed)
    let directory = PeerDirectory(member: founders[0], expected: 3, formed: formed)
    let identity = Strata_V1_PeerIdentity(caller, mutator.chance(1, in: 2) ? .everything : .itself)
    var message: [UInt8] = try identity.serializedBytes()
    if mutator.chance(1, in: 2) { mutator.reshape(&message, donor: message) }
    var hello = [mutator.chance(1, in: 8) ? UInt8(mutator.below(256)) : mutator.pick(PeerLane.allCases).rawValue]
    hello += message
    var stream = framed(hello)
    for _ in 0..<mutator.below(4) {
        var batch = mutator.pick(PeerCorpus.batches)
        if mutator.chance(1, in: 3) { mutator.reshape(&batch, donor: batch) }
        stream += framed(batch)
    }
    if mutator.chance(1, in: 4) { mutator.reshape(&stream, donor: stream) }

    let inbox = HostInbox {}
    let loop = EmbeddedEventLoop()
    let channel = EmbeddedChannel(loop: loop)
    var logger = Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    try channel.pipeline.syncOperations.addHandler(
        PeerFrameReceiver(
            directory: directory, inbox: inbox, snapshots: SnapshotReceivers(inbox: inbox, logger: logger),
            logger: logger))
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    for piece in cut(stream, &mutator) where channel.isActive {
        _ = try? channel.writeInbound(ByteBuffer(bytes: piece))
        loop.run()
    }
    let isRefused = !channel.isActive
    _ = try? channel.finish(acceptAlreadyClosed: true)
    loop.run()
    // Whoever was not let in has posted nothing.
    let events = inbox.take()
    if isRefused || events.control.isEmpty && events.bulk.isEmpty { throw Refused() }
}

// MARK: - The snapshot lane

/// What came out of a stream: batches, and the bytes of pieces.
private struct Received: Equatable {
    var frames: [[UInt8]] = []
    var isRefused = false
}

private final class ReceivedLog: Sendable {
    let content = Mutex(Received())
    let hasEnded = Atomic<Bool>(false)

    func note(_ frame: FrameSource.Frame) {
        let bytes: [UInt8] =
            switch frame {
            case .batch(let bytes): bytes
            case .piece(let piece): Array(piece.bytes)
            }
        content.withLock { $0.frames.append(bytes) }
    }
}

/// The thread that reads a socket finds the frames that the event loop would find.
private func receive(_ mutator: inout Mutator) throws {
    var stream: [UInt8] = []
    for _ in 0...mutator.below(4) {
        var frame = mutator.pick(PeerCorpus.batches)
        if mutator.chance(1, in: 3) { mutator.reshape(&frame, donor: mutator.pick(PeerCorpus.batches)) }
        stream += framed(frame)
    }
    if mutator.chance(1, in: 3) { mutator.reshape(&stream, donor: stream) }
    let expected = cutApart(stream)
    var descriptors: [Int32] = [0, 0]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0 else { throw Refused() }
    let log = ReceivedLog()
    var rest = stream[...]
    let known = rest.prefix(mutator.chance(1, in: 2) ? mutator.below(80) : 0)
    rest = rest.dropFirst(known.count)
    let receiver = FrameReceiver(FrameSocket(owning: descriptors[1]), rest: ByteBuffer(bytes: known), name: "fuzz") {
        log.note($0)
    } ended: { failure in
        log.content.withLock { $0.isRefused = failure != nil }
        log.hasEnded.store(true, ordering: .releasing)
    }
    while !rest.isEmpty {
        let piece = Array(rest.prefix(1 + mutator.below(mutator.chance(1, in: 2) ? 60 : 4000)))
        // One that has refused the stream reads no more; all of it has room in the socket.
        let count = send(descriptors[0], piece, piece.count, Int32(MSG_NOSIGNAL))
        if count <= 0 { break }
        rest = rest.dropFirst(count)
    }
    close(descriptors[0])
    while !log.hasEnded.load(ordering: .acquiring) { usleep(20) }
    withExtendedLifetime(receiver) {}
    let received = log.content.withLock { $0 }
    precondition(received == expected, "the lane's thread and the event loop read different frames")
    if received.isRefused || received.frames.isEmpty { throw Refused() }
}

private func cutApart(_ stream: [UInt8]) -> Received {
    var cutter = PeerFrameCutter()
    var received = Received()
    var buffer = ByteBuffer(bytes: stream)
    do {
        while let frame = try cutter.next(&buffer) {
            let head = PieceHead(Array(frame.prefix(PieceHead.byteCount)), batchBytes: frame.count)
            received.frames.append(head == nil ? frame : Array(frame[PieceHead.byteCount...]))
        }
    } catch {
        received.isRefused = true
    }
    return received
}
