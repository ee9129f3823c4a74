// One group's log: segments of frames in one directory, the newest open for appending. It is the Raft log, the topic
// partition's data and the store's write-ahead log at once. It must never change a frame, skip one in an answer, or
// drop what was durable. One thread writes; any thread may read or sync meanwhile.
import FileIO
import Synchronization

/// A segmented log. See Docs/Formats/segmented-log.md for its files.
public final class SegmentedLog: Sendable {
    /// How a log is laid out. The naming must stay the same for the life of a log; the rest may change between
    /// openings.
    public struct Options: Sendable, Hashable {
        /// A segment is closed before it would grow beyond this many bytes (at most 2 GiB).
        public var segmentBytes: UInt64 = 256 * 1024 * 1024
        /// Log bytes per entry of the sparse index.
        public var indexIntervalBytes: Int = 16 * 1024
        /// When > 0, zeros are written ahead in steps of this many bytes, so that a durable append changes no metadata.
        public var preallocateBytes: UInt64 = 0
        /// Largest frame accepted, header included.
        public var frameBytesMax: Int = 64 * 1024 * 1024
        public var naming: Naming = .offset

        public init() {}
    }

    /// What a segment's 20-digit name says.
    public enum Naming: Sendable, Hashable {
        /// The offset of its first record: for topics. A segment without a record is never closed.
        case offset
        /// The index of its first entry: for logs that hold no records.
        case index
    }

    /// What opening found.
    public struct Recovery: Sendable {
        public internal(set) var firstIndex: UInt64 = 1
        /// 0, or what ``SegmentedLog/reset(to:term:nextOffset:)`` said, when there are no entries.
        public internal(set) var lastIndex: UInt64 = 0
        public internal(set) var lastTerm: UInt64 = 0
        public internal(set) var nextOffset: UInt64 = 0
        /// Term of the entry before `firstIndex`, 0 at the beginning of all.
        public internal(set) var previousTerm: UInt64 = 0
        /// The first entry of each term, ascending; the first one may lie in the middle of its term.
        public internal(set) var termStarts: [(index: UInt64, term: UInt64)] = []
        /// Indexes of the membership and prefix-trim frames, ascending.
        public internal(set) var controlFrames: [(index: UInt64, kind: FrameKind)] = []
        public internal(set) var segmentCount = 0
        public internal(set) var byteCount: UInt64 = 0
        /// What was cut off the end as an interrupted write; nil when the end was whole.
        public internal(set) var tornTail: TornTail?
        /// Bytes of an interrupted write that were cut off the end.
        public var tornBytesCut: UInt64 { tornTail?.byteCount ?? 0 }
    }

    /// Bytes that opening cut off the end of a log as an interrupted write.
    public struct TornTail: Sendable, Hashable, CustomStringConvertible {
        public var path: String
        /// Where the log ends now.
        public var offset: UInt64
        public var byteCount: UInt64
        /// What was wrong with the first frame that was cut.
        public var reason: String

        public var description: String {
            "\(path): \(byteCount) bytes of an interrupted write were cut off at byte \(offset): \(reason)"
        }
    }

    /// One file of frames.
    struct Segment: Sendable {
        /// `<directory>/<20 digits>` without the suffix.
        let stem: String
        /// The log's end where the segment begins.
        var head: LogEnd { index.head }
        /// The log's end behind its last frame.
        var end: LogEnd
        /// Bytes of frames and marks; zeros written ahead are not counted.
        var byteCount: UInt64
        var index: SegmentIndex

        var logPath: String { stem + ".log" }
        var indexPath: String { stem + ".index" }
        var holdsRecords: Bool { end.nextOffset > head.nextOffset }
    }

    /// What readers and the writer share.
    struct State: Sendable {
        /// Ascending and contiguous, never empty; the last one is active.
        var segments: [Segment]
        var activeFile: any File
        /// First entry of each term.
        var termStarts: [(index: UInt64, term: UInt64)]
        var durableIndex: UInt64
        /// Counts suffixes dropped, so that whoever looked before can tell.
        var truncations: UInt64 = 0
        /// The first failure; final.
        var failure: SegmentedLogError?

        var active: Segment { segments[segments.count - 1] }
        var end: LogEnd { segments[segments.count - 1].end }
        var firstIndex: UInt64 { segments[0].head.lastIndex + 1 }

        func checkHealth() throws(SegmentedLogError) {
            if let failure {
                throw SegmentedLogError(
                    .poisoned, "the log was given up after: \(failure); restart the node to recover what is durable",
                    path: active.logPath, cause: nil)
            }
        }
    }

    /// What only the writer needs.
    struct WriterState: Sendable {
        /// Size of the active file: `byteCount` and zeros written ahead.
        var allocatedEnd: UInt64
        /// The highest index that a mark in the active segment promises.
        var markedIndex: UInt64
    }

    let directory: String
    /// The log's folder.
    public var path: String { directory }
    let fileSystem: any FileSystem
    let options: Options
    public let recovery: Recovery
    let state: Mutex<State>
    /// Held during each change, so that a second writer waits instead of tearing the log.
    let writer: Mutex<WriterState>

