// The client's sessions with the cluster: they number its writes, so that one whose answer was lost can be sent again
// and is applied once. A session has few writes under way, so that the cluster never forgets an answer that is still
// wanted; more writes at a time take more sessions, one opened after the other and never more than a few: the cluster
// has room for so many, and one more would push another client's out.
internal import GRPCCore
internal import StrataProtocol
internal import Synchronization

final class WriteSessions: Sendable {
    /// Writes under way in one session, and how far apart their numbers may be: half of what the cluster keeps.
    static let writesMax = 32
    /// Sessions of one client; writes beyond what they take wait.
    static let sessionsMax = 32

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

    /// What a write that wants a number has to do.
    enum Step: Sendable {
        case take(Lease)
        /// Open a session and say so by ``opened(_:)`` or ``openingFailed()``: nobody else does meanwhile.
        case open
        /// Wait for a change, seen from this one.
        case wait(change: UInt64)
        case closed
    }

    private struct Waiter {
        var id: UInt64
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var sessions: [Session] = []
        var isOpening = false
        var isClosed = false
        /// Opened while the client was being closed; to be ended.
        var leftOver: [UInt64] = []
        /// Counts what may let a waiter go on.
        var changes: UInt64 = 0
        var waiters: [Waiter] = []
        var nextWaiter: UInt64 = 0

        mutating func change(waking count: Int) -> [Waiter] {
            changes += 1
            let woken = Array(waiters.prefix(count))
            waiters.removeFirst(woken.count)
            return woken
        }
    }

    private let state = Mutex(State())

    /// What to do next for a number.
    func step() -> Step {
        state.withLock { state in
            if state.isClosed { return .closed }
            for place in state.sessions.indices {
                let session = state.sessions[place]
                let oldest = session.open.first ?? session.next
                guard session.open.count < Self.writesMax, session.next - oldest < UInt64(Self.writesMax) else {
                    continue
                }
                state.sessions[place].open.append(session.next)
                state.sessions[place].next += 1
                return .take(Lease(client: session.client, sequence: session.next, acknowledged: oldest - 1))
            }
            if state.isOpening || state.sessions.count >= Self.sessionsMax { return .wait(change: state.changes) }
            state.isOpening = true
            return .open
        }
    }

    /// A session is being opened.
    var isOpening: Bool { state.withLock { $0.isOpening } }

    /// The session that ``Step/open`` asked for is there.
    func opened(_ client: UInt64) {
        change(waking: Self.writesMax) { state in
            state.isOpening = false
            if state.isClosed {
                state.leftOver.append(client)
            } else {
                state.sessions.append(Session(client: client))
            }
        }
    }

    /// No session could be opened; the next one who waits tries.
    func openingFailed() {
        change(waking: 1) { $0.isOpening = false }
    }

    /// The write is over, one way or the other; it will not be sent again.
    func finish(_ lease: Lease) {
        change(waking: 1) { state in
            guard let place = state.sessions.firstIndex(where: { $0.client == lease.client }) else { return }
            state.sessions[place].open.removeAll { $0 == lease.sequence }
        }
    }

    /// The session is over.
    func drop(_ client: UInt64) {
        change(waking: 1) { $0.sessions.removeAll { $0.client == client } }
    }

    /// Refuses every write from now on.
    /// - Returns: the sessions to end, and whether another is just being opened.
    func close() -> (clients: [UInt64], isOpening: Bool, change: UInt64) {
        change(waking: .max) { $0.isClosed = true }
        return state.withLock { state in
            let clients = state.sessions.map(\.client) + state.leftOver
            state.sessions = []
            state.leftOver = []
            return (clients, state.isOpening, state.changes)
        }
    }

    private func change(waking count: Int, _ body: (inout State) -> Void) {
        let woken = state.withLock { state in
            body(&state)
            return state.change(waking: count)
        }
        for waiter in woken { waiter.continuation.resume() }
    }

    /// Waits until something has changed since `change`, the deadline has come, or the task is cancelled.
    func wait(since change: UInt64, until deadline: ContinuousClock.Instant) async {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        let timer = Task {
            try? await Task.sleep(until: deadline, clock: .continuous)
            self.leave(id)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goesOn = state.withLock { state in
                    if state.changes != change || Task.isCancelled || ContinuousClock.now >= deadline { return true }
                    state.waiters.append(Waiter(id: id, continuation: continuation))
                    return false
                }
                if goesOn { continuation.resume() }
            }
        } onCancel: {
            leave(id)
        }
        timer.cancel()
    }

    /// A waiter gives up.
    private func leave(_ id: UInt64) {
        let waiter = state.withLock { state -> Waiter? in
            guard let place = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return state.waiters.remove(at: place)
        }
        waiter?.continuation.resume()
    }
}

