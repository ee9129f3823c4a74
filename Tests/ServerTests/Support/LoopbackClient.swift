// A plain TCP client for the front ends' tests: it sends the bytes that a test spells out and reads what comes back,
// with no protocol of its own, so that a test sees what is on the wire. Its calls block, so they run off Swift's thread
// pool.
import Dispatch
import Glibc
import Synchronization

/// A socket that didn't do what the test needs.
struct LoopbackError: Error, CustomStringConvertible {
    var description: String
}

/// One TCP connection to 127.0.0.1. Closed when it goes out of scope.
final class LoopbackClient: Sendable {
    private static let receiveSecondsMax = 20
    private let socket: Int32
    private let queue = DispatchQueue(label: "loopback client")

    init(port: Int) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { throw LoopbackError(description: "socket: errno \(errno)") }
        var timeout = timeval(tv_sec: Self.receiveSecondsMax, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else {
            Glibc.close(socket)
            throw LoopbackError(description: "connect to port \(port): errno \(errno)")
        }
    }

    deinit {
        Glibc.close(socket)
    }

    func send(_ text: String) async throws {
        try await send(Array(text.utf8))
    }

    func send(_ bytes: [UInt8]) async throws {
        try await blocking { socket in
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes { raw in
                    Glibc.send(socket, raw.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { throw LoopbackError(description: "send: errno \(errno)") }
                sent += count
            }
        }
    }

    /// Says that nothing more will be sent, as `nc -N` does at the end of its input.
    func closeSending() {
        shutdown(socket, Int32(SHUT_WR))
    }

    /// Reads exactly so many bytes.
    func receive(_ count: Int) async throws -> [UInt8] {
        let bytes = try await receive { $0.count >= count ? 0 : count - $0.count }
        guard bytes.count == count else {
            let text = String(decoding: bytes.prefix(200), as: UTF8.self)
            throw LoopbackError(description: "the connection ended after \(bytes.count) of \(count) bytes: \(text)")
        }
        return bytes
    }

    /// Reads as many bytes as the text has, and compares.
    func expect(_ text: String) async throws -> Bool {
        let received = try await receive(text.utf8.count)
        guard received == Array(text.utf8) else {
            throw LoopbackError(description: "received \(String(decoding: received, as: UTF8.self).debugDescription)")
        }
        return true
    }

    /// Reads until the other side closes.
    func receiveAll() async throws -> String {
        String(decoding: try await receive { _ in 64 * 1024 }, as: UTF8.self)
    }

    /// Reads until `next`, asked with what has arrived, wants no more, or the other side closes.
    func receive(_ next: @escaping @Sendable ([UInt8]) -> Int) async throws -> [UInt8] {
        try await blocking { socket in
            var received: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 64 * 1024)
            while true {
                let wanted = min(next(received), chunk.count)
                guard wanted > 0 else { return received }
                let count = recv(socket, &chunk, wanted, 0)
                if count == 0 { return received }
                guard count > 0 else {
                    throw LoopbackError(
                        description: "recv: errno \(errno) after \(String(decoding: received, as: UTF8.self))")
                }
                received.append(contentsOf: chunk[..<count])
            }
        }
    }

    private func blocking<Value: Sendable>(
        _ body: @escaping @Sendable (Int32) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body(self.socket) }) }
        }
    }
}
