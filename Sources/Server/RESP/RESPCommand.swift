// Turns a parsed command into a request: which keys and values, or which answer at once. It knows the commands' names
// and shapes and nothing of sockets or of the store; a wrong shape becomes an answer that says what is wrong.
import Cluster
import KeyValue
import NIOCore

/// What a command asks for.
enum RESPRequest {
    case get(key: [UInt8])
    /// SET, DELETE (one key, answered +OK whether it existed or not), INCR and its kin (answered with the number).
    case write(KeyValueWrite, session: WriteSequence?)
    case openSession
    case closeSession(client: UInt64)
    /// DEL: answered with how many of the keys existed.
    case deleteCounting(keys: [[UInt8]])
    /// Needs no store.
    case reply(RESPReply)
    /// HELLO: the protocol version from here on.
    case hello(version: Int)
    case info
    /// The first line of an HTTP request: someone points a browser at this port. The connection is dropped unanswered.
    case crossProtocol
}

/// A command's name as one number, letters in lower case, so that a command is found by comparing integers.
enum CommandName {
    static let get = pack("get")
    static let set = pack("set")
    static let delete = pack("delete")
    static let del = pack("del")
    static let incr = pack("incr")
    static let incrBy = pack("incrby")
    static let decr = pack("decr")
    static let decrBy = pack("decrby")
    static let session = pack("session")
    static let open = pack("open")
    static let close = pack("close")
    static let sequence = pack("seq")
    static let acknowledged = pack("ack")
    static let ping = pack("ping")
    static let echo = pack("echo")
    static let quit = pack("quit")
    static let command = pack("command")
    static let config = pack("config")
    static let client = pack("client")
    static let select = pack("select")
    static let hello = pack("hello")
    static let info = pack("info")
    static let post = pack("post")
    static let host = pack("host:")
    static let setName = pack("setname")
    static let setInfo = pack("setinfo")

    /// Up to 8 bytes as a number; 0 for a longer name, which no command has.
    static func pack(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        guard bytes.count <= 8 else { return 0 }
        var packed: UInt64 = 0
        for byte in bytes {
            let isUpper = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z")
            packed = packed << 8 | UInt64(isUpper ? byte | 0x20 : byte)
        }
        return packed
    }

    private static func pack(_ name: StaticString) -> UInt64 {
        pack(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }
}

extension RESPRequest {
    /// Reads the command that stands ready in `parser`.
    init(_ parser: RESPParser) {
        let count = parser.argumentCount
        switch parser.withArgument(0, CommandName.pack) {
        case CommandName.get:
            self = count == 2 ? .get(key: parser.argument(1)) : Self.wrongArity("get")
        case CommandName.set, CommandName.delete, CommandName.incr, CommandName.incrBy, CommandName.decr,
            CommandName.decrBy:
            self = Self.write(parser, from: 0, session: nil)
        case CommandName.session: self = Self.session(parser)
        case CommandName.del:
            self = Self.deletion(parser)
        case CommandName.ping:
            self = count == 1 ? .reply(.pong) : count == 2 ? .reply(.bulk(parser.argument(1))) : Self.wrongArity("ping")
        case CommandName.echo:
            self = count == 2 ? .reply(.bulk(parser.argument(1))) : Self.wrongArity("echo")
        case CommandName.quit: self = .reply(.goodbye)
        case CommandName.command: self = .reply(.emptyArray)
        case CommandName.config: self = Self.configuration(parser)
        case CommandName.client: self = Self.clientSetting(parser)
        case CommandName.select:
            let isZero = count == 2 && parser.withArgument(1) { $0.elementsEqual([UInt8(ascii: "0")]) }
            self =
                count != 2
                ? Self.wrongArity("select")
                : .reply(isZero ? .ok : .error("ERR DB index is out of range: there is one database, number 0"))
        case CommandName.hello: self = Self.greeting(parser)
        case CommandName.info: self = .info
        case CommandName.post, CommandName.host: self = .crossProtocol
        default:
            let name = parser.withArgument(0) { String(decoding: $0.prefix(64), as: UTF8.self) }
            self = .reply(.error("ERR unknown command '\(name)'"))
        }
    }

    static func wrongArity(_ name: String) -> RESPRequest {
        .reply(.error("ERR wrong number of arguments for '\(name)' command"))
    }

