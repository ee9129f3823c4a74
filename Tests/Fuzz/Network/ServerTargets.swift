// What clients and strangers send to a server's sockets: RESP, query strings, records, frames of peers, handshakes. A
// stream means the same however it was cut on its way.
import Broker
import Cluster
import KeyValue
import NIOCore
import NIOEmbedded
import Records
import StrataNode
import StrataProtocol
import SwiftProtobuf

@testable import Server

func serverTargets() -> [FuzzTarget] {
    [
        FuzzTarget(name: "resp") { mutator in
            let bytes = respStream(&mutator)
            let whole = parse([bytes])
            let pieces = parse(cut(bytes, &mutator))
            precondition(whole.commands == pieces.commands && whole.error == pieces.error, "cuts change the meaning")
            if whole.commands.isEmpty { throw Refused() }
        },
        FuzzTarget(name: "resp-connection") { mutator in try talk(&mutator) },
        FuzzTarget(name: "resp-inline") { mutator in
            var line = Array(mutator.pick(inlineLines).utf8)
            mutator.reshape(&line, donor: Array(mutator.pick(inlineLines).utf8))
            var output = ByteBuffer()
            var ranges: [Range<Int>] = []
            guard line.withUnsafeBytes({ RESPInline.split($0, into: &output, ranges: &ranges) }) else {
                throw Refused()
            }
            precondition(output.readableBytes <= line.count)
            for range in ranges { precondition(range.upperBound <= output.readableBytes) }
        },
        FuzzTarget(name: "resp-numbers") { mutator in
            var text = Array("\(mutator.chance(1, in: 2) ? Int64(bitPattern: mutator.next()) : .min)".utf8)
            mutator.reshape(&text, donor: text)
            guard let number = RESPInteger.signed(text) else {
                if let number = Int64(String(decoding: text, as: UTF8.self)) {
                    precondition(!"\(number)".utf8.elementsEqual(text), "an integer is refused")
                }
                throw Refused()
            }
            precondition("\(number)".utf8.elementsEqual(text), "an integer with another spelling")
        },
        FuzzTarget(name: "query") { mutator in
            var text = Array("key=a%20b&val=%FF%00+x&index=18446744073709551615&=&&maxStaleness=500".utf8)
            mutator.reshape(&text, donor: text)
            guard let parameters = QueryParameters(String(decoding: text, as: UTF8.self)) else { throw Refused() }
            for name in ["key", "val", "index", ""] {
                precondition((parameters.first(name)?.count ?? 0) <= 3 * text.count)
            }
        },
        FuzzTarget(name: "peer-frames") { mutator in
            var bytes: [UInt8] = []
            for _ in 0...mutator.below(4) {
                let frame = mutator.pick(PeerCorpus.batches)
                bytes += withUnsafeBytes(of: UInt32(frame.count).littleEndian) { Array($0) } + frame
            }
            if mutator.chance(1, in: 2) { mutator.reshape(&bytes, donor: bytes) }
            let whole = frames([bytes])
            let pieces = frames(cut(bytes, &mutator))
            precondition(whole.frames == pieces.frames && whole.isRefused == pieces.isRefused)
            if whole.isRefused { throw Refused() }
        },
        FuzzTarget(name: "handshake") { mutator in try shakeHands(&mutator) },
        FuzzTarget(name: "produce-request") { mutator in try produce(&mutator) },
        FuzzTarget(name: "fetched-batches") { mutator in
            var batch = RecordBatch()
            for number in 0..<3 {
                batch.append(key: [1], value: [2, 3], headers: [], timestamp: Int64(number))
            }
            var bytes = batch.encoded()
            let golden = bytes
            mutator.reshape(&bytes, donor: golden)
            if bytes.count > RecordBatchView.headerBytes, mutator.chance(4, in: 5) {
                bytes.put(UInt32(bytes.count - 12).byteSwapped, at: 8)
                bytes.put(crc(bytes[21...]).byteSwapped, at: 17)
            }
            let offset = mutator.number(near: 1)
            for view in try RecordBatchView.batches(in: golden + bytes) {
                for record in try view.records() where record.offset >= offset {
                    _ = Strata_V1_LogEntry(record, highWatermark: mutator.next())
                }
            }
        },
    ]
}

