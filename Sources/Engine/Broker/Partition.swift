// One topic partition on this node. The group's log is the data: applying an entry moves the high watermark and wakes
// those who wait for it, nothing is copied. Reads come from any thread and never pass the high watermark.
public import Cluster
import Raft
import Records
public import SegmentedLog
import Synchronization

/// A partition's readable side, shared by its state machine and its consumers.
public final class Partition: Sendable {
    public let topic: String
    public let number: UInt32
    public let group: GroupID
    let log: SegmentedLog

    private struct State {
        var highWatermark: UInt64 = 0
        /// Term of the newest applied entry. A leader knows the true high watermark once it has applied one of its own.
        var appliedTerm: UInt64 = 0
        var waiters: [Waiter] = []
    }
    private struct Waiter {
        var deadline: UInt64
        var body: @Sendable () -> Void
    }
    private let state = Mutex(State())
    /// True while somebody waits; a look at it spares ``expire(now:)`` the lock.
    private let hasWaiters = Atomic<Bool>(false)

    /// Consumers that may wait at the end of one partition.
    public static let waitersMax = 4096

    public init(topic: String, number: UInt32, group: GroupID, log: SegmentedLog) {
        self.topic = topic
        self.number = number
        self.group = group
        self.log = log
    }

    /// First offset that is not committed.
    public var highWatermark: UInt64 { state.withLock { $0.highWatermark } }
    public var appliedTerm: UInt64 { state.withLock { $0.appliedTerm } }
    public var logStartOffset: UInt64 { log.firstOffset }

    /// Reads committed batches from `offset` on. Blocks on the disk.
    public func read(from offset: UInt64, maxBytes: Int) throws(RequestError) -> FetchedBatches {
        let highWatermark = highWatermark
        let start = logStartOffset
        guard offset >= start, offset <= highWatermark else {
            throw .invalid(
                .offsetOutOfRange,
                "offset \(offset) of \(topic)-\(number) is outside \(start)...\(highWatermark)")
        }
        guard offset < highWatermark else {
            return FetchedBatches(
                bytes: [], nextOffset: offset, highWatermark: highWatermark, logStartOffset: start)
        }
        let frames: FrameBatch
        do throws(SegmentedLogError) {
            frames = try log.readOffsets(from: offset, belowOffset: highWatermark, maxBytes: maxBytes)
        } catch {
            throw .storage("\(error)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(frames.byteCount)
        var next = offset
        for (position, header) in frames.headers.enumerated() {
            bytes.append(contentsOf: frames.payload(position))
            next = header.baseOffset + UInt64(header.recordCount)
        }
        return FetchedBatches(
            bytes: bytes, nextOffset: next, highWatermark: highWatermark, logStartOffset: start)
    }

    /// Runs `body` once, when the high watermark has passed `offset` or at the next ``expire(now:)`` after `deadline`.
    /// Returns false when it has passed already, or too many wait: then `body` is not kept.
    func wait(past offset: UInt64, deadline: UInt64, _ body: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            guard state.highWatermark <= offset, state.waiters.count < Self.waitersMax else { return false }
            state.waiters.append(Waiter(deadline: deadline, body: body))
            hasWaiters.store(true, ordering: .relaxed)
            return true
        }
    }

    /// Wakes consumers whose time is over.
    public func expire(now: UInt64) {
        guard hasWaiters.load(ordering: .relaxed) else { return }
        let late = state.withLock { state -> [Waiter] in
            guard state.waiters.contains(where: { $0.deadline <= now }) else { return [] }
            let late = state.waiters.filter { $0.deadline <= now }
            state.waiters.removeAll { $0.deadline <= now }
            hasWaiters.store(!state.waiters.isEmpty, ordering: .relaxed)
            return late
        }
        for waiter in late { waiter.body() }
    }

    fileprivate func advance(to header: FrameHeader) {
        state.withLock { state in
            state.highWatermark = max(state.highWatermark, header.baseOffset + UInt64(header.recordCount))
            state.appliedTerm = header.term
        }
    }

    fileprivate func wake() {
        let waiters = state.withLock { state in
            let waiters = state.waiters
            state.waiters = []
            hasWaiters.store(false, ordering: .relaxed)
            return waiters
        }
        for waiter in waiters { waiter.body() }
    }
}

/// The state machine of a partition's group.
public final class PartitionMachine: StateMachine {
    private let partition: Partition
    private var before: UInt64 = 0

    public init(partition: Partition) {
        self.partition = partition
    }

    public var frameKind: FrameKind { .records }
    public var appliedAtStart: UInt64 { 0 }
    public var replay: ReplayMode { .lastEntry }

    public func stamp(_ payload: inout [UInt8], baseOffset: UInt64, term: UInt64) {
        RecordBatchView.stamp(
            &payload, baseOffset: Int64(baseOffset), leaderEpoch: Int32(truncatingIfNeeded: term & 0x7fff_ffff))
    }

    public func validate(_ payload: [UInt8]) -> RequestError? {
        do throws(RequestError) {
            _ = try BrokerLimits.check(batch: payload)
            return nil
        } catch {
            return error
        }
    }

    public func recordCount(of payload: [UInt8]) -> UInt32 {
        RecordBatchView.recordCount(of: payload)
    }

    public func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError> {
        partition.advance(to: entry.header)
        return .success(entry.header.baseOffset)
    }

    public func advance(to header: FrameHeader) {
        partition.advance(to: header)
    }

    public func didApply(through index: UInt64) {
        let now = partition.highWatermark
        if now > before {
            before = now
            partition.wake()
        }
    }
}
