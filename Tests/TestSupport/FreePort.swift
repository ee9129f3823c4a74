// Ports for servers under test: asked from the kernel, given back, and handed out once per test run so that two tests that
// run side by side don't take the same one.
import Foundation
import Glibc
import Synchronization

private let handedOut = Mutex<Set<Int>>([])

/// A TCP port on loopback that nobody uses at this moment.
public func freePort() throws -> Int {
    for _ in 0..<100 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { break }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard bound else { continue }
        let port = Int(UInt16(bigEndian: address.sin_port))
        if handedOut.withLock({ $0.insert(port).inserted }) { return port }
    }
    throw TestFailure("no free port was found")
}

/// A test's own set-up failed.
public struct TestFailure: Error, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
