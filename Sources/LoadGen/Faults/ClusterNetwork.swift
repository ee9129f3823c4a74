// Whatever connects the nodes of the embedded cluster, and the partitions that it can make of it.
import LabKit

/// How nodes reach each other.
enum NetworkKind: String, Hashable, Sendable, CaseIterable {
    /// Directly, over loopback: nothing can be cut.
    case loopback
    /// Through a ``FaultProxy``.
    case proxy
    /// Each in a network namespace.
    case namespaces
}

enum ClusterNetwork {
    case loopback
    case proxy(FaultProxy)
    case namespaces(NamespaceNetwork)

    /// Cuts the way from one node to another. A kernel's network is always a black hole.
    func cut(from: Int, to: Int, _ cut: LinkCut = .held) throws(LoadGenError) {
        switch self {
        case .loopback:
            throw LoadGenError.failed("nodes that talk over loopback can't be cut off: use --network proxy")
        case .proxy(let proxy): proxy.cut(from: from, to: to, cut)
        case .namespaces(let namespaces): try namespaces.cut(from: from, to: to)
        }
    }

    /// Cuts a node off from all others; one way only when asked.
    func isolate(
        _ node: Int, of nodes: Int, incoming: Bool = true, outgoing: Bool = true, _ cut: LinkCut = .held
    ) throws(LoadGenError) {
        for other in 0..<nodes where other != node {
            if outgoing { try self.cut(from: node, to: other, cut) }
            if incoming { try self.cut(from: other, to: node, cut) }
        }
    }

    func heal() throws(LoadGenError) {
        switch self {
        case .loopback: break
        case .proxy(let proxy): proxy.heal()
        case .namespaces(let namespaces): try namespaces.heal()
        }
    }

    func close() {
        switch self {
        case .loopback: break
        case .proxy(let proxy): proxy.stop()
        case .namespaces(let namespaces): namespaces.close()
        }
    }
}
