// Ports for servers under test: below the kernel's range for outgoing connections, since any client or listener could
// take one of that range before its server does, and handed out once per test run so that two tests that run side by
// side don't take the same one.
import Foundation
import Glibc
import Synchronization

private let outgoingStart = {
    let range = try? String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)
    return max(20_100, range?.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? 32_768)
}()
private let handedOut = Mutex<Set<Int>>([])

/// A TCP port on loopback that nobody uses at this moment.
public func freePort() throws -> Int {
    for _ in 0..<100 {
        let port = Int.random(in: 20_000..<outgoingStart)
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { break }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        address.sin_port = in_port_t(port).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0
            }
        }
        if bound, handedOut.withLock({ $0.insert(port).inserted }) { return port }
    }
    throw TestFailure("no free port was found")
}

/// A test's own set-up failed.
public struct TestFailure: Error, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
