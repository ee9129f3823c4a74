// Commands that are more than plain writes: writes under a session, increments, opening and closing of sessions. An
// entry of plain writes stays what it was, a write batch; its first eight bytes are 0, and a list's are not, which
// tells them apart. Docs/Formats/key-value-commands.md has the layout. Decoding trusts nothing.
import Cluster
import Storage

/// One command of a list.
struct KeyValueCommand {
    enum Action {
        case write(WriteBatch)
        case increment(key: [UInt8], by: Int64)
        case openSession
        case closeSession(client: UInt64)
        /// Answered with how many of the keys existed.
        case deleteCounting(keys: [[UInt8]])
    }
    var action: Action
    var session: WriteSequence?

    /// What all members must be able to read for it.
    var requiredLevel: UInt32 {
        if case .deleteCounting = action { return FeatureLevel.countingDelete }
        return 0
    }

    /// What is wrong with it, if anything; what passes can be applied.
    var problem: RequestError? {
        if let problem = session?.problem { return problem }
        switch action {
        case .write(let batch): return KeyValueLimits.check(batch)
        case .increment(let key, _): return KeyValueLimits.check(key: key)
        case .deleteCounting(let keys): return KeyValueLimits.check(deleting: keys)
        case .openSession, .closeSession: return nil
        }
    }
}

extension KeyValueLimits {
    /// What is wrong with a plain write, if anything.
    static func check(_ batch: WriteBatch) -> RequestError? {
        for write in batch {
            guard write.kind != .deleteRange else {
                return .invalid(.corruptBatch, "a range of keys can't be deleted by a command")
            }
            if let error = check(key: write.key, value: write.value) { return error }
        }
        return nil
    }
}

enum CommandList {
    /// In the place of a write batch's sequence, which is 0 in a log.
    private static let tag: UInt64 = 1
    /// Tag, count, time.
    static let headerBytes = 20
    private static let timePosition = 12

    private enum Kind: UInt8 { case write = 0, increment = 1, openSession = 2, closeSession = 3, deleteCounting = 4 }
    /// Beside the kind: the command belongs to a session.
    private static let sessionFlag: UInt8 = 0x80

    static func isList(_ payload: some Collection<UInt8>) -> Bool {
        payload.first == UInt8(tag)
    }

    static func encode(_ commands: [KeyValueCommand]) -> [UInt8] {
        var bytes = header(count: commands.count)
        for command in commands { append(command, to: &bytes) }
        return bytes
    }

