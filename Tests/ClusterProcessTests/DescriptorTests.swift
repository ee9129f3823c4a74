// A real node that runs out of descriptors because of its clients: its listeners rest, each says so once, what is
// connected is served on, and so is everybody else when there are descriptors again.
import Foundation
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct DescriptorTests {
        /// A connection to a port on loopback; the system may hold it in the listener's queue.
        private final class Connection {
            private let descriptor: Int32

            init(port: Int) throws {
                descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                guard descriptor >= 0 else { throw TestFailure("the test itself has no descriptor left") }
                var wait = timeval(tv_sec: 10, tv_usec: 0)
                setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = in_port_t(port).bigEndian
                address.sin_addr.s_addr = inet_addr("127.0.0.1")
                let result = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                guard result == 0 else { throw TestFailure("no connection to port \(port): errno \(errno)") }
            }

            deinit { close(descriptor) }

            /// What comes back first; empty when nothing does.
            func ask(_ text: String) -> String {
                var buffer = [UInt8](repeating: 0, count: 4096)
                guard send(descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL)) > 0 else { return "" }
                let count = recv(descriptor, &buffer, buffer.count, 0)
                return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : ""
            }
        }

        private func lines(_ node: TestNode, _ listener: String) -> Int {
            node.log.split(separator: "\n").count { $0.contains("the \(listener) listener can't accept connections") }
        }

        @Test func listenersRestWithoutDescriptorsSaySoOnceAndRecover() throws {
            let cluster = try TestCluster(size: 1)
            let node = cluster.nodes[0]
            node.entry = ["/usr/bin/prlimit", "--nofile=300"]
            try cluster.start()
            let first = try Connection(port: node.resp)
            #expect(first.ask("PING\r\n") == "+PONG\r\n")
            var crowd = try (0..<400).map { _ in try Connection(port: node.resp) }
            try eventually("RESP says so: \(node.log)") { lines(node, "RESP") == 1 }
            let others = try [node.http, node.grpc].map { try Connection(port: $0) }
            try eventually("HTTP and gRPC say so: \(node.log)") {
                lines(node, "HTTP") == 1 && lines(node, "gRPC") == 1
            }
            // Ten rests later nobody has said it again, and who is connected is served.
            Thread.sleep(forTimeInterval: 1)
            #expect(["RESP", "HTTP", "gRPC"].map { lines(node, $0) } == [1, 1, 1], "\(node.log)")
            #expect(first.ask("SET k 1\r\n") == "+OK\r\n")
            withExtendedLifetime(crowd) {}
            crowd = []
            let answer = others[0].ask("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(answer)")
            #expect(try Connection(port: node.resp).ask("GET k\r\n") == "$1\r\n1\r\n")
            let created = try Program.shell(
                "Server topics --create t --endpoint :\(node.grpc)", folder: cluster.folder.path)
            #expect(created.status == 0, "\(created.errors)")
            #expect(try node.stop()?.status == 0)
        }

        /// The same of the listener for peers.
        @Test func theListenerForPeersRestsToo() throws {
            let cluster = try TestCluster(size: 3)
            let node = cluster.nodes[0]
            node.entry = ["/usr/bin/prlimit", "--nofile=300"]
            let port = try freePort()
            node.extraArguments = ["--peer-port", "\(port)"]
            try cluster.start()
            var crowd = try (0..<320).map { _ in try Connection(port: port) }
            try eventually("the listener says so: \(node.log)") { lines(node, "peer") == 1 }
            Thread.sleep(forTimeInterval: 1)
            #expect(lines(node, "peer") == 1, "\(node.log)")
            // Whoever is connected stays so: the cluster serves.
            #expect(try cluster.nodes[1].set("k", "1") == 200)
            withExtendedLifetime(crowd) {}
            crowd = []
            // A peer that was away comes in again.
            try cluster.nodes[1].kill()
            try cluster.nodes[1].start()
            try cluster.waitForLeader()
            #expect(try cluster.nodes[1].get("k") == "1")
            for node in cluster.nodes { #expect(try node.stop()?.status == 0) }
        }
    }
}
