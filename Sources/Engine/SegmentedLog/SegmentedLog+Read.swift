// Reading, from any thread, beside the writer. Where to read is looked up under the lock; the file is read outside of
// it. Every frame that is handed out had both checksums verified and follows its predecessor; a mismatch is an error,
// never a shorter answer.
import FileIO
import Synchronization

/// Bytes that one look into a file fetches at least, so that small reads don't pay one call per frame.
private let windowBytesMin = 4 * 1024
private let windowBytesMax = 8 * 1024 * 1024

extension SegmentedLog {
    /// Reads entries `from...through`: as many whole frames as fit `maxBytes`, at least one if there is one. Empty when
    /// `from` is above the last index. Stops at the end of a segment: ask again for the rest.
    public func read(from index: UInt64, through: UInt64, maxBytes: Int) throws(SegmentedLogError) -> FrameBatch {
        try consistently { () throws(SegmentedLogError) in
            let plan = try state.withLock { state throws(SegmentedLogError) -> ReadPlan? in
                try state.checkHealth()
                guard index <= state.end.lastIndex else { return nil }
                guard index >= state.firstIndex else {
                    throw SegmentedLogError(
                        .outOfRange,
                        "index \(index) was trimmed away, the log begins at \(state.firstIndex); install a snapshot",
                        path: directory)
                }
                let segment = state.segmentPosition(index: index)
                let floor = state.segments[segment].index.floor(index: index)
                return ReadPlan(state, segment, floor)
            }
            guard let plan, through >= index else { return FrameBatch() }
            var batch = FrameBatch()
            _ = try collect(plan, into: &batch, maxBytes: maxBytes) { header in
                if header.index < index { return .skip }
                return header.index <= through ? .take : .stop
            }
            return batch
        }
    }

    /// Reads record frames from the one that holds `offset` (which may begin below it) on, up to and not beyond
    /// `belowOffset` (the high watermark): as many whole frames as fit `maxBytes`, at least one if there is one.
    /// Frames of other kinds are left out, so indexes may have holes.
    public func readOffsets(
        from offset: UInt64, belowOffset: UInt64, maxBytes: Int
    ) throws(SegmentedLogError) -> FrameBatch {
        try consistently { () throws(SegmentedLogError) in
            var batch = FrameBatch()
            var next = 0
            while batch.isEmpty {
                let wanted = next
                let plan = try state.withLock { state throws(SegmentedLogError) -> ReadPlan? in
                    try planOffsets(state, from: offset, belowOffset: belowOffset, segment: wanted)
                }
                guard let plan else { break }
                let isDone = try collect(plan, into: &batch, maxBytes: maxBytes) { header in
                    if header.endOffset > belowOffset { return .stop }
                    return header.kind == .records && header.endOffset > offset ? .take : .skip
                }
                if isDone { break }
                next = plan.segment + 1
            }
            return batch
        }
    }

    private func planOffsets(
        _ state: State, from offset: UInt64, belowOffset: UInt64, segment wanted: Int
    ) throws(SegmentedLogError) -> ReadPlan? {
        try state.checkHealth()
        guard offset < min(belowOffset, state.end.nextOffset) else { return nil }
        guard offset >= state.segments[0].head.nextOffset else {
            throw SegmentedLogError(
                .outOfRange,
                "offset \(offset) was trimmed away, the log begins at \(state.segments[0].head.nextOffset)",
                path: directory)
        }
        let segment = max(wanted, state.segmentPosition(offset: offset))
        guard segment < state.segments.count else { return nil }
        return ReadPlan(state, segment, state.segments[segment].index.floor(offset: offset))
    }

    /// The header of an entry, nil when the log does not hold it.
    public func header(at index: UInt64) throws(SegmentedLogError) -> FrameHeader? {
        let isHeld = state.withLock { index >= $0.firstIndex && index <= $0.end.lastIndex }
        guard isHeld else { return nil }
        return try read(from: index, through: index, maxBytes: 0).headers.first
    }