extension StrataClient {
    /// How long the end of the sessions may keep a client that is being closed.
    static let closeTimeout = Duration.seconds(1)

    /// Sends one write until it is answered, in a session unless the options say otherwise.
    /// - Parameter attempt: sends it once.
    func once<Value: Sendable>(
        isIdempotent: Bool,
        _ attempt: @escaping @Sendable (String, CallOptions, Strata_V1_SessionSequence?, SentFlag) async throws -> Value
    ) async throws(ClientError) -> Value {
        let deadline = newDeadline
        guard options.usesSessions, !isIdempotent else {
            return try await send(isIdempotent: isIdempotent, session: nil, until: deadline, AttemptCount(), attempt)
        }
        var reopened = false
        while true {
            let lease = try await lease(until: deadline)
            let attempts = AttemptCount()
            defer { sessions.finish(lease) }
            do throws(ClientError) {
                return try await send(
                    isIdempotent: true, session: lease.message, until: deadline, attempts, attempt)
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
        isIdempotent: Bool, session: Strata_V1_SessionSequence?, until deadline: ContinuousClock.Instant,
        _ attempts: AttemptCount,
        _ attempt: @escaping @Sendable (String, CallOptions, Strata_V1_SessionSequence?, SentFlag) async throws -> Value
    ) async throws(ClientError) -> Value {
        do throws(ClientError) {
            return try await retrying(first: nil, until: deadline, isRepeatable: isIdempotent) {
                (address, options) async -> Attempt<Value> in
                let sent = SentFlag()
                do {
                    attempts.add()
                    return .done(try await attempt(address, options, session, sent))
                } catch {
                    let judged: Attempt<Value> = self.judge(
                        error, from: address, wasSent: sent.isSet, isIdempotent: isIdempotent)
                    // What would be tried again without a session was certainly not carried out: no doubt is left
                    // behind.
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

    /// A number in a session; opens one when there is none with room and nobody is opening one.
    private func lease(until deadline: ContinuousClock.Instant) async throws(ClientError) -> WriteSessions.Lease {
        while true {
            switch sessions.step() {
            case .take(let lease): return lease
            case .closed: throw ClientError(.closed, "the client is closed")
            case .wait(let change):
                guard ContinuousClock.now < deadline, !Task.isCancelled else {
                    throw ClientError(.unavailable, "no session had room for the write in time; nothing was written")
                }
                await sessions.wait(since: change, until: deadline)
            case .open:
                do throws(ClientError) {
                    sessions.opened(try await openSession(until: deadline))
                } catch {
                    sessions.openingFailed()
                    throw error
                }
            }
        }
    }

    private func openSession(until deadline: ContinuousClock.Instant) async throws(ClientError) -> UInt64 {
        try await retrying(first: nil, until: deadline) { (address, options) async -> Attempt<UInt64> in
            do {
                // A session that was opened in vain ends by itself.
                return .done(try await self.keyValue(address).openSession(.init(), options: options).client)
            } catch {
                return self.judge(error, from: address, wasSent: true, isIdempotent: true)
            }
        }
    }

    /// Ends all sessions, so that they do not take room in the cluster until they are over by themselves.
    func closeSessions(within limit: Duration = StrataClient.closeTimeout) async {
        let deadline = ContinuousClock.now + min(options.requestTimeout, limit)
        while true {
            let left = sessions.close()
            await withTaskGroup(of: Void.self) { group in
                for client in left.clients { group.addTask { await self.closeSession(client, until: deadline) } }
            }
            guard left.isOpening, ContinuousClock.now < deadline, !Task.isCancelled else { return }
            await sessions.wait(since: left.change, until: deadline)
        }
    }

    private func closeSession(_ client: UInt64, until deadline: ContinuousClock.Instant) async {
        var request = Strata_V1_CloseSessionRequest()
        request.client = client
        let message = request
        // A failure is no harm: the session ends by itself.
        _ = try? await retrying(first: nil, until: deadline) { (address, options) async -> Attempt<Void> in
            do {
                _ = try await self.keyValue(address).closeSession(message, options: options)
                return .done(())
            } catch {
                return self.judge(error, from: address, wasSent: true, isIdempotent: true)
            }
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
