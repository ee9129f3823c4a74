// The encoding of what nodes say to each other, the same on every transport (Docs/Formats/peer-messages.md). Entries
// travel as the very frames that both logs store. Decoding checks every length, every checksum and every number: what
// is beyond PeerCodecLimits no honest node sends, and the code behind may count on it. What does not decode is refused
// as a whole, never half used.
import Raft
import SegmentedLog

/// A message between two hosts.
enum PeerMessage {
    case raft(GroupID, Message, FrameBatch)
    case forward(ForwardedProposal)
    case forwardResult(ForwardedResult)
    /// The sender's node is alive; it says nothing about any group.
    case beat
    /// A question to a node, or its answer, that carries the asker's time: it measures the way there and back.
    case echo(time: UInt64, isAnswer: Bool)
    case snapshot(SnapshotMessage)
    case transfer(TransferRequest)
}

/// A proposal that reached a follower, on its way to the leader. Never sent twice: a lost answer is "unknown".
struct ForwardedProposal {
    /// Unique per sending host and start of it.
    var request: UInt64
    var group: GroupID
    /// As the sender counts its commands; the leader counts for itself.
    var operations: UInt32
    var payload: [UInt8]
}

/// The wish that the receiver hands its leadership of a group to `target`.
struct TransferRequest {
    var group: GroupID
    var target: NodeID
}

struct ForwardedResult {
    var request: UInt64
    var result: Result<UInt64, RequestError>
}

enum PeerCodec {
    private enum Tag: UInt8 {
        case raft = 1, forward = 2, forwardResult = 3, beat = 4, transfer = 5, snapshot = 8
    }

    static func encode(
        _ message: Message, group: GroupID, frames: FrameBatch, into writer: inout ByteWriter
    ) {
        encodeHead(of: message, group: group, frameBytes: frames.byteCount, into: &writer)
        writer.bytes.append(contentsOf: frames.bytes)
    }

    /// All of a message but its frames, which are to follow.
    static func encodeHead(
        of message: Message, group: GroupID, frameBytes: Int, into writer: inout ByteWriter
    ) {
        let start = writer.reserveLength()
        writer.write(Tag.raft.rawValue)
        writer.write(message.kind.rawValue)
        writer.write(UInt8((message.reject ? 1 : 0) | (message.force ? 2 : 0)))
        writer.write(UInt8(0))
        writer.write(group.rawValue)
        writer.write(message.from.rawValue)
        writer.write(message.to.rawValue)
        writer.write(message.term)
        writer.write(message.index)
        writer.write(message.logTerm)
        writer.write(message.commit)
        writer.write(message.rejectHint)
        writer.write(message.context)
        writer.fillLength(from: start, adding: frameBytes)
    }

    static func encode(_ forward: ForwardedProposal, into writer: inout ByteWriter) {
        let start = writer.reserveLength()
        writer.write(Tag.forward.rawValue)
        writer.write(forward.request)
        writer.write(forward.group.rawValue)
        writer.write(forward.operations)
        writer.bytes.append(contentsOf: forward.payload)
        writer.fillLength(from: start)
    }

    static func encode(_ request: TransferRequest, into writer: inout ByteWriter) {
        let start = writer.reserveLength()
        writer.write(Tag.transfer.rawValue)
        writer.write(request.group.rawValue)
        writer.write(request.target.rawValue)
        writer.fillLength(from: start)
    }

    static func encode(_ result: ForwardedResult, into writer: inout ByteWriter) {
        let start = writer.reserveLength()
        writer.write(Tag.forwardResult.rawValue)
        writer.write(result.request)
        switch result.result {
        case .success(let value):
            writer.write(UInt8(0))
            writer.write(value)
        case .failure(let error):
            let (code, text) = error.encoded
            writer.write(code)
            writer.bytes.append(contentsOf: Array(text.utf8))
        }
        writer.fillLength(from: start)
    }

    static func encodeBeat(into writer: inout ByteWriter) {
        let start = writer.reserveLength()
        writer.write(Tag.beat.rawValue)
        writer.fillLength(from: start)
    }

    /// A heartbeat, or its answer, of a group that no node has: versions that know no echo drop it.
    static func encodeEcho(
        time: UInt64, isAnswer: Bool, from: NodeID, to: NodeID, into writer: inout ByteWriter
    ) {
        var message = Message(isAnswer ? .heartbeatResponse : .heartbeat, from: from, to: to, term: 0)
        message.context = time
        encode(message, group: .echo, frames: FrameBatch(), into: &writer)
    }

