// The commands with which client libraries introduce themselves and ask who is there:
//
//   HELLO [2|3 [AUTH user password] [SETNAME name]]
//   AUTH [user] password
//   CLIENT ID | INFO | GETNAME | SETNAME name | SETINFO LIB-NAME|LIB-VER value | NO-EVICT on|off | NO-TOUCH on|off
//
// There are no users but `default`, who needs no password: whatever is given for it is right, as in Redis without a
// password.
import NIOCore

/// What HELLO asks for.
struct RESPHello {
    /// Nil: the one that is spoken.
    var version: Int?
    /// The client's name, when it says one.
    var name: [UInt8]?
}

extension RESPRequest {
    private static let badName = RESPRequest.reply(
        .error("ERR Client names cannot contain spaces, newlines or special characters."))
    private static let longName = RESPRequest.reply(
        .error("ERR a client's name has at most \(RESPLimits.clientNameBytesMax) bytes"))

    static func greeting(_ parser: RESPParser) -> RESPRequest {
        let count = parser.argumentCount
        guard count >= 2 else { return .hello(RESPHello()) }
        guard let version = parser.withArgument(1, { RESPInteger.signed($0) }) else {
            return .reply(.error("ERR Protocol version is not an integer or out of range"))
        }
        guard version == 2 || version == 3 else {
            return .reply(.error("NOPROTO unsupported protocol version: this server speaks 2 and 3"))
        }
        var hello = RESPHello(version: Int(version))
        var index = 2
        while index < count {
            switch parser.withArgument(index, CommandName.pack) {
            case CommandName.auth where index + 2 < count:
                if let refusal = refusal(ofUser: parser.argument(index + 1)) { return .reply(refusal) }
                index += 3
            case CommandName.setName where index + 1 < count:
                let name = parser.argument(index + 1)
                guard RESPClient.isName(name) else { return badName }
                guard name.count <= RESPLimits.clientNameBytesMax else { return longName }
                hello.name = name
                index += 2
            default:
                let option = parser.withArgument(index) { String(decoding: $0.prefix(64), as: UTF8.self) }
                return .reply(.error("ERR Syntax error in HELLO option '\(option)'"))
            }
        }
        return .hello(hello)
    }

    static func authentication(_ parser: RESPParser) -> RESPRequest {
        switch parser.argumentCount {
        case 1: return wrongArity("auth")
        case 2:
            return .reply(
                .error(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
                        + "configuration is correct?"))
        case 3: return .reply(refusal(ofUser: parser.argument(1)) ?? .ok)
        default: return .reply(.error("ERR syntax error"))
        }
    }

    private static func refusal(ofUser user: [UInt8]) -> RESPReply? {
        user.elementsEqual("default".utf8)
            ? nil : .error("WRONGPASS invalid username-password pair or user is disabled.")
    }

    static func clientSetting(_ parser: RESPParser) -> RESPRequest {
        let count = parser.argumentCount
        guard count >= 2 else { return wrongArity("client") }
        func taking(_ arguments: Int, _ name: String, _ request: @autoclosure () -> RESPRequest) -> RESPRequest {
            count == arguments + 2 ? request() : wrongArity("client|" + name)
        }
        switch parser.withArgument(1, CommandName.pack) {
        case CommandName.id: return taking(0, "id", .client(.id))
        case CommandName.info: return taking(0, "info", .client(.info))
        case CommandName.getName: return taking(0, "getname", .client(.getName))
        case CommandName.setName: return taking(1, "setname", named(parser.argument(2)))
        case CommandName.setInfo: return taking(2, "setinfo", library(parser))
        case CommandName.noEvict: return taking(1, "no-evict", onOrOff(parser))
        case CommandName.noTouch: return taking(1, "no-touch", onOrOff(parser))
        default:
            let name = parser.withArgument(1) { String(decoding: $0.prefix(64), as: UTF8.self) }
            return .reply(
                .error(
                    "ERR unknown subcommand '\(name)'. CLIENT knows ID, INFO, GETNAME, SETNAME, SETINFO, NO-EVICT and NO-TOUCH"
                ))
        }
    }

    private static func named(_ name: [UInt8]) -> RESPRequest {
        guard RESPClient.isName(name) else { return badName }
        return name.count <= RESPLimits.clientNameBytesMax ? .client(.setName(name)) : longName
    }

    private static func library(_ parser: RESPParser) -> RESPRequest {
        let value = parser.argument(3)
        let option = parser.withArgument(2) { String(decoding: $0.prefix(64), as: UTF8.self) }
        guard ["lib-name", "lib-ver"].contains(option.lowercased()) else {
            return .reply(.error("ERR Unrecognized option '\(option)'"))
        }
        guard RESPClient.isName(value) else {
            return .reply(.error("ERR \(option) cannot contain spaces, newlines or special characters."))
        }
        guard value.count <= RESPLimits.clientNameBytesMax else { return longName }
        return .client(option.lowercased() == "lib-name" ? .setLibraryName(value) : .setLibraryVersion(value))
    }

    /// Nothing is evicted and nothing is touched here, so either is granted.
    private static func onOrOff(_ parser: RESPParser) -> RESPRequest {
        let value = parser.withArgument(2, CommandName.pack)
        return .reply(value == CommandName.on || value == CommandName.off ? .ok : .error("ERR syntax error"))
    }
}

extension RESPReply {
    /// The answer to HELLO: who this is.
    static func greeting(version: Int, id: UInt64) -> RESPReply {
        func text(_ text: String) -> RESPReply { .bulk(Array(text.utf8)) }
        return .map([
            ("server", text("strata")), ("version", text("1.0.0")), ("proto", .integer(version)),
            ("id", .integer(Int(truncatingIfNeeded: id))), ("mode", text("standalone")), ("role", text("master")),
            ("modules", .array([])),
        ])
    }
}
