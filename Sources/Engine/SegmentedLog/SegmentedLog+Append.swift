// Appending: one vectored write per batch, made durable by the write itself or by one sync, and the closing of full
// segments. A segment is durable before its successor exists, which is what lets recovery tell a lost tail from damage.
public import FileIO
import Synchronization

/// Segments stay below this, so that positions fit 32 bits with room for one oversized batch.
private let segmentBytesMax: UInt64 = 2 * 1024 * 1024 * 1024

extension SegmentedLog {
    /// Appends a batch that continues the log.
    ///
    /// With `.power` the batch and everything before it is durable when this returns; with `.process` it survives a
    /// crash of the process, and ``sync()`` makes it durable. Checks invariants I1 to I3 (index, term, offset) before
    /// anything is written. A failed write or sync is final for this log.
    /// - Complexity: O(bytes); one system call, two when older entries are not durable yet.
    public func append(_ batch: FrameBatch, durability: WriteDurability) throws(SegmentedLogError) {
        if batch.isEmpty { return }
        try mutate { writer throws(SegmentedLogError) in
            let append = try begin(&writer, batch, durability)
            try write(append.mark, batch, to: append.start.file, at: append.start.position, append.ownDurability)
            try finish(&writer, append, batch)
        }
    }

    /// An append whose room was made and whose bytes were not written yet.
    struct BegunAppend {
        fileprivate(set) var start: Start
        /// Encoded, in front of the batch; often empty.
        fileprivate(set) var mark: [UInt8] = []
        /// Of the write itself.
        fileprivate(set) var ownDurability: WriteDurability
        fileprivate var needsSync: Bool
        fileprivate var isDurable: Bool
    }

    /// The first part: checks, closes a full segment, makes room, and says what to write where.
    func begin(
        _ writer: inout WriterState, _ batch: FrameBatch, _ durability: WriteDurability
    ) throws(SegmentedLogError) -> BegunAppend {
        try checkContinues(batch)
        try rollIfFull(&writer, adding: batch)
        let start = state.withLock { Start($0) }
        try allocate(&writer, start, adding: UInt64(batch.byteCount + FrameHeader.byteCount))
        // A durable write covers its own bytes only; older ones that are not durable need the sync of the file.
        let coversAll = start.durableIndex == start.end.lastIndex
        var append = BegunAppend(
            start: start, ownDurability: durability == .power && coversAll ? .power : .process,
            needsSync: durability == .power && !coversAll, isDurable: durability == .power)
        if start.durableIndex > writer.markedIndex {
            append.mark = Self.mark(end: start.end, durableIndex: start.durableIndex, position: start.position).encoded
        }
        return append
    }

    /// The last part, after the write: the sync where one is due, and everybody sees the batch.
    func finish(_ writer: inout WriterState, _ append: BegunAppend, _ batch: FrameBatch) throws(SegmentedLogError) {
        if append.needsSync {
            try onDisk { () throws(FileIOError) in try append.start.file.sync() }
        }
        if !append.mark.isEmpty { writer.markedIndex = append.start.durableIndex }
        let framesStart = append.start.position + UInt64(append.mark.count)
        writer.allocatedEnd = max(writer.allocatedEnd, framesStart + UInt64(batch.byteCount))
        state.withLock {
            $0.publish(batch, at: framesStart, interval: options.indexIntervalBytes)
            if append.isDurable { $0.durableIndex = batch.lastIndex }
        }
    }

    /// Makes everything appended so far durable. May run beside the writer and beside another sync.
    public func sync() throws(SegmentedLogError) {
        // Entries of closed segments are durable, so the active file is all there is to sync.
        let before = try state.withLock { state throws(SegmentedLogError) in
            try state.checkHealth()
            return (
                file: state.activeFile, index: state.end.lastIndex, truncations: state.truncations,
                isDurable: state.durableIndex == state.end.lastIndex
            )
        }
        if before.isDurable { return }
        do throws(FileIOError) {
            try before.file.sync()
        } catch {
            let failure = SegmentedLogError(.disk, "", path: error.path, cause: error)
            poison(failure)
            throw failure
        }
        state.withLock {
            // After a truncation the index may name another entry; that truncation has synced the file itself.
            guard $0.truncations == before.truncations else { return }
            $0.durableIndex = max($0.durableIndex, before.index)
        }
    }

