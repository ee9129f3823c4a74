// Opening a log. Closed segments are trusted when their index file fits, for they were durable before their successor
// was made; the last one is read in full. A bad frame there is a torn write, and cut off, unless a later mark proves
// that it was durable: then it is corruption, and the log does not open. Nothing is ever repaired by guessing.
public import FileIO

/// A log as it was found.
struct RecoveredLog {
    var state: SegmentedLog.State
    var writer: SegmentedLog.WriterState
    var report: SegmentedLog.Recovery
}

extension SegmentedLog {
    /// Opens the log in a directory. Everything that was found is durable on return, and its end is marked as durable.
    ///
    /// - Parameter floor: what is known of the log from elsewhere. Nil: nothing, so that a missing log is created.
    ///   Otherwise the log was there, and held at least that entry; then a log that is missing, empty or shorter, or
    ///   that holds another entry there, is refused (``SegmentedLogError/Code/incomplete``) and left as it is.
    /// - Complexity: O(bytes of the last segment + segments).
    public static func open(
        directory: String, fileSystem: any FileSystem, options: Options = Options(), floor: LogFloor? = nil
    ) throws(SegmentedLogError) -> SegmentedLog {
        try onDisk { () throws(FileIOError) in
            if floor == nil, try !fileSystem.exists(directory) {
                try fileSystem.createDirectory(directory)
                try fileSystem.syncDirectory(fileSystem.directory(of: directory))
            }
        }
        let opening = LogOpening(directory: directory, fileSystem: fileSystem, options: options, floor: floor)
        let recovered = try opening.run()
        return SegmentedLog(
            directory: directory, fileSystem: fileSystem, options: options, recovered: recovered)
    }

    /// Whether a folder holds a log with more in it than what making one leaves; changes nothing.
    public static func holdsEntries(
        directory: String, fileSystem: any FileSystem
    ) throws(SegmentedLogError) -> Bool {
        let names = try onDisk { () throws(FileIOError) in
            try fileSystem.exists(directory) ? try fileSystem.list(directory) : []
        }
        let stems = LogOpening.stems(names, suffix: ".log")
        guard stems.count == 1, let stem = stems.first else { return !stems.isEmpty }
        let file = try onDisk { () throws(FileIOError) in try fileSystem.open("\(directory)/\(stem).log", .read) }
        let size = try onDisk { () throws(FileIOError) in try file.size() }
        let first = UInt64(FrameHeader.byteCount)
        if UInt64(stem) ?? 0 > 1 { return true }
        return try SegmentRemainder(of: file, from: first, end: size, above: 0).dirtyEnd != nil
    }
}

/// One opening of a log.
struct LogOpening {
    let directory: String
    let fileSystem: any FileSystem
    let options: SegmentedLog.Options
    /// What the log must hold; nil when it may be new.
    var floor: LogFloor?

    private static let remedy = "restore the file or let this node fetch the log from its peers; nothing was changed"

    func run() throws(SegmentedLogError) -> RecoveredLog {
        if floor != nil, try onDisk({ () throws(FileIOError) in try !fileSystem.exists(directory) }) {
            throw incomplete("the log's folder is missing")
        }
        var stems = try findSegments()
        if stems.isEmpty, floor != nil { throw incomplete("the log is missing") }
        var heads: [LogEnd] = []
        for (position, stem) in stems.enumerated() {
            if let head = try readHead(stem, isLast: position == stems.count - 1) { heads.append(head) }
        }
        var segments: [SegmentedLog.Segment] = []
        for position in heads.indices.dropLast(heads.count == stems.count ? 1 : 0) {
            let next = position + 1 < heads.count ? heads[position + 1] : nil
            segments.append(try openClosed(stems[position], heads[position], next))
        }
        if heads.count < stems.count {
            // The last segment's making was interrupted; it held nothing, so it is made again.
            let stem = stems.removeLast()
            let torn = stem + ".log"
            if segments.isEmpty, floor != nil { throw incomplete("the log is empty") }
            try checkFloor(of: segments)
            if let end = segments.last?.end, SegmentedLog.stem(directory, end, options.naming) != stem {
                throw corruption("it does not continue the segment before, which ends at \(end.lastIndex)", torn, 0)
            }
            try onDisk { () throws(FileIOError) in
                try fileSystem.remove(torn)
                try fileSystem.syncDirectory(directory)
            }
        }
        guard heads.count == segments.count + 1, let head = heads.last, let stem = stems.last else {
            let created = try SegmentedLog.createSegment(
                directory: directory, fileSystem: fileSystem, options: options, head: segments.last?.end ?? LogEnd())
            return finish(segments + [created.segment], created.file, created.writer, torn: nil)
        }
        let active = try openActive(stem, head, behind: segments)
        return finish(segments + [active.segment], active.file, active.writer, torn: active.torn)
    }

