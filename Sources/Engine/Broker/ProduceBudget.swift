// Bytes of record batches that this node has taken in and not answered. A node that takes in more than its disks and
// its peers carry would hold all of it in memory and answer nobody in time; so what exceeds the budget waits its turn
// in front of the log, in order, and what exceeds the queue is refused at once, as not written.
import Cluster
import Synchronization

/// The budget of one node. Safe to use from any thread.
final class ProduceBudget: Sendable {
    /// Bytes of batches on their way through log, quorum and answer. One batch may always be.
    static let bytesMax = 32 * 1024 * 1024
    /// Bytes of batches that may wait for that.
    static let waitingBytesMax = 128 * 1024 * 1024
    /// Batches that may wait for that, however small they are.
    static let waitingMax = 65_536
    /// How long one may wait, in nanoseconds.
    static let waitMax: UInt64 = 5_000_000_000

    private struct Waiting {
        var bytes: Int
        var deadline: UInt64
        var begin: @Sendable () -> Void
        var refuse: @Sendable (RequestError) -> Void
    }

    private struct State {
        var bytes = 0
        /// Those in front of `head` are gone.
        private var waiting: [Waiting?] = []
        private var head = 0
        var waitingBytes = 0
        /// Somebody lets waiting batches begin; what comes meanwhile must not pass them.
        var isReleasing = false

        var waitingCount: Int { waiting.count - head }

        static func hasRoom(for count: Int, beside used: Int) -> Bool {
            used == 0 || used + count <= ProduceBudget.bytesMax
        }

        mutating func append(_ item: Waiting) {
            waitingBytes += item.bytes
            waiting.append(item)
        }

        /// Takes out the oldest one if it is to be; amortised O(1).
        mutating func removeFirst(where condition: (Waiting) -> Bool) -> Waiting? {
            guard head < waiting.count, let first = waiting[head], condition(first) else { return nil }
            waiting[head] = nil
            head += 1
            waitingBytes -= first.bytes
            if head * 2 > waiting.count {
                waiting.removeFirst(head)
                head = 0
            }
            return first
        }
    }

    private let state = Mutex(State())
    private let clock: @Sendable () -> UInt64

    /// - Parameter clock: monotonic nanoseconds.
    init(clock: @escaping @Sendable () -> UInt64) {
        self.clock = clock
    }

    /// Bytes in use, and bytes that wait.
    var usage: (bytes: Int, waiting: Int) { state.withLock { ($0.bytes, $0.waitingBytes) } }

    /// Lets a batch begin when there is room: now, or later in order. Exactly one of the two closures is called.
    func enter(
        bytes: Int, begin: @escaping @Sendable () -> Void, refuse: @escaping @Sendable (RequestError) -> Void
    ) {
        enum Outcome { case begins, waits, refused }
        let now = clock()
        let outcome: Outcome = state.withLock { state in
            if state.waitingCount == 0, !state.isReleasing,
                State.hasRoom(for: bytes, beside: state.bytes)
            {
                state.bytes += bytes
                return .begins
            }
            guard state.waitingBytes + bytes <= Self.waitingBytesMax, state.waitingCount < Self.waitingMax else {
                return .refused
            }
            state.append(Waiting(bytes: bytes, deadline: now + Self.waitMax, begin: begin, refuse: refuse))
            return .waits
        }
        switch outcome {
        case .begins: begin()
        case .waits: break
        case .refused:
            refuse(.unavailable("too many batches wait on this node already; slow down"))
        }
    }

    /// A batch that had begun was answered. Lets others begin, unless that is going on already: one that is refused as
    /// soon as it begins leaves inside this call.
    func leave(bytes: Int) {
        let releases = state.withLock { state in
            state.bytes -= bytes
            defer { state.isReleasing = true }
            return !state.isReleasing
        }
        guard releases else { return }
        while let next = nextToBegin() { next.begin() }
    }

    private func nextToBegin() -> Waiting? {
        state.withLock { state in
            let used = state.bytes
            let next = state.removeFirst { State.hasRoom(for: $0.bytes, beside: used) }
            if let next { state.bytes += next.bytes } else { state.isReleasing = false }
            return next
        }
    }

    /// Refuses what has waited for too long.
    func expire(now: UInt64) {
        while let late = state.withLock({ $0.removeFirst { $0.deadline <= now } }) {
            late.refuse(
                .unavailable("more batches come in than this node gets onto its disk and its peers'; slow down"))
        }
    }
}
