// The frame: unit of append, of replication, of checksum and of Raft index. 48 bytes of header, little-endian, then the
// payload; frames stand back to back. Field by field in Docs/Formats/segmented-log.md. Nothing here knows about files.
import CEngine

/// What a frame holds.
public enum FrameKind: UInt8, Hashable, Sendable, CaseIterable {
    /// A batch of records; the only kind, with `gap`, that takes offsets.
    case records = 1
    /// A new leader's empty entry.
    case noop = 2
    case membership = 3
    /// Everything before a record offset may go.
    case prefixTrim = 4
    /// A command of a key-value state machine.
    case command = 5
    /// Stands for records that compaction removed.
    case gap = 6
    /// Local to one replica and no entry: promises that everything up to `index` was durable before it was written.
    case mark = 7

    /// True when frames of this kind take `recordCount` offsets.
    var takesOffsets: Bool { self == .records || self == .gap }
}

/// A frame without its payload.
public struct FrameHeader: Hashable, Sendable {
    public var kind: FrameKind
    /// Bytes that follow the header.
    public var payloadCount: UInt32
    /// Offsets that the frame takes; 0 unless it holds records or stands for removed ones.
    public var recordCount: UInt32
    public var index: UInt64
    public var term: UInt64
    /// Offset of its first record; the next offset to be given out when it has none.
    public var baseOffset: UInt64

    public init(
        kind: FrameKind, payloadCount: UInt32, recordCount: UInt32, index: UInt64, term: UInt64, baseOffset: UInt64
    ) {
        self.kind = kind
        self.payloadCount = payloadCount
        self.recordCount = recordCount
        self.index = index
        self.term = term
        self.baseOffset = baseOffset
    }

    /// Encoded size of a header.
    public static let byteCount = 48

    /// Indexes and offsets above are not reached by counting: they are damage.
    private static let countMax: UInt64 = 1 << 62

    /// Encoded size of the whole frame.
    public var frameByteCount: Int { Self.byteCount + Int(payloadCount) }

    /// Offset of the record after this frame.
    public var endOffset: UInt64 { baseOffset + UInt64(recordCount) }
}

/// "SLG1" when read as bytes.
let frameMagic: UInt32 = 0x3147_4C53

/// What 48 bytes turn out to be.
enum DecodedHeader {
    case frame(FrameHeader, payloadChecksum: UInt32)
    /// All four magic bytes are zero: nothing was written here.
    case blank
    case invalid(String)
    /// The checksum holds, but a field has a value that this version does not know.
    case unknown(String)
}

extension FrameHeader {
    /// Writes the header to 48 bytes at `target`.
    func encode(to target: UnsafeMutableRawPointer, payloadChecksum: UInt32) {
        func put<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
            target.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
        }
        put(frameMagic, at: 0)
        put(kind.rawValue, at: 4)
        put(UInt8(0), at: 5)
        put(UInt16(Self.byteCount), at: 6)
        put(payloadCount, at: 8)
        put(recordCount, at: 12)
        put(index, at: 16)
        put(term, at: 24)
        put(baseOffset, at: 32)
        put(payloadChecksum, at: 40)
        put(strata_crc32c(0, target, 44), at: 44)
    }

    /// Encoded as an array; for marks, which have no payload.
    var encoded: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Self.byteCount) { buffer, count in
            // The capacity is not 0, so there is a base.
            encode(to: UnsafeMutableRawPointer(buffer.baseAddress!), payloadChecksum: 0)
            count = Self.byteCount
        }
    }

    /// Reads 48 bytes at `source`.
    static func decode(_ source: UnsafeRawPointer) -> DecodedHeader {
        func get<Value: FixedWidthInteger>(_ offset: Int, _: Value.Type) -> Value {
            Value(littleEndian: source.loadUnaligned(fromByteOffset: offset, as: Value.self))
        }
        let magic = get(0, UInt32.self)
        if magic == 0 { return .blank }
        if magic != frameMagic { return .invalid("no frame begins here") }
        if get(44, UInt32.self) != strata_crc32c(0, source, 44) {
            return .invalid("the header's checksum does not hold")
        }
        guard let kind = FrameKind(rawValue: get(4, UInt8.self)) else {
            return .unknown("frame kind \(get(4, UInt8.self))")
        }
        if get(5, UInt8.self) != 0 { return .unknown("frame flags \(get(5, UInt8.self))") }
        if get(6, UInt16.self) != UInt16(byteCount) { return .unknown("header length \(get(6, UInt16.self))") }
        let header = FrameHeader(
            kind: kind, payloadCount: get(8, UInt32.self), recordCount: get(12, UInt32.self),
            index: get(16, UInt64.self),
            term: get(24, UInt64.self), baseOffset: get(32, UInt64.self))
        guard header.index < countMax, header.baseOffset < countMax else {
            return .invalid("its index or offset is one that no log reaches")
        }
        return .frame(header, payloadChecksum: get(40, UInt32.self))
    }
}

/// Where a run of frames ends, which is all that is needed to judge whether the next frame continues it.
struct LogEnd: Hashable, Sendable {
    var lastIndex: UInt64 = 0
    var lastTerm: UInt64 = 0
    var nextOffset: UInt64 = 0

    /// The end that a segment's first frame, a mark, states.
    init(stated mark: FrameHeader) {
        lastIndex = mark.index
        lastTerm = mark.term
        nextOffset = mark.baseOffset
    }

    init(lastIndex: UInt64 = 0, lastTerm: UInt64 = 0, nextOffset: UInt64 = 0) {
        self.lastIndex = lastIndex
        self.lastTerm = lastTerm
        self.nextOffset = nextOffset
    }

    /// Moves over an entry's frame.
    /// - Returns: nil, or the invariant that the frame would break (I1 index, I2 term, I3 offset); then nothing moved.
    mutating func advance(over header: FrameHeader) -> String? {
        guard header.kind != .mark else { return "a mark is not an entry" }
        guard header.index == lastIndex &+ 1 else { return "index \(header.index) follows index \(lastIndex)" }
        guard header.term >= lastTerm else { return "term \(header.term) follows term \(lastTerm)" }
        guard header.baseOffset == nextOffset else {
            return "base offset \(header.baseOffset) stands where \(nextOffset) is due"
        }
        guard header.kind.takesOffsets ? header.recordCount > 0 || header.kind == .gap : header.recordCount == 0 else {
            return "a frame of kind \(header.kind) claims \(header.recordCount) records"
        }
        let (next, overflow) = nextOffset.addingReportingOverflow(UInt64(header.recordCount))
        guard !overflow else { return "the offset overflows" }
        lastIndex = header.index
        lastTerm = header.term
        nextOffset = next
        return nil
    }

    /// Checks a mark that stands at `position` behind this end; nil when it holds.
    func check(mark: FrameHeader, at position: UInt64) -> String? {
        // A mark names its own position, so that a log inside a payload proves nothing.
        guard UInt64(mark.recordCount) == position, mark.payloadCount == 0 else { return "a mark is out of place" }
        guard mark.index <= lastIndex, mark.term == lastTerm, mark.baseOffset == nextOffset else {
            return "a mark contradicts the frames before it"
        }
        return nil
    }
}
