// The frames of the write-ahead log: pieces of records that never cross a 32 KiB block, so that a reader can find its feet
// again behind damage. Each carries the log's number and its own position, which tells it from what a recycled file held
// before, and a promise: how far the log was durable when it was written. Layout in Docs/Formats/wal.md.
internal import CEngine

enum WALFrameKind: UInt8 {
    case full = 1
    case first = 2
    case middle = 3
    case last = 4
    /// No data, only the promise.
    case mark = 5
    /// The first frame of a log.
    case preamble = 6
}

/// One frame as a reader sees it.
struct WALFrame {
    var kind: WALFrameKind
    /// Everything in front of this position was durable when the frame was written.
    var syncedOffset: UInt64
    /// Where the payload lies in the log.
    var payload: Range<Int>
    /// Where the next frame begins, unless the block ends first.
    var end: Int

    /// `u32 crc32c | u16 payload bytes | u8 kind | u8 0 | u32 log number | u32 position / 8 | u64 synced offset`.
    static let headerBytes = 24
    static let blockBytes = 32 << 10
    /// A block's last bytes stay empty when no header with eight bytes fits.
    static let leastBytes = headerBytes + 8

    /// The position at or behind `position` where a frame may begin.
    static func start(from position: Int) -> Int {
        let left = blockBytes - position % blockBytes
        return left < leastBytes ? position + left : position
    }

    /// The good frame of log `number` at `position`, or nil.
    init?(_ log: UnsafeRawBufferPointer, at position: Int, number: UInt64) {
        guard position % 8 == 0, log.count - position >= Self.headerBytes else { return nil }
        var reader = ByteReader(log, from: position)
        guard let checksum = reader.read(UInt32.self), let count = reader.read(UInt16.self),
            let kind = reader.read(UInt8.self).flatMap({ WALFrameKind(rawValue: $0) }), reader.read(UInt8.self) == 0,
            reader.read(UInt32.self) == UInt32(truncatingIfNeeded: number),
            reader.read(UInt32.self) == UInt32(truncatingIfNeeded: position / 8),
            let syncedOffset = reader.read(UInt64.self), Int(count) <= reader.remaining,
            position % Self.blockBytes + Self.headerBytes + Int(count) <= Self.blockBytes, let base = log.baseAddress,
            strata_crc32c(0, base + position + 4, Self.headerBytes - 4 + Int(count)) == checksum
        else { return nil }
        self.kind = kind
        self.syncedOffset = syncedOffset
        payload = reader.position..<reader.position + Int(count)
        end = (payload.upperBound + 7) / 8 * 8
        guard end <= log.count else { return nil }
    }
}

extension [UInt8] {
    /// Appends a frame that will stand at `position`, padded to 8 bytes.
    mutating func appendFrame(
        _ kind: WALFrameKind, _ payload: UnsafeRawBufferPointer, log number: UInt64, at position: Int,
        syncedOffset: UInt64
    ) {
        let start = count
        append(littleEndian: UInt32(0))
        append(littleEndian: UInt16(payload.count))
        append(kind.rawValue)
        append(0)
        append(littleEndian: UInt32(truncatingIfNeeded: number))
        append(littleEndian: UInt32(truncatingIfNeeded: position / 8))
        append(littleEndian: syncedOffset)
        append(contentsOf: payload)
        let checksum = withUnsafeBytes { bytes in
            // The header was appended above, so there is a base.
            strata_crc32c(0, bytes.baseAddress! + start + 4, bytes.count - start - 4)
        }
        store(littleEndian: checksum, at: start)
        while (count - start) % 8 != 0 { append(0) }
    }

    /// Appends zeros up to where a frame may begin.
    mutating func padToFrame(at position: Int) {
        append(contentsOf: repeatElement(0, count: WALFrame.start(from: position) - position))
    }

    /// Appends a record's frames; the first byte of the array stands at `origin` of the log.
    mutating func appendRecord(
        _ record: UnsafeRawBufferPointer, log number: UInt64, origin: Int, syncedOffset: UInt64
    ) {
        var rest = record
        var isFirst = true
        repeat {
            padToFrame(at: origin + count)
            let position = origin + count
            let room = WALFrame.blockBytes - position % WALFrame.blockBytes - WALFrame.headerBytes
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(room))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(room))
            let kind: WALFrameKind =
                switch (isFirst, rest.isEmpty) {
                case (true, true): .full
                case (true, false): .first
                case (false, false): .middle
                case (false, true): .last
                }
            appendFrame(kind, piece, log: number, at: position, syncedOffset: syncedOffset)
            isFirst = false
        } while !rest.isEmpty
    }
}

/// What a log says about itself in its first frame.
struct WALPreamble: Hashable {
    var number: UInt64
    /// Index of the first record.
    var firstIndex: UInt64
    /// The log before it, 0 when there was none, and where that one ends: all of it was durable before this one began.
    var previousNumber: UInt64
    var previousEnd: UInt64

    static let version: UInt32 = 1
    /// "STRATAWL" read as little endian.
    static let magic: UInt64 = 0x4c57_4154_4152_5453

    func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: Self.magic)
        bytes.append(littleEndian: Self.version)
        bytes.append(littleEndian: UInt32(0))
        for field in [number, firstIndex, previousNumber, previousEnd] { bytes.append(littleEndian: field) }
        return bytes
    }

    init(number: UInt64, firstIndex: UInt64, previousNumber: UInt64, previousEnd: UInt64) {
        self.number = number
        self.firstIndex = firstIndex
        self.previousNumber = previousNumber
        self.previousEnd = previousEnd
    }

    init(_ payload: UnsafeRawBufferPointer, number: UInt64, path: String) throws(StorageError) {
        var reader = ByteReader(payload)
        guard reader.read(UInt64.self) == Self.magic, let version = reader.read(UInt32.self) else {
            throw .corruption(path: path, position: 0, detail: "the first frame is no preamble")
        }
        guard version == Self.version else {
            throw .unsupportedVersion(path: path, found: version, supported: Self.version)
        }
        guard reader.read(UInt32.self) != nil, reader.read(UInt64.self) == number,
            let firstIndex = reader.read(UInt64.self), let previousNumber = reader.read(UInt64.self),
            let previousEnd = reader.read(UInt64.self)
        else { throw .corruption(path: path, position: 0, detail: "the preamble is another log's") }
        self.init(
            number: number, firstIndex: firstIndex, previousNumber: previousNumber, previousEnd: previousEnd)
    }
}