    /// Refuses segments that hold less than what is known to have been durable.
    /// - Parameter bad: why the last segment ends where it does, when bytes follow that are no frame.
    private func checkFloor(
        of segments: [SegmentedLog.Segment], bad: String? = nil
    ) throws(SegmentedLogError) {
        guard let floor, let first = segments.first, let last = segments.last else { return }
        guard last.head.lastIndex >= floor.head else {
            throw incomplete("the segment that begins behind entry \(floor.head) is missing or empty")
        }
        if floor.index == 0 { return }
        guard last.end.lastIndex >= floor.index else {
            if let bad {
                throw corruption(
                    "\(bad), yet entries up to \(floor.index) were recorded as durable", last.logPath, last.byteCount)
            }
            throw incomplete(
                "the log ends at entry \(last.end.lastIndex), yet entries up to \(floor.index) were recorded as durable"
            )
        }
        if floor.index < first.head.lastIndex { return }
        let term =
            floor.index == first.head.lastIndex
            ? first.head.lastTerm : segments.last { $0.head.lastIndex < floor.index }?.term(at: floor.index)
        guard term == floor.term else {
            throw incomplete(
                "entry \(floor.index) has term \(term ?? 0), yet it was durable with term \(floor.term): "
                    + "an older copy was put in the log's place")
        }
    }

    /// Stems of the log files, ascending. Index files without a log are removed.
    private func findSegments() throws(SegmentedLogError) -> [String] {
        let names = try onDisk { () throws(FileIOError) in try fileSystem.list(directory) }
        let stems = Self.stems(names, suffix: ".log")
        for orphan in Self.stems(names, suffix: ".index") where !stems.contains(orphan) {
            try onDisk { () throws(FileIOError) in try fileSystem.remove(directory + "/" + orphan + ".index") }
        }
        return stems.map { directory + "/" + $0 }
    }

