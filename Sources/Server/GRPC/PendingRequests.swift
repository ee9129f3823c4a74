// Requests that wait for the engine, each with a deadline. The engine answers by calling back on a thread of its own; a
// client must not wait for ever if it does not. Whoever comes first, the answer or the deadline, resolves the request,
// and nothing resolves it twice. One table and one timer serve all requests: a timer of its own would cost each more
// than the rest of its way.
import Cluster
import NIOCore
import NIOPosix
import Synchronization

/// The requests in flight of the HTTP and gRPC front ends.
final class PendingRequests: Sendable {
    /// Requests in flight; one more is refused as unavailable.
    static let requestsMax = 65_536
    /// How exactly deadlines are kept.
    static let sweepMilliseconds: Int64 = 50
    /// The deadline of a request that names none.
    static let defaultMilliseconds: Int64 = 10_000
    /// The longest that a client may ask for.
    static let millisecondsMax: Int64 = 300_000

    /// What a deadline means for a request.
    enum Kind: Sendable {
        /// Nothing was changed; ask again.
        case read
        /// It may still be applied.
        case write
    }

    /// One request; resolves once. Sendable as its superclass is; what it adds is constant or behind a lock.
    final class Request<Value: Sendable>: Expiring, @unchecked Sendable {
        typealias Answer = Result<Value, RequestError>

        private let owner: PendingRequests
        private let kind: Kind
        private let answer: Mutex<(@Sendable (Answer) -> Void)?>

        fileprivate init(
            owner: PendingRequests, kind: Kind, deadline: NIODeadline, answer: @escaping @Sendable (Answer) -> Void
        ) {
            self.owner = owner
            self.kind = kind
            self.answer = Mutex(answer)
            super.init(deadline: deadline)
        }

        /// Passes the answer on, unless the deadline was first. Any thread.
        func resolve(_ result: Answer) {
            guard let answer = takeAnswer() else { return }
            owner.remove(self)
            answer(result)
        }

        override func expire() {
            guard let answer = takeAnswer() else { return }
            switch kind {
            case .read: answer(.failure(.unavailable("the node did not answer in time; try again")))
            case .write: answer(.failure(.unknown("the node did not answer in time; read before you write again")))
            }
        }

        private func takeAnswer() -> (@Sendable (Answer) -> Void)? {
            answer.withLock { answer in
                defer { answer = nil }
                return answer
            }
        }
    }

    /// What the table knows of a request.
    class Expiring: @unchecked Sendable {
        // Sendable because `deadline` is constant and `slot` is written and read under the table's lock only.
        fileprivate let deadline: NIODeadline
        fileprivate var slot = -1

        fileprivate init(deadline: NIODeadline) {
            self.deadline = deadline
        }

        /// Fails the request because its time is over.
        func expire() {}
    }

    /// The table of this process's listeners.
    static let shared = PendingRequests(group: MultiThreadedEventLoopGroup.singleton)

    private struct Table {
        var slots: [Expiring?] = []
        var free: [Int] = []
    }

    private let table = Mutex(Table())
    private let timer = Mutex<RepeatedTask?>(nil)

    init(group: any EventLoopGroup) {
        let period = TimeAmount.milliseconds(Self.sweepMilliseconds)
        let task = group.next().scheduleRepeatedTask(initialDelay: period, delay: period) { [weak self] task in
            guard let self else { return task.cancel() }
            self.sweep(now: .now())
        }
        timer.withLock { $0 = task }
    }

    deinit {
        timer.withLock { $0?.cancel() }
    }

    /// Registers a request. Nil, and `answer` is called at once, when there are too many.
    func begin<Value: Sendable>(
        _ kind: Kind, within milliseconds: Int64 = PendingRequests.defaultMilliseconds,
        answer: @escaping @Sendable (Result<Value, RequestError>) -> Void
    ) -> Request<Value>? {
        let deadline = NIODeadline.now() + .milliseconds(min(milliseconds, Self.millisecondsMax))
        let request = Request(owner: self, kind: kind, deadline: deadline, answer: answer)
        let isAdmitted = table.withLock { table in
            if let slot = table.free.popLast() {
                request.slot = slot
                table.slots[slot] = request
                return true
            }
            guard table.slots.count < Self.requestsMax else { return false }
            request.slot = table.slots.count
            table.slots.append(request)
            return true
        }
        if isAdmitted { return request }
        answer(.failure(.unavailable("\(Self.requestsMax) requests are in flight already; try again")))
        return nil
    }

    /// Runs `start`, which must hand its callback to the engine, and waits for the answer or the deadline.
    func run<Value: Sendable>(
        _ kind: Kind, within milliseconds: Int64 = PendingRequests.defaultMilliseconds,
        start: (@escaping @Sendable (Result<Value, RequestError>) -> Void) -> Void
    ) async -> Result<Value, RequestError> {
        await withCheckedContinuation { continuation in
            let request = begin(kind, within: milliseconds) { (answer: Result<Value, RequestError>) in
                continuation.resume(returning: answer)
            }
            if let request { start { request.resolve($0) } }
        }
    }

    /// As `run`, and answers at once when the stream that asks is over.
    func run<Value: Sendable>(
        _ kind: Kind, within milliseconds: Int64 = PendingRequests.defaultMilliseconds, until end: StreamEnd,
        start: (@escaping @Sendable (Result<Value, RequestError>) -> Void) -> Void
    ) async -> Result<Value, RequestError> {
        defer { end.forget() }
        return await run(kind, within: milliseconds) { answer in
            end.whenReached { answer(.failure(.unavailable("the call is over"))) }
            start(answer)
        }
    }

    private func remove(_ request: Expiring) {
        table.withLock { table in
            guard request.slot >= 0 else { return }
            table.slots[request.slot] = nil
            table.free.append(request.slot)
            request.slot = -1
        }
    }

    /// Fails what is over its time.
    /// - Complexity: O(n) in the most requests that ever were in flight together.
    private func sweep(now: NIODeadline) {
        let expired = table.withLock { table -> [Expiring] in
            guard table.free.count < table.slots.count else { return [] }
            var expired: [Expiring] = []
            for case let request? in table.slots where request.deadline <= now {
                table.slots[request.slot] = nil
                table.free.append(request.slot)
                request.slot = -1
                expired.append(request)
            }
            return expired
        }
        for request in expired { request.expire() }
    }
}
