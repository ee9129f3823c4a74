// The Swift client of a Strata cluster: topics, records and keys over gRPC. It finds the leaders, retries what
// certainly was not carried out, and never retries what may have been unless the caller allows it.
internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import StrataProtocol
internal import Synchronization

/// A client of one cluster. Create one and share it; close it at the end.
///
/// ```swift
/// let client = try StrataClient(endpoints: ["127.0.0.1:7001", "127.0.0.1:7002"])
/// try await client.createTopic("events", partitions: 6)
/// let receipt = try await client.produce(topic: "events", partition: 0, records: [OutgoingRecord(value: bytes)])
/// await client.close()
/// ```
public final class StrataClient: Sendable {
    /// Addresses to begin with, host:port of gRPC listeners; any member will do.
    public let endpoints: [String]
    public let options: ClientOptions

    let pool: ConnectionPool
    let routing = PartitionRouting()
    let sessions = WriteSessions()
    private let next = Atomic<Int>(0)

    /// Connects to nothing yet.
    /// - Throws: when there is no endpoint or one is no address.
    public init(endpoints: [String], options: ClientOptions = ClientOptions()) throws(ClientError) {
        guard !endpoints.isEmpty else {
            throw ClientError(.invalid, "a client needs the address of at least one server")
        }
        for endpoint in endpoints { _ = try ConnectionPool.parse(endpoint) }
        self.endpoints = endpoints
        self.options = options
        pool = ConnectionPool(options)
    }

    /// Ends the client's sessions with the cluster, as far as that takes a moment, and all connections; requests under
    /// way fail.
    public func close() async {
        await closeSessions()
        await pool.close()
    }

    /// The endpoints in turn.
    func anyEndpoint() -> String {
        let number = next.add(1, ordering: .relaxed).oldValue
        return endpoints[Int(UInt(bitPattern: number) % UInt(endpoints.count))]
    }

    func broker(_ address: String) throws(ClientError) -> Strata_V1_LogBroker.Client<HTTP2ClientTransport.Posix> {
        Strata_V1_LogBroker.Client(wrapping: try pool.connection(to: address))
    }

    func keyValue(_ address: String) throws(ClientError) -> Strata_V1_KeyValue.Client<HTTP2ClientTransport.Posix> {
        Strata_V1_KeyValue.Client(wrapping: try pool.connection(to: address))
    }

    /// For calls that end when their consumer wants.
    var streamOptions: CallOptions {
        var callOptions = CallOptions.defaults
        callOptions.maxResponseMessageBytes = options.responseBytesMax
        return callOptions
    }
}
