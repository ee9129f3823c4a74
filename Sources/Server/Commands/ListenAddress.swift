// A host and a port as people type them: `:7001`, `host:7001`, `7001`, `[::1]:7001`. An empty host means loopback,
// never "all interfaces": a node is not opened to the network by leaving something out.
import Glibc
import NIOCore

/// Where a listener is bound, or where a client connects.
struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    static let loopback = "127.0.0.1"
    /// RFC 1035, 2.3.4.
    static let hostBytesMax = 253

    /// A name or an address, without the brackets of IPv6.
    var host: String
    /// 0 asks the kernel for a free port; it is of use to listeners only.
    var port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `:7001`, `7001`, `host:7001` or `[v6]:7001`.
    init(parsing text: String) throws(CommandError) {
        let bytes = Array(text.utf8)
        guard !bytes.isEmpty else {
            throw .usage("the address is empty; write host:port, for example 127.0.0.1:7001")
        }
        if bytes[0] == UInt8(ascii: "[") {
            guard let end = bytes.lastIndex(of: UInt8(ascii: "]")) else {
                throw .usage("'\(text)' is not an address: the bracket is never closed; write [::1]:7001")
            }
            let host = bytes[1..<end]
            guard end + 1 < bytes.count, bytes[end + 1] == UInt8(ascii: ":") else {
                throw .usage("'\(text)' has no port; write [host]:port, for example [::1]:7001")
            }
            guard host.contains(UInt8(ascii: ":")), host.allSatisfy(Self.isIPv6Byte) else {
                throw .usage("'\(text)' is not an address: brackets hold an IPv6 address, as in [::1]:7001")
            }
            self.init(
                host: String(decoding: host, as: UTF8.self), port: try Self.port(bytes[(end + 2)...], of: text))
            return
        }
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")) else {
            guard bytes.allSatisfy(Self.isDigit) else {
                throw .usage("'\(text)' has no port; write host:port, for example \(text):7001")
            }
            self.init(host: Self.loopback, port: try Self.port(bytes[...], of: text))
            return
        }
        let host = bytes[..<colon]
        guard !host.contains(UInt8(ascii: ":")) else {
            throw .usage("'\(text)' is not an address: put an IPv6 host in brackets, as in [::1]:7001")
        }
        guard host.count <= Self.hostBytesMax, host.allSatisfy(Self.isHostByte) else {
            throw .usage("'\(text)' is not an address: a host name has letters, digits, dots and dashes only")
        }
        self.init(
            host: host.isEmpty ? Self.loopback : String(decoding: host, as: UTF8.self),
            port: try Self.port(bytes[(colon + 1)...], of: text))
    }

    /// As it is typed: host:port, an IPv6 host in brackets.
    var description: String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    private static func port(_ digits: ArraySlice<UInt8>, of text: String) throws(CommandError) -> Int {
        guard !digits.isEmpty else {
            throw .usage("'\(text)' has no port after the colon; write host:port, for example 127.0.0.1:7001")
        }
        guard digits.count <= 5, digits.allSatisfy(isDigit), let port = Int(String(decoding: digits, as: UTF8.self)),
            port <= UInt16.max
        else {
            throw .usage("'\(text)' has no valid port: a port is a number from 0 to 65535")
        }
        return port
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        isDigit(byte) || isLetter(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
            || byte == UInt8(ascii: "_")
    }

    private static func isIPv6Byte(_ byte: UInt8) -> Bool {
        // A zone, as in fe80::1%eth0, has letters of its own.
        isHostByte(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "%")
    }
}

extension ListenAddress {
    /// What to say when a listener can't be bound here: which, why, and which option mends it.
    func unusable(by listener: String, because error: any Error, option: String) -> CommandError {
        let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
        return .failed("the \(listener) listener can't use \(self): \(reason); give another address with \(option)")
    }
}
