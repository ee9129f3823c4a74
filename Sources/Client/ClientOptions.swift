// The client's limits. Every wait has a deadline, every buffer a bound.

public struct ClientOptions: Hashable, Sendable {
    /// One request with all its retries, the search for a leader and the opening of a session included.
    public var requestTimeout: Duration = .seconds(10)
    /// One attempt of a request that may be sent again; then the next server is asked.
    public var attemptTimeout: Duration = .seconds(3)
    /// Between two attempts of one request.
    public var retryPause: Duration = .milliseconds(10)
    /// Largest message that is accepted from a server.
    public var responseBytesMax = 16 << 20
    /// Largest record batch that a pipelined producer sends: a server ends the stream at a message that is too long for
    /// it.
    public var batchBytesMax = 16 << 20
    /// HTTP/2 flow-control window of each connection and stream.
    public var windowBytes = 8 << 20

    /// Writes of keys belong to a session of the cluster: one whose answer was lost is sent again and applied once.
    /// Without, such a write fails as ``ClientError/Code/unknown``.
    public var usesSessions = true

    public init() {}
}
