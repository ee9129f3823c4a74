// Walks the frames of one segment file through a window of memory, checking both checksums of each. It reports what it
// finds and decides nothing: whether a bad frame is a torn tail or corruption is recovery's business.
import CEngine
import FileIO

struct SegmentScanner {
    enum Step {
        case frame(FrameHeader)
        /// The given end was reached exactly behind a frame.
        case end
        /// The frame at `position` has more bytes than asked for; its payload was not looked at.
        case tooLarge
        /// No whole valid frame begins at `position`. `isUnknown` when its checksum holds but a newer version wrote it.
        case bad(String, isUnknown: Bool)
    }

    let file: any File
    /// Bytes of the file that may be looked at.
    let end: UInt64
    /// Where the next frame begins.
    private(set) var position: UInt64
    private let windowBytes: Int
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0
    /// Where the frame that ``next()`` returned last begins.
    private(set) var framePosition: UInt64 = 0

    /// - Parameter windowBytes: bytes per read; a frame that is larger gets a read of its own.
    init(_ file: any File, from position: UInt64 = 0, end: UInt64, windowBytes: Int = 1024 * 1024) {
        self.file = file
        self.position = position
        self.end = end
        self.windowBytes = max(windowBytes, FrameHeader.byteCount)
    }

    /// Reads the frame at `position` and moves behind it. After anything but `.frame` the position stays.
    mutating func next(atMost bytesMax: Int = .max) throws(SegmentedLogError) -> Step {
        if position >= end { return .end }
        guard try fill(FrameHeader.byteCount) else { return .bad("a header is cut short", isUnknown: false) }
        let decoded = window.withUnsafeBytes { FrameHeader.decode($0.baseAddress! + Int(position - windowStart)) }
        switch decoded {
        case .blank:
            return .bad("no frame begins here", isUnknown: false)
        case .invalid(let reason):
            return .bad(reason, isUnknown: false)
        case .unknown(let field):
            return .bad("unknown \(field)", isUnknown: true)
        case .frame(let header, let checksum):
            if header.frameByteCount > bytesMax { return .tooLarge }
            guard try fill(header.frameByteCount) else { return .bad("a payload is cut short", isUnknown: false) }
            let start = Int(position - windowStart) + FrameHeader.byteCount
            let actual = window.withUnsafeBytes {
                // The window holds at least a header, so it has a base.
                strata_crc32c(0, $0.baseAddress! + start, Int(header.payloadCount))
            }
            if actual != checksum { return .bad("a payload's checksum does not hold", isUnknown: false) }
            framePosition = position
            position += UInt64(header.frameByteCount)
            return .frame(header)
        }
    }

    /// Calls `body` with the encoded bytes of the frame that ``next()`` returned last.
    func withFrame(_ body: (UnsafeRawBufferPointer) -> Void) {
        window.withUnsafeBytes {
            body(UnsafeRawBufferPointer(rebasing: $0[Int(framePosition - windowStart)..<Int(position - windowStart)]))
        }
    }

    /// Makes the window hold `count` bytes from `position` on; false when the end comes first.
    private mutating func fill(_ count: Int) throws(SegmentedLogError) -> Bool {
        guard end - position >= UInt64(count) else { return false }
        let windowEnd = windowStart + UInt64(window.count)
        if position >= windowStart && position + UInt64(count) <= windowEnd { return true }
        let wanted = Int(min(end - position, UInt64(max(count, windowBytes))))
        let (file, position) = (file, position)
        window = try onDisk { () throws(FileIOError) in try file.read(count: wanted, at: position) }
        windowStart = position
        // A shorter answer means that the file was cut since its size was taken.
        return window.count >= count
    }
}

/// What stands behind the first bad position of a segment.
struct SegmentRemainder {
    /// Position behind the last byte that is not zero; nil when all are zero.
    var dirtyEnd: UInt64?
    /// A mark that promises more than what precedes the bad position, and where it stands.
    var proof: (mark: FrameHeader, position: UInt64)?

    /// Searches `[start, end)` byte by byte.
    /// - Parameter lastIndex: the last index before the bad position: a mark above it proves that more was durable.
    init(of file: any File, from start: UInt64, end: UInt64, above lastIndex: UInt64) throws(SegmentedLogError) {
        let pieceBytes = 1024 * 1024
        var position = start
        while position < end {
            let count = Int(min(end - position, UInt64(pieceBytes + FrameHeader.byteCount - 1)))
            let (from, wanted) = (position, count)
            let piece = try onDisk { () throws(FileIOError) in try file.read(count: wanted, at: from) }
            if piece.isEmpty { return }
            piece.withUnsafeBytes { search($0, at: from, above: lastIndex) }
            position += UInt64(min(piece.count, pieceBytes))
        }
    }

    private mutating func search(_ bytes: UnsafeRawBufferPointer, at start: UInt64, above lastIndex: UInt64) {
        // Zeros written ahead are the usual content: one fast pass over them.
        if isZero(bytes) { return }
        if let last = bytes.lastIndex(where: { $0 != 0 }) { dirtyEnd = start + UInt64(last) + 1 }
        guard bytes.count >= FrameHeader.byteCount, let base = bytes.baseAddress else { return }
        // The first byte of the magic is tested alone: that is what almost every position fails.
        let first = UInt8(truncatingIfNeeded: frameMagic)
        for offset in 0...bytes.count - FrameHeader.byteCount where bytes[offset] == first {
            guard case .frame(let header, _) = FrameHeader.decode(base + offset) else { continue }
            let position = start + UInt64(offset)
            if proof == nil, header.kind == .mark, UInt64(header.recordCount) == position, header.index > lastIndex {
                proof = (header, position)
            }
        }
    }
}

/// True when every byte is zero.
private func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let words = bytes.count / 8
    for word in 0..<words where bytes.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self) != 0 { return false }
    return bytes[(words * 8)...].allSatisfy { $0 == 0 }
}
