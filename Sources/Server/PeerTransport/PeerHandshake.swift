// How a node finds out who is at an address, over gRPC, before anything else is said there: until both belong to one
// formed cluster, or one of them refuses.
import Cluster
import GRPCCore
import GRPCNIOTransportHTTP2
import NIOCore
import NIOPosix
import StrataClient
import StrataProtocol
import SwiftProtobuf
import Synchronization

/// Shakes hands with peers.
struct PeerHandshake: Sendable {
    /// Between two questions of a node that waits to be added.
    static let joiningPause = Duration.milliseconds(200)
    /// For one question and its answer.
    static let answerTimeout = Duration.seconds(2)

    let directory: PeerDirectory
    let liveness: SocketLiveness

    func clientTransport(to address: ListenAddress) throws -> HTTP2ClientTransport.Posix {
        let liveness = liveness
        return try HTTP2ClientTransport.Posix(
            target: .dns(host: address.host, port: address.port), transportSecurity: .plaintext,
            config: .defaults { config in
                config.connection.flushCoalescing = nil
                config.backoff.initial = .milliseconds(20)
                config.backoff.max = .milliseconds(200)
                config.channelDebuggingCallbacks.onCreateTCPConnection = { liveness.applyBeforeConnecting($0) }
            })
    }

    /// Fails unless somebody takes connections at the address: cheaper than to find that out with a gRPC client.
    func probe(_ address: ListenAddress, on group: any EventLoopGroup) async throws {
        let channel = try await ClientBootstrap(group: group)
            .connectTimeout(liveness.connectTimeout)
            .connect(host: address.host, port: address.port).get()
        channel.close(promise: nil)
    }

    /// Shakes hands on a client of its own and returns as soon as that is done. The client ends by itself, and nobody
    /// waits for it: its shutdown may never end when its server dies in that moment.
    func shakeHands(at address: ListenAddress) async throws -> (member: Member, tcpPort: Int) {
        let answer = HandshakeAnswer()
        let task = Task.detached {
            do {
                try await withGRPCClient(transport: clientTransport(to: address)) { client in
                    answer.give(.success(try await shakeHands(with: Strata_V1_Peer.Client(wrapping: client))))
                }
            } catch {
                answer.give(.failure(error))
            }
        }
        return try await withTaskCancellationHandler {
            try await answer.wait()
        } onCancel: {
            task.cancel()
        }
    }

    /// Asks who is there until both belong to one formed cluster.
    func shakeHands(
        with peer: Strata_V1_Peer.Client<HTTP2ClientTransport.Posix>
    ) async throws -> (member: Member, tcpPort: Int) {
        var options = CallOptions.defaults
        options.waitForReady = false
        options.timeout = Self.answerTimeout
        // Who the others are is said only to one that has shown who it is.
        var disclosure = PeerDisclosure.itself
        while true {
            let answer = try await peer.handshake(
                .with { $0.identity = Strata_V1_PeerIdentity(directory, disclosure) }, options: options)
            let view = answer.identity.view
            let wasFormed = view.clusterID != nil
            if let reason = answer.identity.versionRefusal ?? answer.identity.boundsRefusal
                ?? (answer.refusal.isEmpty ? nil : answer.refusal)
            {
                throw PeerRefusal(
                    reason: reason, isFinal: wasFormed && directory.cluster == nil || answer.removed)
            }
            if answer.identity.hasName {
                if view.member.id == directory.member.id, view.member.incarnation == directory.member.incarnation {
                    throw PeerRefusal(reason: "this node itself answers there", isFinal: false)
                }
                if let reason = directory.hear(view) {
                    throw PeerRefusal(reason: reason.why, isFinal: wasFormed && directory.cluster == nil)
                }
                if directory.cluster != nil, wasFormed { return (view.member, Int(answer.identity.tcpPort)) }
                disclosure = .everything
            }
            try await Task.sleep(for: directory.isJoining ? Self.joiningPause : .milliseconds(30))
        }
    }
}

/// A peer does not want this node, or the other way round.
struct PeerRefusal: Error, CustomStringConvertible {
    var reason: String
    /// A formed cluster has spoken to a node that has none: waiting can't help.
    var isFinal: Bool
    var description: String { reason }
}

/// The outcome of one handshake, given once and waited for once.
private final class HandshakeAnswer: Sendable {
    typealias Outcome = Result<(member: Member, tcpPort: Int), any Error>
    private enum State {
        case open
        case waiting(CheckedContinuation<Outcome, Never>)
        case given(Outcome)
        case done
    }
    private let state = Mutex(State.open)

    /// Later outcomes than the first are of no interest.
    func give(_ outcome: Outcome) {
        let continuation = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            switch state {
            case .open:
                state = .given(outcome)
                return nil
            case .waiting(let continuation):
                state = .done
                return continuation
            case .given, .done:
                return nil
            }
        }
        continuation?.resume(returning: outcome)
    }

    func wait() async throws -> (member: Member, tcpPort: Int) {
        let outcome = await withCheckedContinuation { continuation in
            let given = state.withLock { state -> Outcome? in
                if case .given(let outcome) = state {
                    state = .done
                    return outcome
                }
                state = .waiting(continuation)
                return nil
            }
            if let given { continuation.resume(returning: given) }
        }
        return try outcome.get()
    }
}