    /// Makes the log durable and says so at its end, so that damage there can't be taken for an interrupted write.
    ///
    /// For logs that have been idle for a while, and before the process ends: never between writes.
    /// - Returns: false when the end was marked already.
    /// - Complexity: one durable write of 48 bytes, a sync before it when entries are not durable yet.
    @discardableResult
    public func markEnd() throws(SegmentedLogError) -> Bool {
        try mutate { writer throws(SegmentedLogError) in
            let end = try state.withLock { state throws(SegmentedLogError) in
                try state.checkHealth()
                return state.end.lastIndex
            }
            guard writer.markedIndex < end else { return false }
            // The mark must not reach the disk before what it promises.
            try sync()
            let (start, mark) = state.withLock { (Start($0), $0.active.endMark) }
            guard let mark else { return false }
            try allocate(&writer, start, adding: UInt64(mark.count))
            try onDisk { () throws(FileIOError) in
                try start.file.write(bytes: mark, at: start.position, durability: .power)
            }
            writer.markedIndex = end
            writer.allocatedEnd = max(writer.allocatedEnd, start.position + UInt64(mark.count))
            state.withLock { $0.segments[$0.segments.count - 1].byteCount = start.position + UInt64(mark.count) }
            return true
        }
    }

    /// Whether nothing has been appended behind the last mark.
    public var isEndMarked: Bool {
        writer.withLock { writer in state.withLock { writer.markedIndex >= $0.end.lastIndex } }
    }

    /// The log's end as one append sees it.
    struct Start {
        var file: any File
        var position: UInt64
        var end: LogEnd
        var durableIndex: UInt64

        init(_ state: State) {
            file = state.activeFile
            position = state.active.byteCount
            end = state.end
            durableIndex = state.durableIndex
        }
    }

    private func checkContinues(_ batch: FrameBatch) throws(SegmentedLogError) {
        let (position, end) = try state.withLock { state throws(SegmentedLogError) in
            try state.checkHealth()
            return (state.active.byteCount, state.end)
        }
        var next = end
        for header in batch.headers {
            if let violation = next.advance(over: header) {
                throw SegmentedLogError(
                    .notContiguous, "\(violation); truncate the log first or read its end again",
                    path: directory, offset: position)
            }
            guard header.frameByteCount <= options.frameBytesMax else {
                throw SegmentedLogError(
                    .tooLarge,
                    "a frame of \(header.frameByteCount) bytes exceeds the limit of \(options.frameBytesMax); split it",
                    path: directory)
            }
        }
        guard batch.byteCount <= segmentBytesMax else {
            throw SegmentedLogError(
                .tooLarge, "a batch of \(batch.byteCount) bytes exceeds \(segmentBytesMax); split it", path: directory)
        }
    }

    static func mark(end: LogEnd, durableIndex: UInt64, position: UInt64) -> FrameHeader {
        FrameHeader(
            kind: .mark, payloadCount: 0, recordCount: UInt32(position), index: durableIndex, term: end.lastTerm,
            baseOffset: end.nextOffset)
    }

    private func write(
        _ mark: [UInt8], _ batch: FrameBatch, to file: any File, at position: UInt64, _ durability: WriteDurability
    ) throws(SegmentedLogError) {
        try onDisk { () throws(FileIOError) in
            var failure: FileIOError?
            mark.withUnsafeBytes { markBytes in
                batch.bytes.withUnsafeBytes { batchBytes in
                    do throws(FileIOError) {
                        let buffers = markBytes.isEmpty ? [batchBytes] : [markBytes, batchBytes]
                        try file.write(buffers, at: position, durability: durability)
                    } catch {
                        failure = error
                    }
                }
            }
            if let failure { throw failure }
        }
    }

    /// Writes zeros ahead when the next write would leave them.
    private func allocate(
        _ writer: inout WriterState, _ start: Start, adding count: UInt64
    ) throws(SegmentedLogError) {
        let step = options.preallocateBytes
        guard step > 0, start.position + count > writer.allocatedEnd else { return }
        let missing = start.position + count - writer.allocatedEnd
        let rounded = (missing + step - 1) / step * step
        let from = writer.allocatedEnd
        try onDisk { () throws(FileIOError) in
            try start.file.zeroFill(at: from, count: rounded)
            try start.file.sync()
        }
        writer.allocatedEnd += rounded
    }

    // MARK: closing a segment