// MARK: - RESP

private let inlineLines = [
    "SET key \"a b\\n\\x41\"", "ECHO 'it\\'s'", "GET  key\r", "INCRBY n -5", "\"\" '' \"\\\"\"", "CONFIG GET *",
]
private let respCommands: [[String]] = [
    ["SET", "k", "1"], ["GET", "k"], ["DEL", "k", "l", "k"], ["INCRBY", "k", "-9223372036854775808"],
    ["DECRBY", "k", "5"], ["HELLO", "3", "AUTH", "default", "x", "SETNAME", "app"],
    ["CLIENT", "SETINFO", "lib-name", "x"],
    ["CLIENT", "INFO"], ["CONFIG", "GET", "s[a-z]*", "*"], ["COMMAND", "INFO", "get", "x"], ["COMMAND", "COUNT"],
    ["SESSION", "7", "SEQ", "2", "ACK", "1", "INCR", "k"], ["SESSION", "OPEN"], ["SESSION", "CLOSE", "7"], ["PING"],
    ["DELETE", "k"], ["INFO"], ["SELECT", "0"],
]

private func respStream(_ mutator: inout Mutator) -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0...mutator.below(5) {
        if mutator.chance(1, in: 4) {
            bytes += Array(mutator.pick(inlineLines).utf8) + Array("\r\n".utf8)
            continue
        }
        let command = mutator.pick(respCommands)
        bytes += Array("*\(command.count)\r\n".utf8)
        for argument in command {
            var argument = Array(argument.utf8)
            if mutator.chance(1, in: 6) { mutator.reshape(&argument, donor: argument) }
            bytes += Array("$\(argument.count)\r\n".utf8) + argument + Array("\r\n".utf8)
        }
    }
    if mutator.chance(1, in: 2) { mutator.reshape(&bytes, donor: bytes) }
    return bytes
}

private func parse(_ pieces: [[UInt8]]) -> (commands: [[[UInt8]]], error: RESPProtocolError?) {
    var parser = RESPParser()
    var commands: [[[UInt8]]] = []
    for piece in pieces {
        parser.append(ByteBuffer(bytes: piece))
        do throws(RESPProtocolError) {
            while try parser.parse() {
                commands.append((0..<parser.argumentCount).map { parser.argument($0) })
                _ = RESPRequest(parser)
                parser.consume()
            }
        } catch {
            return (commands, error)
        }
    }
    return (commands, nil)
}

/// A store that answers at once, so that everything happens on this thread.
private final class NoStore: KeyValueService {
    func write(
        _ write: KeyValueWrite, session: WriteSequence?,
        completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        switch write {
        case .increment(_, let by): completion(.success(UInt64(bitPattern: by)))
        case .deleteCounting(let keys): completion(.success(UInt64(keys.count)))
        default: completion(write.key.isEmpty ? .failure(.invalid(.emptyKey, "empty")) : .success(1))
        }
    }

    func openSession(completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        completion(.success(.max))
    }

    func closeSession(_ client: UInt64, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        completion(.success(0))
    }

    func get(
        key: [UInt8], consistency: ReadConsistency,
        completion: @escaping @Sendable (Result<[UInt8]?, RequestError>) -> Void
    ) {
        completion(.success(key.count.isMultiple(of: 2) ? nil : key))
    }
}

private final class NoNode: NodeStatusService {
    func status() -> NodeStatus {
        NodeStatus(
            nodeID: "n", clusterID: "c", state: "leader", term: 1, commitIndex: 1, logLength: 1, leader: nil,
            isLeader: true, isHealthy: true, problem: nil)
    }
}

/// A connection from its first byte to its end: what it answers must be whole answers.
private func talk(_ mutator: inout Mutator) throws {
    let bytes = respStream(&mutator)
    let loop = EmbeddedEventLoop()
    let channel = EmbeddedChannel(loop: loop)
    let connection = RESPConnection(
        service: NoStore(), status: NoNode(), mailbox: CompletionMailbox(eventLoop: loop), id: 1)
    try channel.pipeline.syncOperations.addHandler(connection)
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    for piece in cut(bytes, &mutator) where channel.isActive {
        _ = try? channel.writeInbound(ByteBuffer(bytes: piece))
        loop.run()
    }
    channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    loop.run()
    var answers: [UInt8] = []
    while let answer = try? channel.readOutbound(as: ByteBuffer.self) { answers += Array(answer.readableBytesView) }
    precondition(answers.isEmpty || answers.suffix(2) == [13, 10], "an answer is cut")
    _ = try? channel.finish(acceptAlreadyClosed: true)
    if answers.isEmpty { throw Refused() }
}

