// The bytes of a Kafka record batch, version 2: where each field of the 61-byte big-endian header stands, and the
// zig-zag varints of the records. Everything else in this module goes through here. See Docs/Formats/record-batch.md.
import CEngine

/// Where the header's fields begin.
enum BatchField {
    static let baseOffset = 0
    static let batchLength = 8
    static let leaderEpoch = 12
    static let version = 16
    static let checksum = 17
    static let attributes = 21
    static let lastOffsetDelta = 23
    static let baseTimestamp = 27
    static let maxTimestamp = 35
    static let producerID = 43
    static let producerEpoch = 51
    static let baseSequence = 53
    static let recordCount = 57
    static let headerBytes = 61
    /// Bytes in front of what `batchLength` counts.
    static let lengthOverhead = 12
}

extension UnsafeRawBufferPointer {
    func bigEndian<Value: FixedWidthInteger>(_ offset: Int, as _: Value.Type = Value.self) -> Value {
        Value(bigEndian: loadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    /// CRC-32C of everything from the attributes to the end of the batch.
    func batchChecksum() -> UInt32 {
        let covered = UnsafeRawBufferPointer(rebasing: self[BatchField.attributes...])
        return strata_crc32c(0, covered.baseAddress, covered.count)
    }
}

extension UnsafeMutableRawBufferPointer {
    func putBigEndian<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: Value.self)
    }
}

/// Zig-zag varints, as protobuf's sint32 and sint64.
enum Varint {
    static func byteCount(_ value: Int64) -> Int {
        let bits = 64 - zigZag(value).leadingZeroBitCount
        return max((bits + 6) / 7, 1)
    }

    static func zigZag(_ value: Int64) -> UInt64 {
        UInt64(bitPattern: (value << 1) ^ (value >> 63))
    }

    static func append(_ value: Int64, to bytes: inout [UInt8]) {
        var rest = zigZag(value)
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

/// Reads the records' fields one after another, never beyond the end it was given.
struct RecordCursor {
    let bytes: UnsafeRawBufferPointer
    private(set) var position: Int

    init(_ bytes: UnsafeRawBufferPointer, from position: Int) {
        self.bytes = bytes
        self.position = position
    }

    mutating func byte() throws(RecordsError) -> UInt8 {
        guard position < bytes.count else { throw RecordCursor.short }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func varint() throws(RecordsError) -> Int64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else {
                throw RecordsError(.invalidRecord, "a number is longer than 64 bits; encode the batch anew")
            }
            value |= UInt64(next & 0x7F) << shift
            if next < 0x80 { break }
            shift += 7
        }
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// A length: -1 is nil, less than that is malformed.
    mutating func length() throws(RecordsError) -> Int? {
        let value = try varint()
        if value == -1 { return nil }
        guard value >= 0, value <= Int64(bytes.count - position) else { throw RecordCursor.short }
        return Int(value)
    }

    /// Where a length-prefixed field stands; nil when it is null.
    mutating func field() throws(RecordsError) -> Range<Int>? {
        guard let count = try length() else { return nil }
        defer { position += count }
        return position..<position + count
    }

    private static let short = RecordsError(.invalidRecord, "a record reaches beyond its batch; encode the batch anew")
}