    static func encode(_ message: SnapshotMessage, into writer: inout ByteWriter) {
        let start = writer.reserveLength()
        writer.write(Tag.snapshot.rawValue)
        message.encode(into: &writer)
        writer.fillLength(from: start)
    }

    static func isBeat(_ body: ArraySlice<UInt8>) -> Bool { body.count == 1 && body.first == Tag.beat.rawValue }

    /// The kind and the group of a heartbeat or of its answer; nil for every other message.
    static func heartbeat(_ body: ArraySlice<UInt8>) -> (kind: Message.Kind, group: GroupID)? {
        var reader = ByteReader(body)
        guard reader.read(UInt8.self) == Tag.raft.rawValue,
            let kind = reader.read(UInt8.self).flatMap(Message.Kind.init(rawValue:)),
            kind == .heartbeat || kind == .heartbeatResponse,
            reader.read(UInt16.self) != nil, let group = reader.read(UInt64.self)
        else { return nil }
        return (kind, GroupID(rawValue: group))
    }

    /// Decodes one batch; nil when anything in it is malformed.
    static func decode(_ bytes: [UInt8]) -> [PeerMessage]? {
        var reader = ByteReader(bytes[...])
        var messages: [PeerMessage] = []
        while !reader.isAtEnd {
            guard messages.count < PeerCodecLimits.messagesMax, let body = reader.readCounted(),
                let message = decodeOne(body)
            else { return nil }
            messages.append(message)
        }
        return messages
    }

    /// The head of a batch that holds one piece of a file and nothing else; nil when it is something else.
    static func decodePieceHead(_ head: ArraySlice<UInt8>, batchBytes: Int) -> SnapshotMessage? {
        var reader = ByteReader(head)
        guard let count = reader.read(UInt32.self), Int(count) + 4 == batchBytes,
            reader.read(UInt8.self) == Tag.snapshot.rawValue, let message = SnapshotMessage(&reader),
            case .chunk(let chunk) = message.content, chunk.bytes.count == 0
        else { return nil }
        return message
    }

    private static func decodeOne(_ body: ArraySlice<UInt8>) -> PeerMessage? {
        var reader = ByteReader(body)
        switch reader.read(UInt8.self).flatMap(Tag.init(rawValue:)) {
        case .raft:
            return decodeRaft(&reader)
        case .forward:
            guard let request = reader.read(UInt64.self), let group = reader.read(UInt64.self),
                let operations = reader.read(UInt32.self),
                body.endIndex - reader.position <= PeerCodecLimits.proposalBytesMax
            else { return nil }
            return .forward(
                ForwardedProposal(
                    request: request, group: GroupID(rawValue: group), operations: operations,
                    payload: Array(body[reader.position...])))
        case .forwardResult:
            guard let request = reader.read(UInt64.self), let code = reader.read(UInt8.self) else { return nil }
            if code == 0 {
                guard let value = reader.read(UInt64.self) else { return nil }
                return .forwardResult(ForwardedResult(request: request, result: .success(value)))
            }
            let text = String(decoding: body[reader.position...], as: UTF8.self)
            return .forwardResult(
                ForwardedResult(request: request, result: .failure(RequestError(code: code, text: text))))
        case .beat:
            return reader.isAtEnd ? .beat : nil
        case .snapshot:
            return SnapshotMessage(&reader).map { .snapshot($0) }
        case .transfer:
            guard let group = reader.read(UInt64.self), let target = reader.read(UInt64.self), reader.isAtEnd else {
                return nil
            }
            return .transfer(TransferRequest(group: GroupID(rawValue: group), target: NodeID(target)))
        case nil:
            return nil
        }
    }

