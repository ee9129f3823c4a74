// Bytes of record batches that this node has taken in and not answered. A node that takes in more than its disks and its
// peers carry would hold all of it in memory and answer nobody in time; so what exceeds the budget waits its turn in
// front of the log, in order, and what exceeds the queue is refused at once, as not written.
import Cluster
import Synchronization

/// The budget of one node. Safe to use from any thread.
final class ProduceBudget: Sendable {
    /// Bytes of batches on their way through log, quorum and answer. One batch may always be.
    static let bytesMax = 32 * 1024 * 1024
    /// Bytes of batches that may wait for that.
    static let waitingBytesMax = 128 * 1024 * 1024
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
        var waiting: [Waiting] = []
        /// First live element of `waiting`.
        var head = 0
        var waitingBytes = 0

        mutating func hasRoom(for count: Int) -> Bool { bytes == 0 || bytes + count <= ProduceBudget.bytesMax }

        mutating func removeFirst() -> Waiting {
            let first = waiting[head]
            waitingBytes -= first.bytes
            head += 1
            if head == waiting.count || head > 1024 {
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
            if state.waiting.isEmpty, state.hasRoom(for: bytes) {
                state.bytes += bytes
                return .begins
            }
            guard state.waitingBytes + bytes <= Self.waitingBytesMax else { return .refused }
            state.waitingBytes += bytes
            state.waiting.append(
                Waiting(bytes: bytes, deadline: now + Self.waitMax, begin: begin, refuse: refuse))
            return .waits
        }
        switch outcome {
        case .begins: begin()
        case .waits: break
        case .refused:
            refuse(.unavailable("\(Self.waitingBytesMax) bytes of batches wait on this node already; slow down"))
        }
    }

    /// A batch that had begun was answered.
    func leave(bytes: Int) {
        let begun = state.withLock { state in
            state.bytes -= bytes
            var begun: [Waiting] = []
            while state.head < state.waiting.count, state.hasRoom(for: state.waiting[state.head].bytes) {
                let next = state.removeFirst()
                state.bytes += next.bytes
                begun.append(next)
            }
            return begun
        }
        for item in begun { item.begin() }
    }

    /// Refuses what has waited for too long.
    func expire(now: UInt64) {
        let late = state.withLock { state in
            var late: [Waiting] = []
            while state.head < state.waiting.count, state.waiting[state.head].deadline <= now {
                late.append(state.removeFirst())
            }
            return late
        }
        for item in late {
            item.refuse(
                .unavailable("more batches come in than this node gets onto its disk and its peers'; slow down"))
        }
    }
}
