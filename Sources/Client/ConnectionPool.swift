// One gRPC connection per server address, opened when first needed and kept until the client closes. A server that is
// down or cut off is tried again within a second; calls to it fail at once meanwhile and go elsewhere. A way that heals
// is used again within a second too, however long it was cut.
internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import NIOCore
internal import Synchronization

final class ConnectionPool: Sendable {
    typealias Connection = GRPCClient<HTTP2ClientTransport.Posix>

    private struct Entry {
        var client: Connection
        var running: Task<Void, Never>
        var hasEnded: EndedFlag
    }

    private final class EndedFlag: Sendable {
        private let flag = Atomic<Bool>(false)

        var isSet: Bool { flag.load(ordering: .acquiring) }

        func set() { flag.store(true, ordering: .releasing) }
    }

    /// A connection on which nothing came for so long is asked for a sign of life, which must come in time: it may lead
    /// to a node that is gone without a word. Servers let clients ask once a second.
    private static let pingAfter = Duration.seconds(2)
    private static let pingTimeout = Duration.seconds(1)
    /// The longest pause before a node that can't be reached is tried again.
    private static let backoffMax = Duration.milliseconds(250)
    private static let liveness = SocketLiveness(connectTimeout: .milliseconds(700), unacknowledgedMax: .seconds(2))

    /// How long calls under way may keep a closing client.
    private static let closeTimeout = Duration.seconds(1)

    private struct State {
        var entries: [String: Entry] = [:]
        var isClosed = false
    }

    private let options: ClientOptions
    private let state = Mutex(State())

    init(_ options: ClientOptions) {
        self.options = options
    }

    func connection(to address: String) throws(ClientError) -> Connection {
        let (host, port) = try ConnectionPool.parse(address)
        let options = options
        let result: Result<Connection, ClientError> = state.withLock { state in
            if state.isClosed { return .failure(ClientError(.closed, "the client is closed")) }
            if let entry = state.entries[address] { return .success(entry.client) }
            do {
                let client = GRPCClient(transport: try ConnectionPool.transport(host, port, options))
                let hasEnded = EndedFlag()
                // Ends when the client shuts down; an error means the same and shows up in the calls.
                let running = Task {
                    _ = try? await client.runConnections()
                    hasEnded.set()
                }
                state.entries[address] = Entry(client: client, running: running, hasEnded: hasEnded)
                return .success(client)
            } catch {
                return .failure(ClientError(.invalid, "\(address) can't be connected to: \(error)"))
            }
        }
        return try result.get()
    }

    func close() async {
        let entries = state.withLock { state in
            state.isClosed = true
            let entries = Array(state.entries.values)
            state.entries = [:]
            return entries
        }
        for entry in entries { entry.client.beginGracefulShutdown() }
        // Not awaited without a limit: a gRPC client whose server died in the same moment may never end its
        // connections.
        let deadline = ContinuousClock.now + ConnectionPool.closeTimeout
        while entries.contains(where: { !$0.hasEnded.isSet }), ContinuousClock.now < deadline, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(1))
        }
        for entry in entries { entry.running.cancel() }
    }

    /// `host:port`, with loopback for an empty host.
    static func parse(_ address: String) throws(ClientError) -> (host: String, port: Int) {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]),
            port > 0
        else {
            throw ClientError(.invalid, "'\(address)' is not an address; write host:port, for example 127.0.0.1:9092")
        }
        let host = String(address[..<colon])
        return (host.isEmpty ? "127.0.0.1" : host, Int(port))
    }

    private static func transport(
        _ host: String, _ port: Int, _ options: ClientOptions
    ) throws -> HTTP2ClientTransport.Posix {
        var config = HTTP2ClientTransport.Posix.Config.defaults
        // Coalescing waits 100 µs in each direction for more to send; batches come in one message already.
        config.connection.flushCoalescing = nil
        config.connection.maxIdleTime = nil
        config.http2.targetWindowSize = options.windowBytes
        config.backoff.initial = .milliseconds(20)
        config.backoff.max = backoffMax
        config.connection.keepalive = .init(time: pingAfter, timeout: pingTimeout, allowWithoutCalls: true)
        config.channelDebuggingCallbacks.onCreateTCPConnection = { liveness.applyBeforeConnecting($0) }
        let isLiteral = host.allSatisfy { $0.isNumber || $0 == "." }
        let target: any ResolvableTarget = isLiteral ? .ipv4(address: host, port: port) : .dns(host: host, port: port)
        return try HTTP2ClientTransport.Posix(target: target, transportSecurity: .plaintext, config: config)
    }
}
