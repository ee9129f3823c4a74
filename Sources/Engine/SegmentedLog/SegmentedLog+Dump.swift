// One segment for people to read: its frames in order, up to the first that does not hold. It reads only, and needs
// neither the other segments nor the index.
public import FileIO

extension SegmentedLog {
    /// What one segment file holds.
    public struct SegmentDump: Sendable {
        public struct Frame: Sendable, Hashable {
            /// Where its header begins in the file.
            public var position: UInt64
            public var header: FrameHeader
        }

        /// Entries and marks.
        public var frames: [Frame] = []
        /// Frames that were left out because of the limit.
        public var omitted = 0
        /// Where the last good frame ends.
        public var end: UInt64 = 0
        public var fileBytes: UInt64 = 0
        /// Why the dump ends early; nil when nothing but zeros follows.
        public var fault: String?
    }

    /// Reads the segment at `path`, checking every frame.
    /// - Parameter limit: frames to keep; the others are checked and counted.
    /// - Throws: only what the disk says; damage is in the result.
    public static func dump(
        segment path: String, fileSystem: any FileSystem, limit: Int
    ) throws(SegmentedLogError) -> SegmentDump {
        let (file, size) = try onDisk { () throws(FileIOError) in
            let file = try fileSystem.open(path, .read)
            return (file, try file.size())
        }
        var dump = SegmentDump()
        dump.fileBytes = size
        var scanner = SegmentScanner(file, end: size)
        var logEnd: LogEnd?
        while dump.fault == nil {
            guard case .frame(let header) = try scanner.next() else { break }
            let position = scanner.framePosition
            dump.fault = Self.advance(&logEnd, over: header, at: position).map { "\(path) at byte \(position): \($0)" }
            if dump.fault != nil { return dump }
            dump.end = scanner.position
            if dump.frames.count < limit {
                dump.frames.append(SegmentDump.Frame(position: position, header: header))
            } else {
                dump.omitted += 1
            }
        }
        let rest = try SegmentRemainder(of: file, from: dump.end, end: size, above: logEnd?.lastIndex ?? 0)
        if let dirtyEnd = rest.dirtyEnd {
            dump.fault =
                "\(path) at byte \(dump.end): no good frame begins here, but bytes follow up to \(dirtyEnd): "
                + (rest.proof == nil ? "an interrupted write, or damage" : "damage, for a later mark promised more")
        }
        return dump
    }

    /// Moves over a frame; nil, or what it contradicts.
    private static func advance(_ end: inout LogEnd?, over header: FrameHeader, at position: UInt64) -> String? {
        guard var next = end else {
            guard header.kind == .mark else { return "a segment begins with a mark" }
            end = LogEnd(stated: header)
            return nil
        }
        if header.kind == .mark { return next.check(mark: header, at: position) }
        let violation = next.advance(over: header)
        end = next
        return violation
    }
}
