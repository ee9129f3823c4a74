// The frames of the write-ahead log: pieces of records that never cross a 32 KiB block, so that a reader can find its
// feet again behind damage. Each carries the log's number and its own position, which tells it from what a recycled
// file held before, and a promise: how far the log was durable when it was written. Layout in Docs/Formats/wal.md.
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

/// Makes frames in memory that is large enough for them: ``bytesMax(records:bytes:)``.
enum WALEncoder {
    /// The most that records of `bytes` bytes in all can take, wherever they begin.
    static func bytesMax(records: Int, bytes: Int) -> Int {
        let frames = bytes / (WALFrame.blockBytes - WALFrame.leastBytes) + 2 * records + 2
        return bytes + frames * (WALFrame.leastBytes + 8)
    }

    /// Makes a record's frames; the first byte of `memory` stands at `position` of the log.
    /// - Returns: bytes made.
    static func record(
        index: UInt64, _ payload: UnsafeRawBufferPointer, at memory: UnsafeMutableRawPointer, log number: UInt64,
        position start: Int, syncedOffset: UInt64
    ) -> Int {
        var made = pad(at: memory, position: start)
        var rest = payload
        var isFirst = true
        repeat {
            made &+= isFirst ? 0 : pad(at: memory + made, position: start + made)
            let position = start &+ made
            let room = WALFrame.blockBytes - position % WALFrame.blockBytes - WALFrame.headerBytes
            // A frame has room for eight bytes at least, so the index is never cut.
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(isFirst ? room - 8 : room))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
            let kind: WALFrameKind =
                isFirst ? (rest.isEmpty ? .full : .first) : (rest.isEmpty ? .last : .middle)
            made &+= frame(
                kind, isFirst ? index : nil, piece, at: memory + made, log: number, position: position,
                syncedOffset: syncedOffset)
            isFirst = false
        } while !rest.isEmpty
        return made
    }

    /// Makes a frame, padded to 8 bytes. Its payload is `index`, when there is one, and `payload`.
    /// - Returns: bytes made.
    static func frame(
        _ kind: WALFrameKind, _ index: UInt64?, _ payload: UnsafeRawBufferPointer,
        at memory: UnsafeMutableRawPointer, log number: UInt64, position: Int, syncedOffset: UInt64
    ) -> Int {
        let indexBytes = index == nil ? 0 : 8
        let count = WALFrame.headerBytes + indexBytes + payload.count
        // Zeros behind the payload, before it is copied over the part that it needs.
        let padded = (count + 7) / 8 * 8
        memory.storeBytes(of: 0, toByteOffset: padded - 8, as: UInt64.self)
        let lengthAndKind = UInt32(payload.count + indexBytes) | UInt32(kind.rawValue) << 16
        memory.storeBytes(of: lengthAndKind.littleEndian, toByteOffset: 4, as: UInt32.self)
        memory.storeBytes(of: UInt32(truncatingIfNeeded: number).littleEndian, toByteOffset: 8, as: UInt32.self)
        memory.storeBytes(
            of: UInt32(truncatingIfNeeded: position / 8).littleEndian, toByteOffset: 12, as: UInt32.self)
        memory.storeBytes(of: syncedOffset.littleEndian, toByteOffset: 16, as: UInt64.self)
        if let index { memory.storeBytes(of: index.littleEndian, toByteOffset: WALFrame.headerBytes, as: UInt64.self) }
        if let source = payload.baseAddress {
            (memory + WALFrame.headerBytes + indexBytes).copyMemory(from: source, byteCount: payload.count)
        }
        // Last: until then a reader takes the frame for the end of the log.
        let checksum = strata_crc32c(0, memory + 4, count - 4)
        memory.storeBytes(of: checksum.littleEndian, as: UInt32.self)
        return padded
    }

    /// Makes zeros up to where a frame may begin.
    /// - Returns: bytes made.
    static func pad(at memory: UnsafeMutableRawPointer, position: Int) -> Int {
        let count = WALFrame.start(from: position) - position
        if count > 0 { memory.initializeMemory(as: UInt8.self, repeating: 0, count: count) }
        return count
    }
}

/// What a log says about itself in its first frame.
struct WALPreamble: Hashable {
    var number: UInt64
    /// Index of the first record.
    var firstIndex: UInt64
    /// The log before it, 0 when there was none, and where that one ends.
    var previousNumber: UInt64
    var previousEnd: UInt64
    /// All of the log before was durable when this one began. Otherwise a power cut may have left it shorter, and then
    /// nothing in this one counts, unless something in it or behind it was promised to be durable.
    var isPreviousSynced: Bool

    /// Bytes of the frame that holds it.
    static let frameBytes = WALFrame.headerBytes + 48

    static let version: UInt32 = 1
    /// "STRATAWL" read as little endian.
    static let magic: UInt64 = 0x4c57_4154_4152_5453

    func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: Self.magic)
        bytes.append(littleEndian: Self.version)
        bytes.append(littleEndian: UInt32(isPreviousSynced ? 0 : 1))
        for field in [number, firstIndex, previousNumber, previousEnd] { bytes.append(littleEndian: field) }
        return bytes
    }

    init(
        number: UInt64, firstIndex: UInt64, previousNumber: UInt64, previousEnd: UInt64, isPreviousSynced: Bool = true
    ) {
        self.isPreviousSynced = isPreviousSynced
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
        guard let flags = reader.read(UInt32.self), flags <= 1, reader.read(UInt64.self) == number,
            let firstIndex = reader.read(UInt64.self), let previousNumber = reader.read(UInt64.self),
            let previousEnd = reader.read(UInt64.self), 0 < firstIndex, firstIndex < StorageLimits.countMax,
            previousNumber < number, previousEnd < StorageLimits.countMax
        else { throw .corruption(path: path, position: 0, detail: "the preamble is another log's, or none") }
        self.init(
            number: number, firstIndex: firstIndex, previousNumber: previousNumber, previousEnd: previousEnd,
            isPreviousSynced: flags == 0)
    }
}
