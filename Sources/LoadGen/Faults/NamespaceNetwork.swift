// The network between the nodes of the embedded cluster, made by the kernel: each node in a network namespace of its
// own, all on one bridge, cut by routes into a pair of devices that nobody listens on. Needs root and iproute2. What
// the proxy does for bytes this does for packets: they are lost without a word to the sender, acknowledgements too, and
// TCP's own timers decide when a healed connection goes on.
import Glibc
import LabKit

/// Namespaces of one cluster. Used by the main thread only.
final class NamespaceNetwork {
    private static let ip = "ip"
    /// A device that swallows what is sent to it. (A route of type blackhole would tell the sender.)
    private static let hole = "hole"
    /// Names of links have at most 15 characters.
    private let prefix: String
    private let subnet: String
    private let nodes: Int

    /// Whether this process may make namespaces.
    static var isPossible: Bool {
        guard geteuid() == 0 else { return false }
        let name = "strata-probe-\(getpid())"
        guard CommandCapture.run([ip, "netns", "add", name])?.status == 0 else { return false }
        return CommandCapture.run([ip, "netns", "del", name])?.status == 0
    }

    /// Makes the namespaces and connects them.
    init(nodes: Int) throws(LoadGenError) {
        self.nodes = nodes
        prefix = "st\(getpid())"
        subnet = "10.77.\(getpid() % 250)"
        do throws(LoadGenError) {
            try make()
        } catch {
            close()
            throw error
        }
    }

    private func make() throws(LoadGenError) {
        try run("link", "add", bridge, "type", "bridge")
        try run("addr", "add", "\(clients)/24", "dev", bridge)
        try run("link", "set", bridge, "up")
        for node in 0..<nodes {
            let (space, link) = (space(node), link(node))
            try run("netns", "add", space)
            try run("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            try run("link", "set", link, "master", bridge)
            try run("link", "set", link, "up")
            try run("-n", space, "addr", "add", "\(host(node))/24", "dev", "eth0")
            try run("-n", space, "link", "set", "lo", "up")
            try run("-n", space, "link", "set", "eth0", "up")
            try run("-n", space, "link", "add", Self.hole, "type", "veth", "peer", "name", "\(Self.hole)-end")
            try run("-n", space, "link", "set", Self.hole, "arp", "off", "up")
            try run("-n", space, "link", "set", "\(Self.hole)-end", "up")
        }
    }

    /// A node's address, reachable from this process and from the other nodes.
    func host(_ node: Int) -> String { "\(subnet).\(node + 1)" }

    /// What to put before a node's command line.
    func entry(_ node: Int) -> [String] { ["/usr/sbin/ip", "netns", "exec", space(node)] }

    /// Lets nothing pass from one node to another any more.
    func cut(from: Int, to: Int) throws(LoadGenError) { try cut(from: from, to: host(to)) }

    /// Lets nothing that a node answers reach this process any more, acknowledgements included.
    func cutFromClients(_ node: Int) throws(LoadGenError) { try cut(from: node, to: clients) }

    private func cut(from: Int, to address: String) throws(LoadGenError) {
        try run("-n", space(from), "route", "replace", "\(address)/32", "dev", Self.hole, "src", host(from))
    }

    /// Takes every cut back.
    func heal() throws(LoadGenError) {
        for node in 0..<nodes { try run("-n", space(node), "route", "flush", "dev", Self.hole, "scope", "link") }
    }

    /// Removes everything again. What is not there is of no interest.
    func close() {
        for node in 0..<nodes {
            _ = CommandCapture.run([Self.ip, "link", "del", link(node)])
            _ = CommandCapture.run([Self.ip, "netns", "del", space(node)])
        }
        _ = CommandCapture.run([Self.ip, "link", "del", bridge])
    }

    /// This process's address there.
    private var clients: String { "\(subnet).254" }
    private var bridge: String { prefix + "br" }
    private func space(_ node: Int) -> String { "\(prefix)n\(node + 1)" }
    private func link(_ node: Int) -> String { "\(prefix)v\(node + 1)" }

    private func run(_ arguments: String...) throws(LoadGenError) {
        guard let output = CommandCapture.run([Self.ip] + arguments), output.status == 0 else {
            throw LoadGenError.cluster(
                "'ip \(arguments.joined(separator: " "))' failed: network namespaces need root and iproute2; "
                    + "--network proxy needs neither")
        }
    }
}
