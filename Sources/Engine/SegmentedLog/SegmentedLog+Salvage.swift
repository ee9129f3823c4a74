// What can still be read of a damaged log: every good frame from the first on, up to the first that is bad or missing,
// copied into a new log. For an operator who has accepted the loss of the rest; nothing does this by itself.
public import FileIO
import Synchronization

extension SegmentedLog {
    /// Copies the good frames at the front of a damaged log.
    /// - Parameters:
    ///   - damaged: the folder, which is only read.
    ///   - directory: the new log's folder; it must be empty or missing.
    /// - Returns: the new log, durable.
    public static func salvage(
        _ damaged: String, to directory: String, fileSystem: any FileSystem, options: Options = Options()
    ) throws(SegmentedLogError) -> SegmentedLog {
        let names = try onDisk { () throws(FileIOError) in
            try fileSystem.exists(damaged) ? try fileSystem.list(damaged) : []
        }
        let log = try open(directory: directory, fileSystem: fileSystem, options: options)
        for stem in LogOpening.stems(names, suffix: ".log") {
            guard try copy("\(damaged)/\(stem).log", into: log) else { break }
        }
        try log.sync()
        try log.markEnd()
        return log
    }

    /// - Returns: false when the segment does not continue the log, or ends with a frame that is bad.
    private static func copy(_ path: String, into log: SegmentedLog) throws(SegmentedLogError) -> Bool {
        let file = try onDisk { () throws(FileIOError) in try log.fileSystem.open(path, .read) }
        let size = try onDisk { () throws(FileIOError) in try file.size() }
        var scanner = SegmentScanner(file, end: size)
        var end = log.state.withLock { $0.end }
        while case .frame(let header) = try scanner.next() {
            if header.kind == .mark {
                // A segment begins where the one before ended; the very first may begin anywhere behind a snapshot.
                if scanner.framePosition == 0, LogEnd(stated: header) != end {
                    guard end.lastIndex == 0 else { return false }
                    try log.reset(to: header.index, term: header.term, nextOffset: header.baseOffset)
                    end = LogEnd(stated: header)
                }
                continue
            }
            guard end.advance(over: header) == nil else { return false }
            var batch = FrameBatch()
            scanner.withFrame { batch.append(verified: header, frame: $0) }
            try log.append(batch, durability: .process)
        }
        return try SegmentRemainder(of: file, from: scanner.position, end: size, above: 0).dirtyEnd == nil
    }
}