    private func rollIfFull(_ writer: inout WriterState, adding batch: FrameBatch) throws(SegmentedLogError) {
        let (active, file) = state.withLock { ($0.active, $0.activeFile) }
        let limit = min(options.segmentBytes, segmentBytesMax)
        let count = UInt64(batch.byteCount)
        guard let first = batch.headers.first, let last = batch.headers.last else { return }
        guard last.baseOffset - first.baseOffset <= UInt64(UInt32.max) else {
            throw SegmentedLogError(
                .tooLarge,
                "a batch takes \(last.baseOffset - first.baseOffset) offsets; append its frames in two batches",
                path: active.logPath)
        }
        // The index keeps offsets in 32 bits; a gap can take as many at once.
        let hasOffsets = active.index.holds(last)
        guard !hasOffsets || active.byteCount + count + UInt64(FrameHeader.byteCount) > limit else { return }
        let mayRoll = options.naming == .offset ? active.holdsRecords : active.end.lastIndex > active.head.lastIndex
        guard mayRoll else {
            guard active.byteCount + count <= UInt64(UInt32.max) else {
                throw SegmentedLogError(
                    .tooLarge, "the segment holds no record, so it can't be closed, and has no room for \(count) bytes",
                    path: active.logPath)
            }
            return
        }
        try seal(active, file, writer)
        let created = try Self.createSegment(
            directory: directory, fileSystem: fileSystem, options: options, head: active.end)
        writer = created.writer
        state.withLock {
            $0.segments.append(created.segment)
            $0.activeFile = created.file
        }
    }

    /// Makes the active segment durable and exactly as long as its frames, then writes its index file.
    private func seal(_ segment: Segment, _ file: any File, _ writer: WriterState) throws(SegmentedLogError) {
        let isDurable = state.withLock { $0.durableIndex == segment.end.lastIndex }
        let hasZeros = writer.allocatedEnd > segment.byteCount
        try onDisk { () throws(FileIOError) in
            if hasZeros { try file.truncate(to: segment.byteCount) }
            if hasZeros || !isDurable { try file.sync() }
        }
        state.withLock { $0.durableIndex = segment.end.lastIndex }
        try Self.writeIndex(segment, fileSystem)
    }

    /// Writes a closed segment's index file; not synced, since it can be rebuilt.
    static func writeIndex(_ segment: Segment, _ fileSystem: any FileSystem) throws(SegmentedLogError) {
        let bytes = segment.index.encoded(logBytes: segment.byteCount, end: segment.end)
        try onDisk { () throws(FileIOError) in
            let file = try fileSystem.open(segment.indexPath, .createOrOpen)
            try file.write(bytes: bytes, at: 0)
            try file.truncate(to: UInt64(bytes.count))
        }
    }

    /// Creates a segment whose first frame, a mark, says where it begins; durable with its name on return.
    static func createSegment(
        directory: String, fileSystem: any FileSystem, options: Options, head: LogEnd
    ) throws(SegmentedLogError) -> (segment: Segment, file: any File, writer: WriterState) {
        let stem = stem(directory, head, options.naming)
        let mark = mark(end: head, durableIndex: head.lastIndex, position: 0).encoded
        let file = try onDisk { () throws(FileIOError) in
            let file = try fileSystem.open(stem + ".log", .create)
            if options.preallocateBytes > 0 { try file.zeroFill(at: 0, count: options.preallocateBytes) }
            try file.write(bytes: mark, at: 0)
            try file.sync()
            try fileSystem.syncDirectory(directory)
            return file
        }
        let segment = Segment(
            stem: stem, end: head, byteCount: UInt64(mark.count), index: SegmentIndex(head: head))
        let allocatedEnd = max(options.preallocateBytes, UInt64(mark.count))
        return (segment, file, WriterState(allocatedEnd: allocatedEnd, markedIndex: head.lastIndex))
    }
}

extension SegmentedLog.State {
    /// Makes a written batch visible to readers.
    mutating func publish(_ batch: FrameBatch, at start: UInt64, interval: Int) {
        let last = segments.count - 1
        for (header, position) in zip(batch.headers, batch.positions) {
            if header.term != termStarts.last?.term { termStarts.append((header.index, header.term)) }
            segments[last].index.note(header, at: start + UInt64(position), interval: interval)
        }
        guard let header = batch.headers.last else { return }
        segments[last].byteCount = start + UInt64(batch.byteCount)
        segments[last].end = LogEnd(lastIndex: header.index, lastTerm: header.term, nextOffset: header.endOffset)
    }
}