    private static func header(count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: tag)
        bytes.append(littleEndian: UInt32(count))
        bytes.append(littleEndian: UInt64(0))
        return bytes
    }

    private static func append(_ command: KeyValueCommand, to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(littleEndian: UInt32(0))
        let kind: Kind =
            switch command.action {
            case .write: .write
            case .increment: .increment
            case .openSession: .openSession
            case .closeSession: .closeSession
            case .deleteCounting: .deleteCounting
            }
        bytes.append(kind.rawValue | (command.session == nil ? 0 : sessionFlag))
        if let session = command.session {
            bytes.append(littleEndian: session.client)
            bytes.append(littleEndian: session.sequence)
            bytes.append(littleEndian: session.acknowledged)
        }
        switch command.action {
        case .write(let batch): bytes.append(contentsOf: batch.bytes)
        case .increment(let key, let by):
            bytes.append(littleEndian: by)
            bytes.append(contentsOf: key)
        case .openSession: break
        case .closeSession(let client): bytes.append(littleEndian: client)
        case .deleteCounting(let keys):
            for key in keys {
                bytes.append(littleEndian: UInt32(key.count))
                bytes.append(contentsOf: key)
            }
        }
        let length = UInt32(bytes.count - start - 4)
        for byte in 0..<4 { bytes[start + byte] = UInt8(truncatingIfNeeded: length >> UInt32(8 * byte)) }
    }

    /// One list out of payloads of both forms.
    static func join(_ payloads: [[UInt8]]) -> [UInt8]? {
        var joined = header(count: 0)
        var count: UInt32 = 0
        for payload in payloads {
            if isList(payload) {
                var reader = CommandReader(payload[...])
                guard reader.word() == tag, let commands = reader.number(UInt32.self), reader.word() != nil else {
                    return nil
                }
                let (sum, overflow) = count.addingReportingOverflow(commands)
                if overflow { return nil }
                count = sum
                joined.append(contentsOf: payload[headerBytes...])
            } else {
                guard let batch = try? WriteBatch(validating: payload) else { return nil }
                let (sum, overflow) = count.addingReportingOverflow(1)
                guard !overflow else { return nil }
                count = sum
                append(KeyValueCommand(action: .write(batch)), to: &joined)
            }
        }
        for byte in 0..<4 { joined[8 + byte] = UInt8(truncatingIfNeeded: count >> UInt32(8 * byte)) }
        return joined
    }

    /// Writes the leader's time into a list.
    static func stamp(_ payload: inout [UInt8], time: UInt64) {
        guard payload.count >= headerBytes else { return }
        for byte in 0..<8 { payload[timePosition + byte] = UInt8(truncatingIfNeeded: time >> UInt64(8 * byte)) }
    }

    /// nil when anything in it is malformed.
    static func decode(_ payload: ArraySlice<UInt8>) -> (time: UInt64, commands: [KeyValueCommand])? {
        var reader = CommandReader(payload)
        guard reader.word() == tag, let count = reader.number(UInt32.self), let time = reader.word() else { return nil }
        var commands: [KeyValueCommand] = []
        while !reader.isAtEnd {
            guard let length = reader.number(UInt32.self), let body = reader.bytes(Int(length)),
                let command = decodeOne(body)
            else { return nil }
            commands.append(command)
        }
        return commands.count == count ? (time, commands) : nil
    }

    /// How many answers commands get when they are applied: see ``CommandRun/answers``.
    static func answerCount(of commands: [KeyValueCommand]) -> UInt32 {
        var count = 0
        for command in commands {
            if command.session == nil, case .write(let batch) = command.action {
                count += max(1, batch.count)
            } else {
                count += 1
            }
        }
        return UInt32(clamping: count)
    }

    private static func decodeOne(_ body: ArraySlice<UInt8>) -> KeyValueCommand? {
        var reader = CommandReader(body)
        guard let first = reader.byte(), let kind = Kind(rawValue: first & ~sessionFlag) else { return nil }
        var session: WriteSequence?
        if first & sessionFlag != 0 {
            guard let client = reader.word(), let sequence = reader.word(), let acknowledged = reader.word() else {
                return nil
            }
            session = WriteSequence(client: client, sequence: sequence, acknowledged: acknowledged)
        }
        switch kind {
        case .write:
            guard let batch = try? WriteBatch(validating: Array(reader.rest)) else { return nil }
            return KeyValueCommand(action: .write(batch), session: session)
        case .increment:
            guard let by = reader.number(Int64.self), !reader.isAtEnd else { return nil }
            return KeyValueCommand(action: .increment(key: Array(reader.rest), by: by), session: session)
        case .openSession:
            return reader.isAtEnd ? KeyValueCommand(action: .openSession, session: session) : nil
        case .closeSession:
            guard let client = reader.word(), reader.isAtEnd else { return nil }
            return KeyValueCommand(action: .closeSession(client: client), session: session)
        case .deleteCounting:
            var keys: [[UInt8]] = []
            while !reader.isAtEnd {
                guard let length = reader.number(UInt32.self), let key = reader.bytes(Int(length)) else { return nil }
                keys.append(Array(key))
            }
            return KeyValueCommand(action: .deleteCounting(keys: keys), session: session)
        }
    }
}

extension [UInt8] {
    mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}

/// Reads little-endian numbers; nil at the end.
struct CommandReader {
    private let source: ArraySlice<UInt8>
    private var position: Int

    init(_ source: ArraySlice<UInt8>) {
        self.source = source
        position = source.startIndex
    }

    var isAtEnd: Bool { position == source.endIndex }
    var rest: ArraySlice<UInt8> { source[position...] }

    mutating func byte() -> UInt8? { number(UInt8.self) }
    mutating func word() -> UInt64? { number(UInt64.self) }

    mutating func number<Value: FixedWidthInteger>(_ type: Value.Type) -> Value? {
        let size = MemoryLayout<Value>.size
        guard source.endIndex - position >= size else { return nil }
        var value: Value = 0
        for byte in 0..<size { value |= Value(truncatingIfNeeded: source[position + byte]) << Value(8 * byte) }
        position += size
        return value
    }

    mutating func bytes(_ count: Int) -> ArraySlice<UInt8>? {
        guard source.endIndex - position >= count else { return nil }
        defer { position += count }
        return source[position..<position + count]
    }
}