    init(directory: String, fileSystem: any FileSystem, options: Options, recovered: RecoveredLog) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        recovery = recovered.report
        state = Mutex(recovered.state)
        writer = Mutex(recovered.writer)
    }

    /// Index of the oldest entry; one above ``lastIndex`` when there is none.
    public var firstIndex: UInt64 { state.withLock { $0.firstIndex } }
    public var lastIndex: UInt64 { state.withLock { $0.end.lastIndex } }
    public var lastTerm: UInt64 { state.withLock { $0.end.lastTerm } }
    /// The offset that the next record gets.
    public var nextOffset: UInt64 { state.withLock { $0.end.nextOffset } }
    /// Offset of the oldest record still held.
    public var firstOffset: UInt64 { state.withLock { $0.segments[0].head.nextOffset } }
    /// Everything up to here survives a power cut.
    public var durableIndex: UInt64 { state.withLock { $0.durableIndex } }
    /// Bytes of all segments, marks included, zeros written ahead not.
    public var byteCount: UInt64 { state.withLock { $0.segments.reduce(0) { $0 + $1.byteCount } } }

    /// What is durable, as ``HardStateRecord/floor`` keeps it.
    public var durableEnd: LogFloor {
        state.withLock {
            LogFloor(
                index: $0.durableIndex, term: $0.term(at: $0.durableIndex) ?? 0, head: $0.active.head.lastIndex)
        }
    }
    /// Index of the entry before the newest segment: everything up to it is durable.
    public var sealedIndex: UInt64 { state.withLock { $0.active.head.lastIndex } }

    /// What stays durable when the entries from `index` on are dropped.
    public func durableEnd(truncatingFrom index: UInt64) -> LogFloor {
        state.withLock { state in
            guard index > state.firstIndex, index <= state.end.lastIndex else {
                return index > state.end.lastIndex
                    ? LogFloor(
                        index: state.durableIndex, term: state.term(at: state.durableIndex) ?? 0,
                        head: state.active.head.lastIndex) : .none
            }
            let last = min(index - 1, state.durableIndex)
            return LogFloor(
                index: last, term: state.term(at: last) ?? 0,
                head: state.segments[state.segmentPosition(index: index)].head.lastIndex)
        }
    }

    /// Term of an entry, also of the one just before ``firstIndex``; nil outside of that.
    /// - Complexity: O(log terms), from memory.
    public func term(at index: UInt64) -> UInt64? {
        state.withLock { $0.term(at: index) }
    }

    /// Records a failure of the disk; from then on every call throws.
    func poison(_ failure: SegmentedLogError) {
        state.withLock { if $0.failure == nil { $0.failure = failure } }
    }

    /// Runs a change of the log, alone.
    /// - Parameter isFinal: whether a failure leaves the log half changed, so that it must be given up.
    func mutate<Result: Sendable>(
        isFinal: Bool = true, _ body: (inout WriterState) throws(SegmentedLogError) -> Result
    ) throws(SegmentedLogError) -> Result {
        var outcome: Swift.Result<Result, SegmentedLogError>?
        writer.withLock { writer in
            do throws(SegmentedLogError) {
                outcome = .success(try body(&writer))
            } catch {
                if isFinal && (error.code == .disk || error.code == .corruption) { poison(error) }
                outcome = .failure(error)
            }
        }
        guard let outcome else { preconditionFailure("the body above always leaves an outcome") }
        return try outcome.get()
    }

    /// The name of a segment that begins at `head`.
    static func stem(_ directory: String, _ head: LogEnd, _ naming: Naming) -> String {
        let number = naming == .offset ? head.nextOffset : head.lastIndex + 1
        let digits = String(number)
        return directory + "/" + String(repeating: "0", count: 20 - digits.utf8.count) + digits
    }
}

extension SegmentedLog.State {
    func term(at index: UInt64) -> UInt64? {
        let head = segments[0].head
        if index == head.lastIndex { return head.lastTerm }
        guard index > head.lastIndex, index <= end.lastIndex else { return nil }
        var low = 0
        var high = termStarts.count
        while low < high {
            let middle = (low + high) / 2
            if termStarts[middle].index <= index { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : termStarts[low - 1].term
    }

    /// Position of the segment that holds an index within the log.
    func segmentPosition(index: UInt64) -> Int {
        lastSegment { $0.head.lastIndex < index }
    }

    /// Position of the segment that holds an offset within the log.
    func segmentPosition(offset: UInt64) -> Int {
        lastSegment { $0.head.nextOffset <= offset }
    }

    /// The last segment for which `begins` holds; it must hold for a prefix of the segments. 0 when it holds for none.
    private func lastSegment(_ begins: (SegmentedLog.Segment) -> Bool) -> Int {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if begins(segments[middle]) { low = middle + 1 } else { high = middle }
        }
        return max(low - 1, 0)
    }
}
