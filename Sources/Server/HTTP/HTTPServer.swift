// The HTTP front end as a service: Hummingbird with our routes, bound to one address. It starts listening when it is
// run and ends, after the requests in flight, when the group that runs it shuts down.
import Cluster
import Hummingbird
import HummingbirdCore
import KeyValue
import Logging
import NIOCore
import NIOHTTPTypesHTTP1
import ServiceLifecycle
import StrataNode

/// An HTTP listener over a store.
struct HTTPServer: Service {
    /// Open connections; more wait in the kernel's queue.
    static let connectionsMax = 10_000
    /// A connection that says nothing for so long is closed.
    static let idleSecondsMax: Int64 = 120

    private let address: ListenAddress
    private let application: Application<HTTPRoutes>

    /// - Parameters:
    ///   - diagnostics: told when connections can't be accepted.
    ///   - metrics: makes the text of `/metrics`; called on Swift's thread pool.
    ///   - onListening: told the bound port, once; of use when port 0 was asked for.
    init(
        address: ListenAddress, store: any KeyValueService, node: any NodeStatusService,
        hashes: any StateHashService, cluster: (any ClusterAdministration & ClusterApplicants)? = nil,
        pending: PendingRequests, group: any EventLoopGroup, diagnostics: Diagnostics = Diagnostics(), logger: Logger,
        metrics: @escaping @Sendable () -> String,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) {
        self.address = address
        let configuration = ApplicationConfiguration(
            address: .hostname(address.host, port: address.port), backlog: 1024,
            availableConnectionsDelegate: .maximum(Self.connectionsMax, logger: logger))
        application = Application(
            responder: HTTPRoutes(
                store: store, node: node, hashes: hashes, cluster: cluster, metrics: metrics, pending: pending),
            server: HTTPServerBuilder { HTTPConnections(responder: $0) },
            configuration: configuration,
            onServerRunning: { channel in
                // Fails only on a channel that is closed already.
                try? await AcceptPause.install(on: channel, listener: "HTTP", diagnostics: diagnostics).get()
                await onListening(channel.localAddress?.port ?? 0)
            },
            eventLoopGroupProvider: .shared(group), logger: logger)
    }

    /// Serves until shutdown.
    /// - Throws: `CommandError` with a sentence that names the address, when it can't be bound.
    func run() async throws {
        do {
            try await application.run()
        } catch let error as IOError {
            throw address.unusable(by: "HTTP", because: error, option: "--http")
        }
    }
}

/// Hummingbird's HTTP/1 with ``HTTPConnectionHandler`` on every connection.
private struct HTTPConnections: ServerChildChannel {
    private let http: HTTP1Channel

    init(responder: @escaping HTTPChannelHandler.Responder) {
        http = HTTP1Channel(
            responder: responder,
            configuration: .init(
                idleTimeout: .seconds(HTTPServer.idleSecondsMax),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: HTTPConnectionHandler.headFieldBytesMax,
                    maxHeaderListSize: HTTPConnectionHandler.headBytesMax,
                    maxHeaderFieldCount: HTTPConnectionHandler.headFieldsMax)))
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        http.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let codec = try pipeline.handler(type: HTTP1ToHTTPServerCodec.self)
            try pipeline.addHandler(HTTPConnectionHandler(), position: .before(codec))
            return value
        }
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async {
        await http.handle(value: value, logger: logger)
    }
}
