// The client's sessions with the cluster: they number its writes, so that one whose answer was lost can be sent again and is
// applied once. A session has few writes under way, so that the cluster never forgets an answer that is still wanted; more
// writes at a time take more sessions.
internal import StrataProtocol
internal import Synchronization

final class WriteSessions: Sendable {
    /// Writes under way in one session, and how far apart their numbers may be: half of what the cluster keeps.
    private static let writesMax = 32

    private struct Session {
        var client: UInt64
        var next: UInt64 = 1
        /// Numbers under way, ascending.
        var open: [UInt64] = []
    }

    /// One write's number.
    struct Lease: Sendable {
        var client: UInt64
        var sequence: UInt64
        var acknowledged: UInt64

        var message: Strata_V1_SessionSequence {
            var message = Strata_V1_SessionSequence()
            message.client = client
            message.sequence = sequence
            message.acknowledged = acknowledged
            return message
        }
    }

    private let sessions = Mutex<[Session]>([])

    /// A number in a session with room; nil when a new session is needed.
    func take() -> Lease? {
        sessions.withLock { sessions in
            for place in sessions.indices {
                let session = sessions[place]
                let oldest = session.open.first ?? session.next
                guard session.open.count < Self.writesMax, session.next - oldest < UInt64(Self.writesMax) else {
                    continue
                }
                sessions[place].open.append(session.next)
                sessions[place].next += 1
                return Lease(client: session.client, sequence: session.next, acknowledged: oldest - 1)
            }
            return nil
        }
    }

    func add(_ client: UInt64) {
        sessions.withLock { $0.append(Session(client: client)) }
    }

    /// The write is over, one way or the other; it will not be sent again.
    func finish(_ lease: Lease) {
        sessions.withLock { sessions in
            guard let place = sessions.firstIndex(where: { $0.client == lease.client }) else { return }
            sessions[place].open.removeAll { $0 == lease.sequence }
        }
    }

    /// The session is over.
    func drop(_ client: UInt64) {
        sessions.withLock { $0.removeAll { $0.client == client } }
    }
}

extension StrataClient {
    /// Sends one write until it is answered, in a session unless the options say otherwise.
    /// - Parameter attempt: sends it once.
    func once<Value: Sendable>(
        isIdempotent: Bool,
        _ attempt: @escaping @Sendable (String, Strata_V1_SessionSequence?, SentFlag) async throws -> Value
    ) async throws(ClientError) -> Value {
        guard options.usesSessions, !isIdempotent else {
            return try await send(isIdempotent: isIdempotent, session: nil, AttemptCount(), attempt)
        }
        var reopened = false
        while true {
            let lease = try await lease()
            let attempts = AttemptCount()
            defer { sessions.finish(lease) }
            do throws(ClientError) {
                return try await send(isIdempotent: true, session: lease.message, attempts, attempt)
            } catch {
                guard error.code == .sessionExpired else { throw error }
                sessions.drop(lease.client)
                // An earlier attempt may have been applied before the session ended.
                guard attempts.value == 1, !reopened else { throw ClientError(.unknown, error.description) }
                reopened = true
            }
        }
    }

    private func send<Value: Sendable>(
        isIdempotent: Bool, session: Strata_V1_SessionSequence?, _ attempts: AttemptCount,
        _ attempt: @escaping @Sendable (String, Strata_V1_SessionSequence?, SentFlag) async throws -> Value
    ) async throws(ClientError) -> Value {
        do throws(ClientError) {
            return try await retrying(first: nil) { (address) async -> Attempt<Value> in
                let sent = SentFlag()
                do {
                    attempts.add()
                    return .done(try await attempt(address, session, sent))
                } catch {
                    let judged: Attempt<Value> = self.judge(
                        error, from: address, wasSent: sent.isSet, isIdempotent: isIdempotent)
                    // What would be tried again without a session was certainly not carried out: no doubt is left behind.
                    let plain: Attempt<Value> = self.judge(
                        error, from: address, wasSent: sent.isSet, isIdempotent: false)
                    if case .retry = plain { attempts.remove() }
                    return judged
                }
            }
        } catch {
            // Out of time: the session protects retries, not the one who gives up.
            guard session != nil, error.code == .unavailable, attempts.value > 0 else { throw error }
            throw ClientError(.unknown, error.description)
        }
    }

    private func lease() async throws(ClientError) -> WriteSessions.Lease {
        while true {
            if let lease = sessions.take() { return lease }
            let client = try await retrying(first: nil) { (address) async -> Attempt<UInt64> in
                do {
                    // A session that was opened in vain ends by itself.
                    let response = try await self.keyValue(address).openSession(.init(), options: self.callOptions)
                    return .done(response.client)
                } catch {
                    return self.judge(error, from: address, wasSent: true, isIdempotent: true)
                }
            }
            sessions.add(client)
        }
    }
}

/// Attempts of one write that may have reached a server.
final class AttemptCount: Sendable {
    private let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .relaxed) }
    func add() { count.add(1, ordering: .relaxed) }
    func remove() { count.subtract(1, ordering: .relaxed) }
}
