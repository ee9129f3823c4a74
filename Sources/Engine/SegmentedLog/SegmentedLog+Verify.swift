// The offline verifier: reads every byte of a log that nobody has open and lists what is wrong, without changing
// anything. It stops at the first bad frame of a segment and goes on with the next segment.
public import FileIO

extension SegmentedLog {
    /// Something that ``verify(directory:fileSystem:options:)`` found.
    public struct Finding: Sendable, Hashable, CustomStringConvertible {
        public enum Severity: String, Sendable, Hashable {
            /// Durable bytes are not what was written.
            case corruption
            /// The end of an interrupted write; opening the log cuts it off.
            case tornTail = "torn tail"
            /// A derived file that opening the log rebuilds.
            case rebuildable
        }

        public var severity: Severity
        public var path: String
        public var offset: UInt64
        public var message: String

        public var description: String { "\(severity.rawValue): \(path) at byte \(offset): \(message)" }
    }

    /// What a check of one log found.
    public struct Verification: Sendable, Hashable {
        public var directory: String
        public var segments = 0
        public var bytes: UInt64 = 0
        /// Frames that take an index, as far as the segments' ends are known.
        public var entries: UInt64 = 0
        public var findings: [Finding] = []
        /// Index of the last entry; nil when that is not known.
        public var lastIndex: UInt64?
        /// Index of the entry before the newest segment.
        public var newestHead: UInt64 = 0

        /// True when the end of an interrupted write is there, which opening cuts off.
        public var isTorn: Bool { findings.contains { $0.severity == .tornTail } }
        /// True when bytes that were durable are not what was written.
        public var isDamaged: Bool { findings.contains { $0.severity == .corruption } }
    }

    /// Folders below the given one are looked at this deep.
    private static let depthMax = 6

    /// Checks every log in `directory` and below it; none may be open.
    /// - Complexity: O(bytes of the logs).
    public static func verifyAll(
        below directory: String, fileSystem: any FileSystem
    ) throws(SegmentedLogError) -> [Verification] {
        try verifyAll(directory, fileSystem, depth: 0)
    }

    private static func verifyAll(
        _ directory: String, _ fileSystem: any FileSystem, depth: Int
    ) throws(SegmentedLogError) -> [Verification] {
        let names = try onDisk { () throws(FileIOError) in try fileSystem.list(directory) }
        var found: [Verification] = []
        if !LogOpening.stems(names, suffix: ".log").isEmpty {
            found.append(try verification(of: directory, fileSystem))
        }
        guard depth < depthMax else { return found }
        for name in names where !DamagedFolder.isName(name) {
            // Only folders can be listed.
            guard (try? fileSystem.list(directory + "/" + name)) != nil else { continue }
            found += try verifyAll(directory + "/" + name, fileSystem, depth: depth + 1)
        }
        return found
    }

    /// Nothing but the names says how segments are named, so the naming that fits better is the log's.
    private static func verification(
        of directory: String, _ fileSystem: any FileSystem
    ) throws(SegmentedLogError) -> Verification {
        var options = Options()
        options.naming = .offset
        let byOffset = try verification(directory: directory, fileSystem: fileSystem, options: options)
        guard byOffset.isDamaged else { return byOffset }
        options.naming = .index
        let byIndex = try verification(directory: directory, fileSystem: fileSystem, options: options)
        return byIndex.findings.count < byOffset.findings.count ? byIndex : byOffset
    }

    /// Checks every frame and every index file of a log that is not open.
    /// - Complexity: O(bytes of the log).
    public static func verify(
        directory: String, fileSystem: any FileSystem, options: Options = Options()
    ) throws(SegmentedLogError) -> [Finding] {
        try verification(directory: directory, fileSystem: fileSystem, options: options).findings
    }

    private static func verification(
        directory: String, fileSystem: any FileSystem, options: Options
    ) throws(SegmentedLogError) -> Verification {
        let opening = LogOpening(directory: directory, fileSystem: fileSystem, options: options)
        let names = try onDisk { () throws(FileIOError) in try fileSystem.list(directory) }
        let stems = LogOpening.stems(names, suffix: ".log").map { directory + "/" + $0 }
        var result = Verification(directory: directory, segments: stems.count)
        var previous: LogEnd?
        for (position, stem) in stems.enumerated() {
            do throws(SegmentedLogError) {
                let isLast = position == stems.count - 1
                let before = previous
                previous = try opening.verifySegment(stem, behind: before, isLast: isLast, &result)
            } catch {
                if error.code == .disk { throw error }
                result.findings.append(
                    Finding(
                        severity: .corruption, path: stem + ".log", offset: error.offset ?? 0, message: error.message))
                previous = nil
            }
        }
        result.lastIndex = previous?.lastIndex
        return result
    }
}

extension LogOpening {
    /// - Returns: where the segment ends, nil when that is not known.
    fileprivate func verifySegment(
        _ stem: String, behind previous: LogEnd?, isLast: Bool, _ result: inout SegmentedLog.Verification
    ) throws(SegmentedLogError) -> LogEnd? {
        let path = stem + ".log"
        guard let head = try readHead(stem, isLast: isLast) else {
            result.findings.append(
                .init(severity: .tornTail, path: path, offset: 0, message: "making this segment was interrupted"))
            return nil
        }
        if let previous, previous != head {
            result.findings.append(
                .init(
                    severity: .corruption, path: path, offset: 0,
                    message: "begins behind index \(head.lastIndex), but the segment before ends at"
                        + " \(previous.lastIndex)"))
        }
        result.newestHead = head.lastIndex
        let (file, size) = try open(path, .read)
        let scan = try scan(file, stem, head, size)
        let end = scan.segment.byteCount
        result.bytes += size
        result.entries += scan.segment.end.lastIndex - head.lastIndex
        let rest = try scan.remainder(of: file, end: size)
        if rest.dirtyEnd != nil {
            let isTorn = isLast && rest.proof == nil
            result.findings.append(
                .init(
                    severity: isTorn ? .tornTail : .corruption, path: path, offset: end,
                    message: scan.bad ?? "bytes follow that are no frame"))
            if !isTorn { return nil }
        }
        if !isLast { try verifyIndex(scan.segment, file, size, &result.findings) }
        return scan.segment.end
    }

    private func verifyIndex(
        _ segment: SegmentedLog.Segment, _ file: any File, _ size: UInt64, _ findings: inout [SegmentedLog.Finding]
    ) throws(SegmentedLogError) {
        let bytes = try onDisk { () throws(FileIOError) in try fileSystem.readFile(segment.indexPath) }
        func note(_ message: String) {
            findings.append(
                .init(severity: .rebuildable, path: segment.indexPath, offset: 0, message: message))
        }
        guard let bytes else { return note("the index file is missing") }
        guard let decoded = SegmentIndex.decode(bytes, head: segment.head), decoded.logBytes == size,
            decoded.end == segment.end
        else { return note("the index file does not fit its segment") }
        for entry in decoded.index.entries {
            var scanner = SegmentScanner(
                file, from: UInt64(entry.position), end: size, windowBytes: FrameHeader.byteCount)
            guard case .frame(let header) = try scanner.next(), header.index == decoded.index.index(of: entry),
                header.term == entry.term
            else { return note("an entry points to no frame of index \(decoded.index.index(of: entry))") }
        }
    }
}
