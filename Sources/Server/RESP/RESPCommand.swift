// Turns a parsed command into a request: which keys and values, or which answer at once. It knows the commands' names
// and shapes and nothing of sockets or of the store; a wrong shape becomes an answer that says what is wrong.
import Cluster
import KeyValue

/// What a command asks for.
enum RESPRequest {
    case get(key: [UInt8])
    /// SET, DELETE (one key, answered +OK whether it existed or not), INCR and its kin (answered with the number), DEL
    /// (answered with how many of the keys existed).
    case write(KeyValueWrite, session: WriteSequence?)
    case openSession
    case closeSession(client: UInt64)
    /// Needs no store.
    case reply(RESPReply)
    /// HELLO: the protocol version from here on, and the client's name.
    case hello(RESPHello)
    /// CLIENT: about the connection itself.
    case client(RESPClientRequest)
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
    static let auth = pack("auth")
    static let id = pack("id")
    static let getName = pack("getname")
    static let setName = pack("setname")
    static let setInfo = pack("setinfo")
    static let noEvict = pack("no-evict")
    static let noTouch = pack("no-touch")
    static let on = pack("on")
    static let off = pack("off")
    static let count = pack("count")
    static let list = pack("list")
    static let docs = pack("docs")

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
            self = Self.write(parser, from: 0, session: nil)
        case CommandName.ping:
            self = count == 1 ? .reply(.pong) : count == 2 ? .reply(.bulk(parser.argument(1))) : Self.wrongArity("ping")
        case CommandName.echo:
            self = count == 2 ? .reply(.bulk(parser.argument(1))) : Self.wrongArity("echo")
        case CommandName.quit: self = .reply(.goodbye)
        case CommandName.command: self = Self.commandTable(parser)
        case CommandName.config: self = Self.configuration(parser)
        case CommandName.client: self = Self.clientSetting(parser)
        case CommandName.select:
            let isZero = count == 2 && parser.withArgument(1) { $0.elementsEqual([UInt8(ascii: "0")]) }
            self =
                count != 2
                ? Self.wrongArity("select")
                : .reply(isZero ? .ok : .error("ERR DB index is out of range: there is one database, number 0"))
        case CommandName.hello: self = Self.greeting(parser)
        case CommandName.auth: self = Self.authentication(parser)
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
}

extension RESPReply {
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
