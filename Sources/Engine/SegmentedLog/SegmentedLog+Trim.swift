// Dropping entries: a suffix that a new leader overruled, a prefix that nobody needs, or everything before a snapshot.
// Files go one at a time, each with its directory synced, so that a crash in between leaves a log without holes.
import FileIO
import Synchronization

extension SegmentedLog {
    /// Drops the entries from `index` on; durable on return. Nothing happens above the last index.
    public func truncate(from index: UInt64) throws(SegmentedLogError) {
        try mutate { writer throws(SegmentedLogError) in
            let (first, last) = try state.withLock { state throws(SegmentedLogError) in
                try state.checkHealth()
                return (state.firstIndex, state.end.lastIndex)
            }
            if index > last { return }
            guard index >= first else {
                throw SegmentedLogError(
                    .outOfRange, "index \(index) was trimmed away and can't be truncated; reset the log instead",
                    path: directory)
            }
            let target = state.withLock { $0.segmentPosition(index: index) }
            let cut = try findCut(segment: target, index: index)
            try dropSegments(after: target)
            // Before the file changes, so that a reader who trips over the cut knows why.
            let (stem, file) = state.withLock {
                $0.cutActive(to: cut.position, end: cut.end)
                // A mark behind the cut is gone; one more mark than needed does no harm.
                writer = WriterState(allocatedEnd: cut.position, markedIndex: $0.active.head.lastIndex)
                return ($0.active.stem, $0.activeFile)
            }
            try onDisk { () throws(FileIOError) in
                if try fileSystem.exists(stem + ".index") { try fileSystem.remove(stem + ".index") }
                try file.truncate(to: cut.position)
                try file.sync()
            }
            state.withLock { $0.durableIndex = cut.end.lastIndex }
        }
    }

    /// Where the frame of `index` begins and how the log ends without it.
    private func findCut(
        segment: Int, index: UInt64
    ) throws(SegmentedLogError) -> (position: UInt64, end: LogEnd) {
        let (plan, term) = state.withLock {
            (ReadPlan($0, segment, $0.segments[segment].index.floor(index: index)), $0.term(at: index - 1))
        }
        let file = try openFile(plan)
        var scanner = SegmentScanner(file, from: plan.start, end: plan.end)
        while case .frame(let header) = try scanner.next() {
            guard header.kind != .mark, header.index == index, let term else { continue }
            let end = LogEnd(lastIndex: index - 1, lastTerm: term, nextOffset: header.baseOffset)
            return (scanner.framePosition, end)
        }
        throw SegmentedLogError(
            .corruption, "the frame of index \(index) can't be read; fetch this log from the peers again",
            path: plan.path, offset: scanner.position)
    }

    /// Removes the segments behind one, newest first, which makes that one active.
    private func dropSegments(after target: Int) throws(SegmentedLogError) {
        while true {
            let (segment, previous) = state.withLock {
                ($0.active, $0.segments.count - 1 > target ? $0.segments[$0.segments.count - 2].logPath : nil)
            }
            guard let previous else { return }
            let file = try onDisk { () throws(FileIOError) in try fileSystem.open(previous, .readWrite) }
            state.withLock {
                $0.activeFile = file
                $0.segments.removeLast()
                $0.durableIndex = min($0.durableIndex, $0.end.lastIndex)
                $0.forgetTerms(above: $0.end.lastIndex)
                $0.truncations += 1
            }
            try removeFiles(of: segment)
        }
    }

    private func removeFiles(of segment: Segment) throws(SegmentedLogError) {
        try onDisk { () throws(FileIOError) in
            if try fileSystem.exists(segment.indexPath) { try fileSystem.remove(segment.indexPath) }
            try fileSystem.remove(segment.logPath)
            try fileSystem.syncDirectory(directory)
        }
    }

    /// Deletes the segments that hold only entries below `index`. The active segment always stays.
    public func trim(before index: UInt64) throws(SegmentedLogError) {
        try mutate(isFinal: false) { _ throws(SegmentedLogError) in
            while true {
                let dropped = try state.withLock { state throws(SegmentedLogError) -> Segment? in
                    try state.checkHealth()
                    guard state.segments.count > 1, state.segments[0].end.lastIndex < index else { return nil }
                    let dropped = state.segments.removeFirst()
                    state.forgetTerms(below: state.firstIndex)
                    return dropped
                }
                guard let dropped else { return }
                try removeFiles(of: dropped)
            }
        }
    }

    /// The first entry of the newest run of segments that hold at least `bytes`: trimming before it leaves that much.
    public func index(leaving bytes: UInt64) -> UInt64 {
        state.withLock { state in
            var sum: UInt64 = 0
            for segment in state.segments.reversed() {
                sum += segment.byteCount
                if sum >= bytes { return segment.head.lastIndex + 1 }
            }
            return state.firstIndex
        }
    }

    /// Whether ``trim(before:)`` would delete something.
    public func canTrim(before index: UInt64) -> Bool {
        state.withLock { $0.segments.count > 1 && $0.segments[0].end.lastIndex < index }
    }

    /// Empties the log and lets it go on behind a snapshot: the next entry is `index + 1`. Durable on return.
    ///
    /// The snapshot must be durable before. A crash in the middle leaves an older, shorter or empty log: whoever opens
    /// a log that ends below its snapshot calls this again.
    public func reset(to index: UInt64, term: UInt64, nextOffset: UInt64) throws(SegmentedLogError) {
        try mutate { writer throws(SegmentedLogError) in
            try state.withLock { state throws(SegmentedLogError) in try state.checkHealth() }
            try dropSegments(after: 0)
            try removeFiles(of: state.withLock { $0.active })
            let head = LogEnd(lastIndex: index, lastTerm: term, nextOffset: nextOffset)
            let created = try Self.createSegment(
                directory: directory, fileSystem: fileSystem, options: options, head: head)
            writer = created.writer
            state.withLock {
                $0.segments = [created.segment]
                $0.activeFile = created.file
                $0.termStarts = []
                $0.durableIndex = index
                $0.truncations += 1
            }
        }
    }
}

extension SegmentedLog.State {
    /// Shortens the active segment.
    mutating func cutActive(to position: UInt64, end: LogEnd) {
        let last = segments.count - 1
        segments[last].byteCount = position
        segments[last].end = end
        segments[last].index.cut(at: position)
        durableIndex = min(durableIndex, end.lastIndex)
        forgetTerms(above: end.lastIndex)
        truncations += 1
    }

    mutating func forgetTerms(above index: UInt64) {
        while let last = termStarts.last, last.index > index { termStarts.removeLast() }
    }

    mutating func forgetTerms(below index: UInt64) {
        guard let term = term(at: index) else {
            termStarts.removeAll()
            return
        }
        termStarts.removeAll { $0.index <= index }
        termStarts.insert((index, term), at: 0)
    }
}
