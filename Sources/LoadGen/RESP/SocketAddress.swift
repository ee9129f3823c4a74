// Where a listener is: an IPv4 address and a port, ready for connect(2).
import Glibc

/// A host and port as written by people, and resolved.
struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    let host: String
    let port: UInt16
    /// Network byte order.
    private let address: UInt32

    var description: String { "\(host):\(port)" }

    /// Accepts `host:port` and `:port` (loopback). Names are resolved here, once.
    init(parsing text: String) throws(LoadGenError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else {
            throw LoadGenError.usage("'\(text)' is not an address; write host:port, for example 127.0.0.1:7001")
        }
        try self.init(host: parts[0].isEmpty ? "127.0.0.1" : String(parts[0]), port: port)
    }

    init(host: String, port: UInt16) throws(LoadGenError) {
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &found) == 0, let found else {
            throw LoadGenError.usage("the host name '\(host)' can't be resolved to an IPv4 address; check its spelling")
        }
        defer { freeaddrinfo(found) }
        guard let resolved = found.pointee.ai_addr else {
            throw LoadGenError.usage("the host name '\(host)' has no IPv4 address")
        }
        self.host = host
        self.port = port
        address = resolved.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr.s_addr }
    }

    /// Opens a non-blocking TCP socket and begins to connect it, with Nagle's delay off.
    /// - Returns: the descriptor, or -1 with errno set when the peer refuses at once or no socket can be had.
    func beginConnect() -> Int32 {
        let socket = Glibc.socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return -1 }
        var one: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = port.bigEndian
        target.sin_addr.s_addr = address
        let result = withUnsafePointer(to: &target) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result != 0, errno != EINPROGRESS {
            let code = errno
            close(socket)
            errno = code
            return -1
        }
        return socket
    }

    /// A non-blocking listener here, or -1 with errno set.
    func listen() -> Int32 {
        let socket = Glibc.socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return -1 }
        var one: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = port.bigEndian
        place.sin_addr.s_addr = address
        let result = withUnsafePointer(to: &place) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0, Glibc.listen(socket, 128) == 0 else {
            let code = errno
            close(socket)
            errno = code
            return -1
        }
        return socket
    }

    /// Makes an accepted socket like those of `beginConnect`.
    static func prepare(_ socket: Int32) {
        _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
        _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
        var one: Int32 = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }
}
