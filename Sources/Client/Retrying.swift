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
    private static let leaderKey = "strata-leader-address"

    /// Runs `attempt` against one endpoint after another.
    /// - Parameter first: where to begin; nil takes the endpoints in turn.
    func retrying<Value: Sendable>(
        first: String?, _ attempt: @Sendable (_ address: String) async -> Attempt<Value>
    ) async throws(ClientError) -> Value {
        let deadline = ContinuousClock.now + options.requestTimeout
        var address = first ?? anyEndpoint()
        while true {
            let failure: ClientError
            switch await attempt(address) {
            case .done(let value): return value
            case .failed(let error): throw error
            case .retry(let error, let leader):
                failure = error
                address = leader ?? anyEndpoint()
            }
            guard ContinuousClock.now + options.retryPause < deadline, !Task.isCancelled else { throw failure }
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
        if error.code == .unimplemented || error.code == .invalidArgument {
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
