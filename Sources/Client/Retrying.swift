// One request, tried until it succeeds, fails for good, or its deadline comes.
internal import GRPCCore
internal import StrataProtocol
internal import Synchronization

/// How one attempt ended. A value and not a thrown error: async closures with typed throws and a generic result crash
/// the 6.3.1 compiler.
enum Attempt<Value: Sendable>: Sendable {
    case done(Value)
    /// Certainly not carried out: another attempt does no harm. `leader` is whom to ask, when the answer said so.
    case retry(ClientError, leader: String?)
    /// Over.
    case failed(ClientError)
}

/// Whether a call got as far as the wire. Set when a stream on a live connection was there to write to.
final class SentFlag: Sendable {
    private let flag = Atomic<Bool>(false)

    var isSet: Bool { flag.load(ordering: .acquiring) }

    func set() {
        flag.store(true, ordering: .releasing)
    }
}

extension StrataClient {
    /// Metadata of a failed status that a server decided on; without it the failure is the connection's.
    private static let errorKey = "strata-error"
    static let leaderKey = "strata-leader-address"

    /// The least time that is worth another attempt.
    private static let attemptMin = Duration.milliseconds(250)

    /// When a request that begins now must be over.
    var newDeadline: ContinuousClock.Instant { .now + options.requestTimeout }

    /// Options of a call that must be over at the deadline of its request.
    /// - Parameter isRepeatable: the call may be sent again, so that one server may not use up all the time.
    func callOptions(until deadline: ContinuousClock.Instant, isRepeatable: Bool) -> CallOptions {
        var callOptions = streamOptions
        let left = max(deadline - .now, .zero)
        callOptions.timeout = isRepeatable ? min(left, options.attemptTimeout) : left
        return callOptions
    }

    /// Runs `attempt` against one endpoint after another, until one succeeds or fails for good, or the deadline comes.
    /// - Parameters:
    ///   - first: where to begin; nil takes the endpoints in turn.
    ///   - deadline: of the whole; neither an attempt nor a pause goes on behind it.
    ///   - isRepeatable: an attempt whose answer is late may be sent to another server.
    func retrying<Value: Sendable>(
        first: String?, until deadline: ContinuousClock.Instant, isRepeatable: Bool = true,
        _ attempt: @Sendable (_ address: String, _ options: CallOptions) async -> Attempt<Value>
    ) async throws(ClientError) -> Value {
        var address = first ?? anyEndpoint()
        while true {
            let failure: ClientError
            switch await attempt(address, callOptions(until: deadline, isRepeatable: isRepeatable)) {
            case .done(let value): return value
            case .failed(let error): throw error
            case .retry(let error, let leader):
                failure = error
                address = leader ?? anyEndpoint()
            }
            // An attempt that has hardly any time left would turn "not carried out" into "nobody knows".
            let shortest = options.retryPause + min(options.requestTimeout / 4, Self.attemptMin)
            guard ContinuousClock.now + shortest < deadline, !Task.isCancelled else { throw failure }
            // A cancelled sleep ends the wait early; the next round then gives up.
            try? await Task.sleep(for: options.retryPause)
        }
    }

    /// What a failed call means.
    /// - Parameters:
    ///   - wasSent: the request may have reached a server.
    ///   - isIdempotent: doing it twice does no harm.
    func judge<Value: Sendable>(
        _ error: any Error, from address: String, wasSent: Bool, isIdempotent: Bool
    ) -> Attempt<Value> {
        if let error = error as? ClientError {
            return error.code == .unavailable ? .retry(error, leader: nil) : .failed(error)
        }
        guard let error = error as? RPCError else {
            return wasSent && !isIdempotent
                ? .failed(ClientError(.unknown, "\(address): \(error)"))
                : .retry(ClientError(.unavailable, "\(address): \(error)"), leader: nil)
        }
        let text = "\(address): \(error.message) (\(error.code))"
        if let decided = decided(error, text, isIdempotent: isIdempotent) as Attempt<Value>? { return decided }
        if [.unimplemented, .invalidArgument, .resourceExhausted].contains(error.code) {
            return .failed(ClientError(.invalid, text))
        }
        if !wasSent || isIdempotent {
            return .retry(ClientError(.unavailable, text), leader: nil)
        }
        return .failed(ClientError(.unknown, "\(text); the request may have been carried out"))
    }

    /// What a server decided about a call, if it was a server that failed it.
    private func decided<Value: Sendable>(_ error: RPCError, _ text: String, isIdempotent: Bool) -> Attempt<Value>? {
        guard let number = error.metadata[stringValues: StrataClient.errorKey].first(where: { _ in true }),
            let code = Strata_V1_ErrorCode(rawValue: Int(number) ?? -1),
            let failure = ClientError(code, text)
        else { return nil }
        let isRetryable = failure.code == .unavailable || failure.code == .unknown && isIdempotent
        let leader = error.metadata[stringValues: StrataClient.leaderKey].first { _ in true }
        return isRetryable ? .retry(failure, leader: leader) : .failed(failure)
    }
}