// MARK: - Peers

private func frames(_ pieces: [[UInt8]]) -> (frames: [[UInt8]], isRefused: Bool) {
    var cutter = PeerFrameCutter(frameBytesMax: PeerLimits.helloBytesMax)
    var frames: [[UInt8]] = []
    for piece in pieces {
        var buffer = ByteBuffer(bytes: piece)
        do {
            while let frame = try cutter.next(&buffer) { frames.append(frame) }
        } catch {
            return (frames, true)
        }
    }
    return (frames, false)
}

private let directories: [PeerDirectory] = {
    let founders = PeerCorpus.founders
    return [
        PeerDirectory(member: founders[0], expected: 3, formed: nil),
        PeerDirectory(member: founders[0], expected: 3, formed: FormedCluster(id: "fuzz", members: founders)),
    ]
}()

private func shakeHands(_ mutator: inout Mutator) throws {
    let founders = PeerCorpus.founders
    let told = PeerDirectory(member: founders[1], expected: 3, formed: FormedCluster(id: "fuzz", members: founders))
    let forming = PeerDirectory(member: founders[1], expected: 2, formed: nil)
    let golden = try [told, forming].map {
        try Array(Strata_V1_PeerIdentity($0, .everything).serializedBytes() as [UInt8])
    }
    var bytes = mutator.pick(golden)
    mutator.reshape(&bytes, donor: mutator.pick(golden))
    var identity = try Strata_V1_PeerIdentity(serializedBytes: bytes)
    switch mutator.below(6) {
    case 0: identity.tcpPort = UInt32(truncatingIfNeeded: mutator.number(near: 65_535))
    case 1: identity.raftID = mutator.number(near: 1)
    case 2: identity.expectedMembers = UInt32(truncatingIfNeeded: mutator.number(near: 2))
    case 3: if !identity.members.isEmpty { identity.members.append(identity.members[0]) }
    case 4: if !identity.founders.isEmpty { identity.founders[0].raftID = mutator.number(near: 0) }
    default: break
    }
    if identity.formRefusal != nil { throw Refused() }
    let view = identity.view
    let isForming = mutator.chance(1, in: 2)
    let directory =
        isForming ? PeerDirectory(member: founders[0], expected: 1 + mutator.below(3), formed: nil) : directories[1]
    let refusal = directory.hear(view, mayApply: mutator.chance(1, in: 2))
    // What the groups of a cluster that was formed so would begin with.
    if let cluster = directory.cluster {
        _ = ClusterMembership(founders: cluster.founders).initial
        _ = cluster.membership.initial
    }
    if refusal != nil { throw Refused() }
}

// MARK: - Records

private func produce(_ mutator: inout Mutator) throws {
    let golden = Strata_V1_ProduceRequest.with {
        $0.topic = "events"
        $0.partition = 1
        $0.timeoutMs = 500
        $0.requestID = 7
        $0.records = [
            .with {
                $0.key = .init([1, 2])
                $0.value = .init([3])
                $0.timestampMs = 1_700_000_000_000
                $0.headers = [
                    .with {
                        $0.key = "trace"
                        $0.value = .init([1])
                    }
                ]
            }, .with { $0.value = .init([3]) },
        ]
    }
    var bytes: [UInt8] = try golden.serializedBytes()
    mutator.reshape(&bytes, donor: bytes)
    var request = try Strata_V1_ProduceRequest(serializedBytes: bytes)
    if !request.records.isEmpty, mutator.chance(1, in: 2) {
        let number = Int64(bitPattern: mutator.number(near: 253_402_300_799_999))
        request.records[mutator.below(request.records.count)].timestampMs = number
    }
    let batch = try request.batch(now: 1_700_000_000_000)
    _ = try RecordBatchView(validating: batch)
}
