// Ports for the embedded nodes. They are taken from below the kernel's range for outgoing connections: a port from that
// range could be taken by any client while its node is down, and the node could not come back.
import Glibc

enum FreePorts {
    private static let lowest: UInt16 = 17_000

    /// `count` different loopback ports on which nobody listens now.
    static func find(_ count: Int, seed: UInt64) throws(LoadGenError) -> [UInt16] {
        let end = min(outgoingRangeStart(), 32_768)
        guard end > lowest, Int(end - lowest) > count * 4 else {
            throw LoadGenError.cluster(
                "the kernel's range of outgoing ports (net.ipv4.ip_local_port_range) leaves no ports for listeners "
                    + "above \(lowest); raise its lower bound to 32768")
        }
        let span = Int(end - lowest)
        var candidate = Int(seed % UInt64(span))
        var ports: [UInt16] = []
        for _ in 0..<span where ports.count < count {
            let port = lowest + UInt16(candidate)
            if isFree(port) { ports.append(port) }
            candidate = (candidate + 1) % span
        }
        guard ports.count == count else {
            throw LoadGenError.cluster("fewer than \(count) free ports between \(lowest) and \(end) on 127.0.0.1")
        }
        return ports
    }

    private static func outgoingRangeStart() -> UInt16 {
        guard let file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r") else { return 32_768 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 64)
        guard fgets(&line, Int32(line.count), file) != nil else { return 32_768 }
        return UInt16(clamping: strtol(line, nil, 10))
    }

    private static func isFree(_ port: UInt16) -> Bool {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return false }
        defer { close(socket) }
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = port.bigEndian
        target.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &target) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