    /// Where to look, as it stood under the lock.
    struct ReadPlan {
        var segment: Int
        var path: String
        /// nil for a closed segment, which is opened for each read.
        var file: (any File)?
        var start: UInt64
        var end: UInt64
        /// Index of the entry before the first frame from `start` on.
        var before: UInt64

        init(_ state: State, _ position: Int, _ floor: SegmentIndex.Entry?) {
            let segment = state.segments[position]
            self.segment = position
            path = segment.logPath
            file = position == state.segments.count - 1 ? state.activeFile : nil
            start = floor.map { UInt64($0.position) } ?? 0
            end = segment.byteCount
            before = floor.map { segment.index.index(of: $0) - 1 } ?? segment.head.lastIndex
        }
    }

    func openFile(_ plan: ReadPlan) throws(SegmentedLogError) -> any File {
        if let file = plan.file { return file }
        return try onDisk { () throws(FileIOError) in try fileSystem.open(plan.path, .read) }
    }

    enum Choice {
        case take, skip, stop
    }

    /// Walks a segment from the plan's start and collects what `choose` takes.
    /// - Returns: true when `choose` or `maxBytes` ended it, false at the end of the segment.
    func collect(
        _ plan: ReadPlan, into batch: inout FrameBatch, maxBytes: Int, _ choose: (FrameHeader) -> Choice
    ) throws(SegmentedLogError) -> Bool {
        let file = try openFile(plan)
        let window = min(max(maxBytes, 0), windowBytesMax) + options.indexIntervalBytes
        var scanner = SegmentScanner(file, from: plan.start, end: plan.end, windowBytes: max(window, windowBytesMin))
        var index = plan.before
        while true {
            // The first frame is handed out whatever its size.
            let room = batch.isEmpty ? Int.max : maxBytes - batch.byteCount
            switch try scanner.next(atMost: room) {
            case .end:
                return false
            case .tooLarge:
                return true
            case .bad(let reason, _):
                distrust(plan)
                throw SegmentedLogError(
                    .corruption, "\(reason); the node must fetch this log from its peers again", path: plan.path,
                    offset: scanner.position)
            case .frame(let header):
                if header.kind == .mark { continue }
                index += 1
                guard header.index == index else {
                    distrust(plan)
                    throw SegmentedLogError(
                        .corruption,
                        "index \(header.index) stands where \(index) is due; fetch this log from the peers again",
                        path: plan.path, offset: scanner.framePosition)
                }
                switch choose(header) {
                case .skip:
                    continue
                case .stop:
                    return true
                case .take:
                    scanner.withFrame { batch.append(verified: header, frame: $0) }
                }
            }
        }
    }

    /// A closed segment was found damaged: without its index file the next opening reads it in full, and finds that
    /// too.
    private func distrust(_ plan: ReadPlan) {
        guard plan.file == nil, plan.path.hasSuffix(".log") else { return }
        // The read fails whether or not the file can be removed.
        try? fileSystem.remove(plan.path.dropLast(4) + ".index")
    }

    /// Runs a read again when the log was changed under it. After a truncation even a good answer is void: it may join
    /// frames of before and after. A failure of an unchanged log is thrown.
    private func consistently(
        _ read: () throws(SegmentedLogError) -> FrameBatch
    ) throws(SegmentedLogError) -> FrameBatch {
        while true {
            let before = state.withLock { ($0.truncations, $0.segments[0].head) }
            do throws(SegmentedLogError) {
                let batch = try read()
                if state.withLock({ $0.truncations }) == before.0 { return batch }
            } catch {
                let after = state.withLock { ($0.truncations, $0.segments[0].head) }
                // Each turn needs another change of the log, so this ends.
                if error.code == .outOfRange || error.code == .poisoned || before == after { throw error }
            }
        }
    }
}
