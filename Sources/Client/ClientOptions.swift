// The client's limits. Every wait has a deadline, every buffer a bound.

public struct ClientOptions: Hashable, Sendable {
    /// One request with all its retries.
    public var requestTimeout: Duration = .seconds(10)
    /// Between two attempts of one request.
    public var retryPause: Duration = .milliseconds(10)
    /// Largest message that is accepted from a server.
    public var responseBytesMax = 16 << 20
    /// HTTP/2 flow-control window of each connection and stream.
    public var windowBytes = 8 << 20

    /// Writes of keys belong to a session of the cluster: one whose answer was lost is sent again and applied once.
    /// Without, such a write fails as ``ClientError/Code/unknown``.
    public var usesSessions = true

    public init() {}
}