    static func stems(_ names: [String], suffix: String) -> [String] {
        names.compactMap { name in
            guard name.hasSuffix(suffix) else { return nil }
            let stem = name.dropLast(suffix.count)
            return stem.utf8.count == 20 && stem.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } ? String(stem) : nil
        }
    }

    /// Reads the mark that a segment begins with; nil when the last segment's making was interrupted.
    func readHead(_ stem: String, isLast: Bool) throws(SegmentedLogError) -> LogEnd? {
        let path = stem + ".log"
        let (file, size) = try open(path, .read)
        var scanner = SegmentScanner(file, end: size, windowBytes: FrameHeader.byteCount)
        let step = try scanner.next()
        if case .frame(let mark) = step, mark.kind == .mark, mark.recordCount == 0, mark.payloadCount == 0 {
            let head = LogEnd(stated: mark)
            guard SegmentedLog.stem(directory, head, options.naming) == stem else {
                throw SegmentedLogError(
                    .unsupported,
                    "its name does not fit its first frame: it was renamed, or made with another naming of segments",
                    path: path, offset: 0)
            }
            return head
        }
        if case .bad(let field, isUnknown: true) = step { throw unsupported(field, path, 0) }
        // The first mark is durable before anything is written behind it.
        let rest = try SegmentRemainder(of: file, from: UInt64(FrameHeader.byteCount), end: size, above: 0)
        guard isLast, rest.dirtyEnd == nil else {
            throw corruption("the mark that begins the segment is damaged", path, 0)
        }
        return nil
    }

    /// Opens a segment that has a successor.
    private func openClosed(
        _ stem: String, _ head: LogEnd, _ next: LogEnd?
    ) throws(SegmentedLogError) -> SegmentedLog.Segment {
        let (file, size) = try open(stem + ".log", .read)
        let indexBytes = try onDisk { () throws(FileIOError) in try fileSystem.readFile(stem + ".index") }
        if let indexBytes, let decoded = SegmentIndex.decode(indexBytes, head: head), decoded.logBytes == size,
            next == nil || decoded.end == next
        {
            return SegmentedLog.Segment(stem: stem, end: decoded.end, byteCount: size, index: decoded.index)
        }
        let scan = try scan(file, stem, head, size)
        if let bad = scan.bad, try scan.remainder(of: file, end: size).dirtyEnd != nil {
            throw corruption(bad, stem + ".log", scan.segment.byteCount)
        }
        if let next, scan.segment.end != next {
            throw corruption(
                "it ends at index \(scan.segment.end.lastIndex), but the next segment begins behind \(next.lastIndex)",
                stem + ".log", scan.segment.byteCount)
        }
        try SegmentedLog.writeIndex(scan.segment, fileSystem)
        return scan.segment
    }

    private func openActive(
        _ stem: String, _ head: LogEnd, behind closed: [SegmentedLog.Segment]
    ) throws(SegmentedLogError) -> (
        segment: SegmentedLog.Segment, file: any File, writer: SegmentedLog.WriterState, torn: SegmentedLog.TornTail?
    ) {
        let path = stem + ".log"
        let (file, size) = try open(path, .readWrite)
        let scan = try scan(file, stem, head, size)
        let end = scan.segment.byteCount
        let rest = try scan.remainder(of: file, end: size)
        if let proof = rest.proof {
            throw corruption(
                "\(scan.bad ?? "a frame is missing"), yet the mark at byte \(proof.position) says that entries up to"
                    + " \(proof.mark.index) were durable", path, end)
        }
        let reason = scan.bad ?? "bytes follow that are no frame"
        try checkFloor(of: closed + [scan.segment], bad: rest.dirtyEnd == nil ? nil : reason)
        let torn = rest.dirtyEnd.map {
            SegmentedLog.TornTail(path: path, offset: end, byteCount: $0 - end, reason: reason)
        }
        var segment = scan.segment
        var writer = SegmentedLog.WriterState(allocatedEnd: torn == nil ? size : end, markedIndex: scan.markedIndex)
        try onDisk { () throws(FileIOError) in
            if torn != nil { try file.truncate(to: end) }
            // What a killed process wrote may be in the page cache only.
            try file.sync()
            try fileSystem.syncDirectory(directory)
            // Whoever knows a floor moves it to the end now, which says the same at less cost.
            guard floor == nil, scan.markedIndex < segment.end.lastIndex, let mark = segment.endMark else { return }
            // From here on a damaged end can't look like an interrupted write.
            try file.write(bytes: mark, at: end, durability: .power)
            segment.byteCount += UInt64(mark.count)
            writer.markedIndex = segment.end.lastIndex
            writer.allocatedEnd = max(writer.allocatedEnd, segment.byteCount)
        }
        return (segment, file, writer, torn)
    }

    struct Scan {
        /// What precedes the first bad frame.
        var segment: SegmentedLog.Segment
        var markedIndex: UInt64
        /// Why the scan ended before the end of the file, nil when all of it is good. What follows may be mere zeros.
        var bad: String?
    }

    /// Reads a whole segment.
    func scan(
        _ file: any File, _ stem: String, _ head: LogEnd, _ size: UInt64
    ) throws(SegmentedLogError) -> Scan {
        let segment = SegmentedLog.Segment(stem: stem, end: head, byteCount: 0, index: SegmentIndex(head: head))
        var result = Scan(segment: segment, markedIndex: head.lastIndex, bad: nil)
        var scanner = SegmentScanner(file, end: size)
        while true {
            switch try scanner.next() {
            case .end, .tooLarge:
                return result
            case .bad(let field, isUnknown: true):
                throw unsupported(field, segment.logPath, scanner.position)
            case .bad(let reason, isUnknown: false):
                result.bad = reason
                return result
            case .frame(let header):
                if let violation = result.accept(header, at: scanner.framePosition, options.indexIntervalBytes) {
                    result.bad = violation
                    return result
                }
                result.segment.byteCount = scanner.position
            }
        }
    }

    private func finish(
        _ segments: [SegmentedLog.Segment], _ file: any File, _ writer: SegmentedLog.WriterState,
        torn: SegmentedLog.TornTail?
    ) -> RecoveredLog {
        var report = SegmentedLog.Recovery()
        var byteCount: UInt64 = 0
        for segment in segments {
            byteCount += segment.byteCount
            for entry in segment.index.entries {
                let index = segment.index.index(of: entry)
                if entry.term != report.termStarts.last?.term { report.termStarts.append((index, entry.term)) }
                if entry.kind == .membership || entry.kind == .prefixTrim {
                    report.controlFrames.append((index, entry.kind))
                }
            }
        }
        let end = segments[segments.count - 1].end
        report.firstIndex = segments[0].head.lastIndex + 1
        report.previousTerm = segments[0].head.lastTerm
        report.lastIndex = end.lastIndex
        report.lastTerm = end.lastTerm
        report.nextOffset = end.nextOffset
        report.segmentCount = segments.count
        report.byteCount = byteCount
        report.tornTail = torn
        let state = SegmentedLog.State(
            segments: segments, activeFile: file, termStarts: report.termStarts, durableIndex: end.lastIndex)
        return RecoveredLog(state: state, writer: writer, report: report)
    }

    func open(
        _ path: String, _ mode: OpenMode
    ) throws(SegmentedLogError) -> (file: any File, size: UInt64) {
        try onDisk { () throws(FileIOError) in
            let file = try fileSystem.open(path, mode)
            return (file, try file.size())
        }
    }

    private func corruption(_ what: String, _ path: String, _ offset: UInt64) -> SegmentedLogError {
        SegmentedLogError(.corruption, "\(what); \(Self.remedy)", path: path, offset: offset)
    }

    private func incomplete(_ what: String) -> SegmentedLogError {
        SegmentedLogError(
            .incomplete, "\(what): files of it were deleted, cut or replaced; \(Self.remedy)", path: directory)
    }

    private func unsupported(_ field: String, _ path: String, _ offset: UInt64) -> SegmentedLogError {
        SegmentedLogError(
            .unsupported, "\(field): a newer version wrote this; run that version", path: path, offset: offset)
    }
}

