// The commands that ask about the server: `COMMAND [COUNT | LIST | INFO [name ...] | DOCS [name ...]]` and
// `CONFIG GET pattern [pattern ...]`. Client libraries and benchmarking tools ask before they start; settings are given
// on the command line and can't be changed here.
import NIOCore

/// A command as `COMMAND INFO` describes it.
private struct CommandDescription {
    var name: String
    /// Arguments, the name among them; negative: at least so many.
    var arity: Int
    var flags: [String]
    /// Where the keys stand: first, last, step.
    var keys: (Int, Int, Int)

    init(_ name: String, _ arity: Int, _ flags: [String] = ["fast"], keys: (Int, Int, Int) = (0, 0, 0)) {
        self.name = name
        self.arity = arity
        self.flags = flags
        self.keys = keys
    }

    static let all: [CommandDescription] = {
        let one = (1, 1, 1)
        let write = ["write", "denyoom", "fast"]
        return [
            .init("auth", -2), .init("client", -2), .init("command", -1), .init("config", -2),
            .init("decr", 2, write, keys: one), .init("decrby", 3, write, keys: one),
            .init("del", -2, ["write"], keys: (1, -1, 1)), .init("delete", 2, ["write"], keys: one), .init("echo", 2),
            .init("get", 2, ["readonly", "fast"], keys: one), .init("hello", -1), .init("incr", 2, write, keys: one),
            .init("incrby", 3, write, keys: one), .init("info", -1), .init("ping", -1), .init("quit", -1),
            .init("select", 2), .init("session", -2, ["write", "denyoom"]),
            .init("set", -3, ["write", "denyoom"], keys: one),
        ]
    }()

    var reply: RESPReply {
        .array([
            .bulk(Array(name.utf8)), .integer(arity), .array(flags.map { .status($0) }), .integer(keys.0),
            .integer(keys.1), .integer(keys.2), .array([]), .array([]), .array([]), .array([]),
        ])
    }
}

extension RESPRequest {
    static func commandTable(_ parser: RESPParser) -> RESPRequest {
        let count = parser.argumentCount
        guard count >= 2 else { return .reply(.array([])) }
        func names() -> [String] {
            (2..<count).map { index in
                parser.withArgument(index) { String(decoding: $0.prefix(64), as: UTF8.self).lowercased() }
            }
        }
        switch parser.withArgument(1, CommandName.pack) {
        case CommandName.count:
            return count == 2 ? .reply(.integer(CommandDescription.all.count)) : wrongArity("command|count")
        case CommandName.list:
            guard count == 2 else { return .reply(.error("ERR syntax error: COMMAND LIST takes no filter here")) }
            return .reply(.array(CommandDescription.all.map { .bulk(Array($0.name.utf8)) }))
        case CommandName.info:
            guard count - 2 <= RESPLimits.namesMax else { return tooManyNames("COMMAND INFO") }
            let asked = count == 2 ? CommandDescription.all.map(\.name) : names()
            return .reply(
                .array(
                    asked.map { name in
                        CommandDescription.all.first { $0.name == name }?.reply ?? .nullArray
                    }))
        // The descriptions are in the documents only.
        case CommandName.docs: return .reply(.map([]))
        default:
            let name = parser.withArgument(1) { String(decoding: $0.prefix(64), as: UTF8.self) }
            return .reply(.error("ERR unknown subcommand '\(name)'. COMMAND knows COUNT, LIST, INFO and DOCS"))
        }
    }

    private static func tooManyNames(_ command: String) -> RESPRequest {
        .reply(.error("ERR \(command) takes at most \(RESPLimits.namesMax) names at a time"))
    }

    private static let settings = [
        ("appendonly", "yes"), ("databases", "1"), ("maxmemory", "0"), ("save", ""),
    ]

    static func configuration(_ parser: RESPParser) -> RESPRequest {
        let count = parser.argumentCount
        guard count >= 2 else { return wrongArity("config") }
        guard parser.withArgument(1, CommandName.pack) == CommandName.get else {
            return .reply(.error("ERR CONFIG knows GET only; settings are given on the server's command line"))
        }
        guard count >= 3 else { return wrongArity("config|get") }
        guard count - 2 <= RESPLimits.namesMax else { return tooManyNames("CONFIG GET") }
        let patterns = (2..<count).map { parser.argument($0) }
        guard patterns.allSatisfy({ $0.count <= RESPLimits.patternBytesMax }) else {
            return .reply(.error("ERR a pattern has at most \(RESPLimits.patternBytesMax) bytes"))
        }
        let globs = patterns.map { RESPGlob($0) }
        // A name that several patterns match is told once.
        let found = settings.filter { setting in globs.contains { $0.matches(setting.0.utf8) } }
        return .reply(.map(found.map { ($0.0, .bulk(Array($0.1.utf8))) }))
    }
}