    private static func deletion(_ parser: RESPParser) -> RESPRequest {
        guard parser.argumentCount >= 2 else { return wrongArity("del") }
        guard parser.argumentCount - 1 <= RESPLimits.keysPerDeleteMax else {
            return .reply(
                .error("ERR DEL takes at most \(RESPLimits.keysPerDeleteMax) keys at a time; send several DEL"))
        }
        var keys: [[UInt8]] = []
        var seen: Set<[UInt8]> = []
        for index in 1..<parser.argumentCount {
            let key = parser.argument(index)
            // A key that is named twice is deleted, and counted, once.
            if seen.insert(key).inserted { keys.append(key) }
        }
        return .deleteCounting(keys: keys)
    }

    /// `CONFIG GET name`: what benchmarking tools ask before they start.
    private static func configuration(_ parser: RESPParser) -> RESPRequest {
        guard parser.argumentCount >= 2, parser.withArgument(1, CommandName.pack) == CommandName.get else {
            return .reply(.error("ERR CONFIG knows GET only; settings are given on the server's command line"))
        }
        guard parser.argumentCount == 3 else { return wrongArity("config|get") }
        let name = String(decoding: parser.argument(2), as: UTF8.self).lowercased()
        let values = ["save": "", "appendonly": "yes", "databases": "1", "maxmemory": "0"]
        guard let value = values[name] else { return .reply(.emptyArray) }
        var answer = ByteBuffer()
        RESPReply.writeHeader(UInt8(ascii: "*"), 2, to: &answer)
        RESPReply.writeBulk(name.utf8, to: &answer)
        RESPReply.writeBulk(value.utf8, to: &answer)
        return .reply(.encoded(answer))
    }

    /// `CLIENT SETNAME|SETINFO`: client libraries introduce themselves; nothing here needs to remember it.
    private static func clientSetting(_ parser: RESPParser) -> RESPRequest {
        guard parser.argumentCount >= 3 else { return wrongArity("client") }
        let subcommand = parser.withArgument(1, CommandName.pack)
        guard subcommand == CommandName.setName || subcommand == CommandName.setInfo else {
            return .reply(.error("ERR CLIENT knows SETNAME and SETINFO only"))
        }
        return .reply(.ok)
    }

    private static func greeting(_ parser: RESPParser) -> RESPRequest {
        guard parser.argumentCount >= 2 else { return .hello(version: 0) }
        switch String(decoding: parser.argument(1), as: UTF8.self) {
        case "2" where parser.argumentCount == 2: return .hello(version: 2)
        case "3" where parser.argumentCount == 2: return .hello(version: 3)
        case "2", "3": return .reply(.error("ERR HELLO takes a protocol version and no options here"))
        default: return .reply(.error("NOPROTO unsupported protocol version: this server speaks 2 and 3"))
        }
    }
}

extension RESPReply {
    /// The answer to HELLO: who this is, as a map (RESP3) or a flat list of pairs.
    static func greeting(version: Int) -> RESPReply {
        var buffer = ByteBuffer()
        let pairs = [("server", "strata"), ("version", "1.0.0"), ("mode", "standalone"), ("role", "master")]
        // The pairs of text, and `proto`, which is a number.
        let count = pairs.count + 1
        writeHeader(UInt8(ascii: version == 3 ? "%" : "*"), version == 3 ? count : count * 2, to: &buffer)
        for (name, value) in pairs {
            writeBulk(name.utf8, to: &buffer)
            writeBulk(value.utf8, to: &buffer)
        }
        writeBulk("proto".utf8, to: &buffer)
        writeHeader(UInt8(ascii: ":"), version, to: &buffer)
        return .encoded(buffer)
    }

    /// The answer to INFO, in Redis's sections.
    static func information(_ status: NodeStatus) -> RESPReply {
        let lines = [
            "# Server", "server_name:strata", "node_id:\(status.nodeID)", "cluster_id:\(status.clusterID)",
            "# Replication", "role:\(status.isLeader ? "master" : "slave")", "state:\(status.state)",
            "term:\(status.term)", "commit_index:\(status.commitIndex)", "log_length:\(status.logLength)",
            "leader:\(status.leader?.name ?? "")", "leader_address:\(status.leader?.address ?? "")",
            "# Health", "healthy:\(status.isHealthy ? 1 : 0)", "problem:\(status.problem ?? "")",
        ]
        return .bulk(Array(lines.map { $0 + "\r\n" }.joined().utf8))
    }
}
