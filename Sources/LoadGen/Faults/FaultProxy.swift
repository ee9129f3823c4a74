// The network between the nodes of the embedded cluster, as a program: every connection of one node to another goes
// through it, and it can cut a direction, delay it, or break connections, without root and without touching the kernel.
// Each directed pair of nodes has a loopback address of its own, so that who talks to whom is known without reading a
// byte. A cut loses nothing by itself: bytes wait, as they do in a kernel that sends again, and arrive late when the
// cut heals, unless the cut closes connections (``LinkCut``).
import Glibc
import LabKit
import Synchronization

/// One listener: connections from one node to one port of another.
struct ProxyLink: Hashable, Sendable {
    /// Numbers of nodes.
    var from: Int
    var to: Int
    var listen: SocketAddress
    var target: SocketAddress
}

/// Forwards connections on a thread of its own, by rules that any thread may change.
final class FaultProxy: Sendable {
    private struct Shared {
        /// By sender, then receiver.
        var rules: [[LinkRules]]
        var isStopping = false
    }

    private let shared: Mutex<Shared>
    private let wakeUp: Int32
    private let hasEnded = Atomic<Bool>(false)
    private let nodes: Int
    private let bytes: LinkBytes

    /// Listens for all links, then forwards until ``stop()``.
    init(_ links: [ProxyLink], nodes: Int, seed: UInt64) throws(LoadGenError) {
        self.nodes = nodes
        bytes = LinkBytes(nodes: nodes)
        shared = Mutex(
            Shared(rules: Array(repeating: Array(repeating: LinkRules(), count: nodes), count: nodes)))
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw LoadGenError.failed("no socket for the fault proxy: \(String(cString: strerror(errno)))")
        }
        wakeUp = ends[1]
        var listeners: [Int32] = []
        for link in links {
            let listener = link.listen.listen()
            guard listener >= 0 else {
                let why = String(cString: strerror(errno))
                for descriptor in listeners + ends { close(descriptor) }
                throw LoadGenError.cluster("the fault proxy can't listen on \(link.listen): \(why)")
            }
            listeners.append(listener)
        }
        let sockets = listeners
        let waking = ends[0]
        let thread = WorkerThread { [self] in
            var loop = ProxyLoop(links, listeners: sockets, waking: waking, seed: seed, bytes: bytes)
            while loop.turn({ self.current }) {}
            loop.close()
            hasEnded.store(true, ordering: .releasing)
        }
        thread.detach()
    }

    private var current: [[LinkRules]]? { shared.withLock { $0.isStopping ? nil : $0.rules } }

    /// Changes the rules; in force for every byte that is not on its way out yet.
    func change(_ body: (inout [[LinkRules]]) -> Void) {
        shared.withLock { body(&$0.rules) }
        wake()
    }

    /// Cuts the way from one node to another.
    func cut(from: Int, to: Int, _ cut: LinkCut = .held) {
        change { $0[from][to].cut = cut }
    }

    /// Bytes that nodes have sent so far, by sender, then receiver; also those that have not arrived yet.
    var bytesSent: [[UInt64]] { bytes.current }

    /// Takes every rule back.
    func heal() {
        let nodes = nodes
        change { $0 = Array(repeating: Array(repeating: LinkRules(), count: nodes), count: nodes) }
    }

    /// Ends all connections and waits for the thread.
    func stop() {
        shared.withLock { $0.isStopping = true }
        wake()
        let deadline = MonotonicClock.now() + 2_000_000_000
        while !hasEnded.load(ordering: .acquiring), MonotonicClock.now() < deadline {
            MonotonicClock.sleep(seconds: 0.001)
        }
        close(wakeUp)
    }

    private func wake() {
        var byte: UInt8 = 1
        // A full socket means that a wake-up is on its way already.
        _ = send(wakeUp, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    }
}
