// Where the load goes: the embedded cluster, or one that is already there.

/// A cluster under load.
enum Target {
    case embedded(EmbeddedCluster)
    case external(grpc: [String], resp: [SocketAddress])

    var cluster: EmbeddedCluster? {
        if case .embedded(let cluster) = self { cluster } else { nil }
    }

    var grpcEndpoints: [String] {
        switch self {
        case .embedded(let cluster): cluster.grpcEndpoints.map(\.description)
        case .external(let grpc, _): grpc
        }
    }

    var respEndpoints: [SocketAddress] {
        switch self {
        case .embedded(let cluster): cluster.respEndpoints
        case .external(_, let resp): resp
        }
    }
}
