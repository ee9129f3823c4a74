// The sparse index of one segment: a pure function of the segment's frames, kept in memory, written out when the
// segment is sealed and rebuilt when the file is missing or does not match. Losing it may cost time, never an answer.
import CEngine

/// Finds the neighbourhood of an index or of an offset in a segment.
struct SegmentIndex: Hashable, Sendable {
    /// One frame of the segment.
    struct Entry: Hashable, Sendable {
        /// Base offset of the frame, relative to the segment's.
        var offset: UInt32
        /// Index of the frame, relative to the last index before the segment.
        var index: UInt32
        /// Where its header begins in the file.
        var position: UInt32
        var kind: FrameKind
        var term: UInt64
    }

    /// The log's end where this segment begins.
    let head: LogEnd
    /// Ascending in every field but `kind`.
    private(set) var entries: [Entry] = []

    init(head: LogEnd) {
        self.head = head
    }

    /// False for a frame so far behind the segment's head that an entry has no room for its offset or index.
    func holds(_ header: FrameHeader) -> Bool {
        header.baseOffset - head.nextOffset <= UInt64(UInt32.max)
            && header.index - head.lastIndex <= UInt64(UInt32.max)
    }

    /// Notes a frame when an entry is due: the first, one after `interval` bytes, each start of a term, and each frame
    /// that recovery must be able to name (membership and prefix trim).
    mutating func note(_ header: FrameHeader, at position: UInt64, interval: Int) {
        if let last = entries.last, last.term == header.term, position - UInt64(last.position) < UInt64(interval),
            header.kind != .membership, header.kind != .prefixTrim
        {
            return
        }
        // The log rolls before any of these three exceeds 32 bits, and refuses segments where one does.
        entries.append(
            Entry(
                offset: UInt32(header.baseOffset - head.nextOffset), index: UInt32(header.index - head.lastIndex),
                position: UInt32(position), kind: header.kind, term: header.term))
    }

    /// Forgets entries at or behind a file position.
    mutating func cut(at position: UInt64) {
        while let last = entries.last, UInt64(last.position) >= position { entries.removeLast() }
    }

    func index(of entry: Entry) -> UInt64 { head.lastIndex + UInt64(entry.index) }

    /// The last entry at or below an index.
    func floor(index: UInt64) -> Entry? {
        floor { head.lastIndex + UInt64($0.index) <= index }
    }

    /// The last entry whose base offset is at or below an offset.
    func floor(offset: UInt64) -> Entry? {
        floor { head.nextOffset + UInt64($0.offset) <= offset }
    }

    /// The last entry for which `isBelow` holds; it must hold for a prefix of the entries.
    private func floor(_ isBelow: (Entry) -> Bool) -> Entry? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if isBelow(entries[middle]) { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : entries[low - 1]
    }
}

/// The index file: 32 bytes of header, 24 bytes per entry, 48 bytes of footer, little-endian.
extension SegmentIndex {
    private static let magic: UInt32 = 0x3149_4C53  // "SLI1"
    private static let version: UInt16 = 1
    private static let headerBytes = 32
    private static let entryBytes = 24
    private static let footerBytes = 48

    /// Encodes the index of a sealed segment that is `logBytes` long and ends at `end`.
    func encoded(logBytes: UInt64, end: LogEnd) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerBytes + entries.count * Self.entryBytes + Self.footerBytes)
        func put<Value: FixedWidthInteger>(_ value: Value) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        put(Self.magic)
        put(Self.version)
        put(UInt16(Self.entryBytes))
        put(head.nextOffset)
        put(head.lastIndex)
        put(head.lastTerm)
        for entry in entries {
            put(entry.offset)
            put(entry.index)
            put(entry.position)
            put(UInt32(entry.kind.rawValue))
            put(entry.term)
        }
        put(UInt64(entries.count))
        put(logBytes)
        put(end.nextOffset)
        put(end.lastIndex)
        put(end.lastTerm)
        put(UInt32(0))
        put(bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) })
        return bytes
    }

    /// Decodes an index file; nil when anything about it is not exactly right, since it can be rebuilt.
    static func decode(_ bytes: [UInt8], head: LogEnd) -> (index: SegmentIndex, logBytes: UInt64, end: LogEnd)? {
        let entryRoom = bytes.count - headerBytes - footerBytes
        guard entryRoom >= 0, entryRoom % entryBytes == 0 else { return nil }
        return bytes.withUnsafeBytes { raw in
            func get<Value: FixedWidthInteger>(_ offset: Int, _: Value.Type) -> Value {
                Value(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: Value.self))
            }
            let footer = raw.count - footerBytes
            guard get(raw.count - 4, UInt32.self) == strata_crc32c(0, raw.baseAddress, raw.count - 4),
                get(0, UInt32.self) == magic, get(4, UInt16.self) == version, get(6, UInt16.self) == UInt16(entryBytes),
                get(8, UInt64.self) == head.nextOffset, get(16, UInt64.self) == head.lastIndex,
                get(24, UInt64.self) == head.lastTerm, get(footer, UInt64.self) == UInt64(entryRoom / entryBytes)
            else { return nil }
            var index = SegmentIndex(head: head)
            index.entries.reserveCapacity(entryRoom / entryBytes)
            for start in stride(from: headerBytes, to: footer, by: entryBytes) {
                guard let kind = FrameKind(rawValue: UInt8(truncatingIfNeeded: get(start + 12, UInt32.self))) else {
                    return nil
                }
                index.entries.append(
                    Entry(
                        offset: get(start, UInt32.self), index: get(start + 4, UInt32.self),
                        position: get(start + 8, UInt32.self), kind: kind, term: get(start + 16, UInt64.self)))
            }
            let end = LogEnd(
                lastIndex: get(footer + 24, UInt64.self), lastTerm: get(footer + 32, UInt64.self),
                nextOffset: get(footer + 16, UInt64.self))
            let logBytes = get(footer + 8, UInt64.self)
            return index.isPlausible(logBytes: logBytes, end: end) ? (index, logBytes, end) : nil
        }
    }

    /// False when no segment of this size and end has such an index.
    private func isPlausible(logBytes: UInt64, end: LogEnd) -> Bool {
        guard end.lastIndex >= head.lastIndex, end.nextOffset >= head.nextOffset, end.lastTerm >= head.lastTerm else {
            return false
        }
        var previous = Entry(offset: 0, index: 0, position: 0, kind: .mark, term: head.lastTerm)
        for entry in entries {
            guard entry.index > previous.index, entry.position > previous.position, entry.offset >= previous.offset,
                entry.term >= previous.term, entry.kind != .mark
            else { return false }
            previous = entry
        }
        return UInt64(previous.index) <= end.lastIndex - head.lastIndex && UInt64(previous.position) < max(logBytes, 1)
            && UInt64(previous.offset) <= end.nextOffset - head.nextOffset && previous.term <= end.lastTerm
    }
}
