// The commands that write, and the prefix that makes a write safe to send again:
//
//   SET key value | DELETE key | DEL key... | INCR key | INCRBY key n | DECR key | DECRBY key n
//   SESSION OPEN                                  the client's number
//   SESSION CLOSE client
//   SESSION client SEQ n [ACK m] <one of the writes>
//
// A prefix and no state of the connection: pools and pipelines may send each attempt over another one.
// Docs/Sessions.md.
import KeyValue

extension RESPRequest {
    /// Reads the write whose name is argument `start`.
    static func write(_ parser: RESPParser, from start: Int, session: WriteSequence?) -> RESPRequest {
        let count = parser.argumentCount - start
        let name = parser.withArgument(start, CommandName.pack)
        switch name {
        case CommandName.set:
            if count == 3 {
                let put = KeyValueWrite.put(key: parser.argument(start + 1), value: parser.argument(start + 2))
                return .write(put, session: session)
            }
            return count < 3
                ? wrongArity("set")
                : .reply(.error("ERR syntax error: SET takes a key and a value, and no options here"))
        case CommandName.delete:
            guard count == 2 else { return wrongArity("delete") }
            return .write(.delete(key: parser.argument(start + 1)), session: session)
        case CommandName.del:
            guard count >= 2 else { return wrongArity("del") }
            guard count - 1 <= RESPLimits.keysPerDeleteMax else {
                return .reply(
                    .error("ERR DEL takes at most \(RESPLimits.keysPerDeleteMax) keys at a time; send several DEL"))
            }
            let keys = (1..<count).map { parser.argument(start + $0) }
            return .write(.deleteCounting(keys: keys), session: session)
        case CommandName.incr, CommandName.decr:
            let isIncrement = name == CommandName.incr
            guard count == 2 else { return wrongArity(isIncrement ? "incr" : "decr") }
            let write = KeyValueWrite.increment(key: parser.argument(start + 1), by: isIncrement ? 1 : -1)
            return .write(write, session: session)
        case CommandName.incrBy, CommandName.decrBy:
            let isIncrement = name == CommandName.incrBy
            guard count == 3 else { return wrongArity(isIncrement ? "incrby" : "decrby") }
            guard let number = parser.withArgument(start + 2, { RESPInteger.signed($0) }), isIncrement || number != .min
            else {
                return .reply(.error("ERR value is not an integer or out of range"))
            }
            let write = KeyValueWrite.increment(key: parser.argument(start + 1), by: isIncrement ? number : -number)
            return .write(write, session: session)
        default:
            return .reply(.error("ERR a session's write is SET, DEL, DELETE, INCR, INCRBY, DECR or DECRBY"))
        }
    }

    static func session(_ parser: RESPParser) -> RESPRequest {
        let count = parser.argumentCount
        guard count >= 2 else { return wrongArity("session") }
        switch parser.withArgument(1, CommandName.pack) {
        case CommandName.open: return count == 2 ? .openSession : wrongArity("session|open")
        case CommandName.close:
            guard count == 3 else { return wrongArity("session|close") }
            guard let client = number(parser, 2) else { return malformed }
            return .closeSession(client: client)
        default: break
        }
        guard count >= 5, let client = number(parser, 1),
            parser.withArgument(2, CommandName.pack) == CommandName.sequence,
            let sequence = number(parser, 3)
        else { return malformed }
        var session = WriteSequence(client: client, sequence: sequence)
        var start = 4
        if parser.withArgument(4, CommandName.pack) == CommandName.acknowledged {
            guard count >= 7, let acknowledged = number(parser, 5) else { return malformed }
            session.acknowledged = acknowledged
            start = 6
        }
        return write(parser, from: start, session: session)
    }

    private static var malformed: RESPRequest {
        .reply(
            .error("ERR syntax error: SESSION OPEN, SESSION CLOSE client, or SESSION client SEQ n [ACK m] and a write"))
    }

    private static func number(_ parser: RESPParser, _ index: Int) -> UInt64? {
        parser.withArgument(index) { RESPInteger.unsigned($0) }
    }
}

extension KeyValueWrite {
    /// Key and value.
    var byteCount: Int {
        switch self {
        case .put(let key, let value): key.count + value.count
        case .delete(let key), .increment(let key, _): key.count
        case .deleteCounting(let keys): keys.reduce(0) { $0 + $1.count }
        }
    }

    var isAnsweredByNumber: Bool {
        switch self {
        case .increment, .deleteCounting: true
        case .put, .delete: false
        }
    }
}