    private static func decodeRaft(_ reader: inout ByteReader) -> PeerMessage? {
        guard let kind = reader.read(UInt8.self).flatMap(Message.Kind.init(rawValue:)),
            let flags = reader.read(UInt8.self), reader.read(UInt8.self) != nil,
            let group = reader.read(UInt64.self), let from = reader.read(UInt64.self),
            let to = reader.read(UInt64.self), let term = reader.read(UInt64.self),
            let index = reader.read(UInt64.self), let logTerm = reader.read(UInt64.self),
            let commit = reader.read(UInt64.self), let rejectHint = reader.read(UInt64.self),
            let context = reader.read(UInt64.self),
            max(term, index, logTerm, commit, rejectHint) <= PeerCodecLimits.positionMax
        else { return nil }
        var message = Message(kind, from: NodeID(from), to: NodeID(to), term: term)
        message.index = index
        message.logTerm = logTerm
        message.commit = commit
        message.reject = flags & 1 != 0
        message.force = flags & 2 != 0
        message.rejectHint = rejectHint
        message.context = context
        if group == GroupID.echo.rawValue { return .echo(time: context, isAnswer: kind == .heartbeatResponse) }
        guard !reader.isAtEnd else { return .raft(GroupID(rawValue: group), message, FrameBatch()) }
        // No overflow: the index is at most `positionMax`.
        guard kind == .append, let frames = try? FrameBatch(validating: Array(reader.bytes[reader.position...])),
            frames.firstIndex == index + 1, isPlausible(frames, after: logTerm, in: term)
        else { return nil }
        message.entries = frames.headers.map(EntryHeader.init)
        return .raft(GroupID(rawValue: group), message, frames)
    }
}

extension PeerCodec {
    /// Whether a leader of `term` can have these entries behind one of `previous`: terms never fall and none is newer
    /// than the leader's, and changes of the members can be read by this version.
    private static func isPlausible(_ frames: FrameBatch, after previous: Term, in term: Term) -> Bool {
        guard let first = frames.headers.first, let last = frames.headers.last, first.term >= previous,
            last.term <= term
        else { return false }
        for (position, header) in frames.headers.enumerated() where header.kind == .membership {
            guard ConfigurationCodec.decodeChange(frames.payload(position)) != nil else { return false }
        }
        return true
    }
}

/// What is believed of a peer. Honest nodes stay far below.
enum PeerCodecLimits {
    /// Indexes, terms and offsets: none is reached by counting, and the sum of any two fits into 64 bits.
    static let positionMax: UInt64 = 1 << 62
    /// Messages in one batch. A turn sends a few for each group and peer.
    static let messagesMax = 1 << 18
    /// Payload of one forwarded proposal: the largest value of the store, and what it may be wrapped in.
    static let proposalBytesMax = 32 * 1024 * 1024
}

extension EntryHeader {
    /// The core's view of a stored frame.
    init(_ frame: FrameHeader) {
        let kind: EntryKind =
            switch frame.kind {
            case .noop: .noop
            case .membership: .configuration
            default: .data
            }
        self.init(
            index: frame.index, term: frame.term, kind: kind,
            byteCount: UInt32(FrameHeader.byteCount) + frame.payloadCount)
    }
}

extension RequestError {
    /// Stable numbers for the wire; 0 is success.
    fileprivate var encoded: (UInt8, String) {
        switch self {
        case .notLeader: (1, "")
        case .unavailable(let text): (2, text)
        case .unknown(let text): (3, text)
        case .storage(let text): (4, text)
        case .invalid(let what, let text): (16 + what.code, text)
        }
    }

    /// A code of a newer version says nothing certain.
    fileprivate init(code: UInt8, text: String) {
        switch code {
        case 1: self = .notLeader(leader: nil)
        case 2: self = .unavailable(text)
        case 3: self = .unknown(text)
        case 4: self = .storage(text)
        default:
            guard code >= 16, let what = Invalid(code: code - 16) else {
                self = .unknown(text)
                return
            }
            self = .invalid(what, text)
        }
    }
}

extension RequestError.Invalid {
    private static let inOrder: [RequestError.Invalid] = [
        .emptyKey, .keyTooLong, .valueTooLong, .unknownTopic, .invalidTopicName, .topicExists, .invalidPartitions,
        .corruptBatch, .batchTooLarge, .offsetOutOfRange, .reservedKey, .notAnInteger, .sessionExpired,
        .sequenceForgotten, .membership, .invalidRecord, .tooManyPartitions,
    ]

    fileprivate var code: UInt8 {
        guard let position = Self.inOrder.firstIndex(of: self) else {
            preconditionFailure("every case of RequestError.Invalid has a number on the wire")
        }
        return UInt8(position)
    }

    fileprivate init?(code: UInt8) {
        guard code < Self.inOrder.count else { return nil }
        self = Self.inOrder[Int(code)]
    }
}
