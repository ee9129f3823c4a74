// How Strata's gRPC listener is tuned (DESIGN §3.10). The defaults of the transport suit neither small round trips
// (they hold a flush back for 100 µs) nor bulk (a 64 KiB window).
import Cluster
import GRPCCore
import GRPCNIOTransportHTTP2
import KeyValue
import NIOCore

/// The settings of the gRPC listener.
enum GRPCServerSettings {
    /// Bytes that a client may send ahead of the server's reading.
    static let windowBytes = 8 * 1024 * 1024
    /// The largest message: the largest value, its key, and room for a batch's framing. A larger one ends its call as
    /// RESOURCE_EXHAUSTED.
    static let requestBytesMax = KeyValueLimits.valueBytesMax + 2 * KeyValueLimits.keyBytesMax
    /// A client that is silent for so long is asked whether it still lives, so that streams to dead machines end.
    static let keepaliveSeconds = 10
    static let keepaliveTimeoutSeconds = 5
    /// Clients may ask as often, with or without calls, to notice a dead node.
    static let clientPingSecondsMin = 1

    private static func config(_ diagnostics: Diagnostics) -> HTTP2ServerTransport.Posix.Config {
        .defaults { config in
            config.channelDebuggingCallbacks.onBindTCPListener = {
                AcceptPause.install(on: $0, listener: "gRPC", diagnostics: diagnostics)
            }
            config.connection.flushCoalescing = nil
            config.connection.keepalive = .init(
                time: .seconds(keepaliveSeconds), timeout: .seconds(keepaliveTimeoutSeconds),
                clientBehavior: .init(
                    minPingIntervalWithoutCalls: .seconds(clientPingSecondsMin), allowWithoutCalls: true))
            config.http2.targetWindowSize = windowBytes
            config.rpc.maxRequestPayloadSize = requestBytesMax
            config.channelDebuggingCallbacks.onAcceptHTTP2Stream = { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        MessageLimit(bytesMax: requestBytesMax), position: .first)
                }
            }
        }
    }

    /// A transport that will listen at the address.
    ///
    /// A host name is resolved here, which blocks; it is done once, before anything runs.
    /// - Parameter diagnostics: told when connections can't be accepted.
    /// - Throws: `CommandError` when the name is not known.
    static func transport(
        address: ListenAddress, diagnostics: Diagnostics = Diagnostics()
    ) throws -> HTTP2ServerTransport.Posix {
        let resolved: NIOCore.SocketAddress
        do {
            resolved = try .makeAddressResolvingHost(address.host, port: address.port)
        } catch {
            throw address.unusable(by: "gRPC", because: error, option: "--address")
        }
        let host = resolved.ipAddress ?? address.host
        return .http2NIOPosix(
            address: resolved.protocol == .inet6
                ? .ipv6(host: host, port: address.port) : .ipv4(host: host, port: address.port),
            transportSecurity: .plaintext, config: config(diagnostics))
    }
}
