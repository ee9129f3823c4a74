// What a connection knows of its client: its number, and the names that client libraries give themselves. Serves CLIENT
// and HELLO; it changes nothing in how requests are treated.
import NIOCore

/// What `CLIENT` asks of the connection.
enum RESPClientRequest {
    case id
    case info
    case getName
    case setName([UInt8])
    case setLibraryName([UInt8])
    case setLibraryVersion([UInt8])
}

/// The client of one connection.
struct RESPClient {
    /// Counts the connections of the listener from 1; none is used twice.
    let id: UInt64
    var name: [UInt8] = []
    private var libraryName: [UInt8] = []
    private var libraryVersion: [UInt8] = []

    init(id: UInt64) {
        self.id = id
    }

    /// Carries out a request.
    mutating func answer(_ request: RESPClientRequest, version: Int, channel: (any Channel)?) -> RESPReply {
        switch request {
        case .id: return .integer(Int(truncatingIfNeeded: id))
        case .getName: return name.isEmpty ? .null : .bulk(name)
        case .setName(let name): self.name = name
        case .setLibraryName(let name): libraryName = name
        case .setLibraryVersion(let version): libraryVersion = version
        case .info:
            func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
            func text(_ address: NIOCore.SocketAddress?) -> String {
                guard let address, let ip = address.ipAddress, let port = address.port else { return "" }
                return address.protocol == .inet6 ? "[\(ip)]:\(port)" : "\(ip):\(port)"
            }
            let fields = [
                "id=\(id)", "addr=\(text(channel?.remoteAddress))", "laddr=\(text(channel?.localAddress))",
                "name=\(text(name))", "db=0", "resp=\(version)", "lib-name=\(text(libraryName))",
                "lib-ver=\(text(libraryVersion))",
            ]
            return .bulk(Array((fields.joined(separator: " ") + "\n").utf8))
        }
        return .ok
    }

    /// Names stand in lists that are separated by blanks.
    static func isName(_ bytes: [UInt8]) -> Bool {
        bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f }
    }
}