extension SegmentedLog.Segment {
    /// Term of an entry of this segment; nil when it holds none at that index.
    func term(at index: UInt64) -> UInt64? {
        guard index > head.lastIndex, index <= end.lastIndex else { return nil }
        return self.index.floor(index: index)?.term
    }

    /// The encoded mark that promises the whole segment; nil when there is no room for one.
    var endMark: [UInt8]? {
        guard byteCount + UInt64(FrameHeader.byteCount) <= UInt64(UInt32.max) else { return nil }
        return SegmentedLog.mark(end: end, durableIndex: end.lastIndex, position: byteCount).encoded
    }
}

extension LogOpening.Scan {
    /// What follows the good frames in a file of `end` bytes.
    func remainder(of file: any File, end: UInt64) throws(SegmentedLogError) -> SegmentRemainder {
        try SegmentRemainder(of: file, from: segment.byteCount, end: end, above: segment.end.lastIndex)
    }

    /// Takes a valid frame at `position`; nil when it fits what precedes it, else what contradicts it.
    fileprivate mutating func accept(_ header: FrameHeader, at position: UInt64, _ interval: Int) -> String? {
        if header.kind == .mark {
            if let violation = segment.end.check(mark: header, at: position) { return violation }
            markedIndex = max(markedIndex, header.index)
            return nil
        }
        if let violation = segment.end.advance(over: header) { return violation }
        guard segment.index.holds(header) else { return "a segment's offsets or indexes span more than 32 bits" }
        segment.index.note(header, at: position, interval: interval)
        return nil
    }
}
