// Builds record batches: many records become one run of bytes that goes to disk, to followers and to consumers as it
// is. The base offset and the leader epoch are left open; the leader stamps them.
import CEngine

/// A record's header: a name and an optional value.
public struct RecordHeader: Hashable, Sendable {
    public var key: String
    public var value: [UInt8]?

    public init(key: String, value: [UInt8]?) {
        self.key = key
        self.value = value
    }
}

/// A record batch under construction. At least one record makes a batch.
///
///     var batch = RecordBatch()
///     batch.append(key: nil, value: Array("Hello".utf8), timestamp: 1_700_000_000_000)
///     let bytes = batch.encoded()
public struct RecordBatch: Sendable {
    /// The header's room, then the encoded records.
    private var bytes: [UInt8]
    private var baseTimestamp: Int64 = 0
    private var maxTimestamp: Int64 = .min
    private let producer: Producer

    public private(set) var count = 0

    /// Who wrote a batch, for idempotence; -1 throughout when nobody said.
    public struct Producer: Hashable, Sendable {
        public var id: Int64
        public var epoch: Int16
        public var baseSequence: Int32

        public init(id: Int64 = -1, epoch: Int16 = -1, baseSequence: Int32 = -1) {
            self.id = id
            self.epoch = epoch
            self.baseSequence = baseSequence
        }
    }

    public init(producer: Producer = Producer(), reservingBytes: Int = 0) {
        self.producer = producer
        bytes = []
        bytes.reserveCapacity(max(reservingBytes, 256))
        bytes.append(contentsOf: repeatElement(0, count: BatchField.headerBytes))
    }

    public var isEmpty: Bool { count == 0 }
    /// Encoded size so far.
    public var byteCount: Int { bytes.count }

    /// Adds a record.
    /// - Parameter timestamp: milliseconds since 1970.
    public mutating func append(
        key: [UInt8]?, value: [UInt8]?, headers: [RecordHeader] = [], timestamp: Int64
    ) {
        if count == 0 { baseTimestamp = timestamp }
        let timestampDelta = timestamp - baseTimestamp
        maxTimestamp = max(maxTimestamp, timestamp)
        var length = 1 + Varint.byteCount(timestampDelta) + Varint.byteCount(Int64(count))
        length += Self.fieldBytes(key?.count) + Self.fieldBytes(value?.count) + Varint.byteCount(Int64(headers.count))
        for header in headers {
            length += Self.fieldBytes(header.key.utf8.count) + Self.fieldBytes(header.value?.count)
        }
        precondition(
            bytes.count + length <= Int(Int32.max) - 16, "a record batch must stay below 2 GiB: send smaller ones")

        Varint.append(Int64(length), to: &bytes)
        bytes.append(0)
        Varint.append(timestampDelta, to: &bytes)
        Varint.append(Int64(count), to: &bytes)
        Self.appendField(key, to: &bytes)
        Self.appendField(value, to: &bytes)
        Varint.append(Int64(headers.count), to: &bytes)
        for header in headers {
            Self.appendField(Array(header.key.utf8), to: &bytes)
            Self.appendField(header.value, to: &bytes)
        }
        count += 1
    }

    /// The finished batch, base offset 0, leader epoch -1. The builder can go on afterwards.
    /// - Complexity: O(bytes), one pass of CRC-32C.
    public consuming func encoded() -> [UInt8] {
        precondition(count > 0, "a record batch needs at least one record")
        var result = bytes
        Self.finish(
            &result, count: count, baseTimestamp: baseTimestamp, maxTimestamp: maxTimestamp, producer: producer)
        return result
    }

    private static func fieldBytes(_ count: Int?) -> Int {
        guard let count else { return 1 }
        return Varint.byteCount(Int64(count)) + count
    }

    private static func appendField(_ field: [UInt8]?, to bytes: inout [UInt8]) {
        guard let field else { return Varint.append(-1, to: &bytes) }
        Varint.append(Int64(field.count), to: &bytes)
        bytes.append(contentsOf: field)
    }

    private static func finish(
        _ bytes: inout [UInt8], count: Int, baseTimestamp: Int64, maxTimestamp: Int64, producer: Producer
    ) {
        bytes.withUnsafeMutableBytes { raw in
            raw.putBigEndian(Int64(0), at: BatchField.baseOffset)
            raw.putBigEndian(Int32(raw.count - BatchField.lengthOverhead), at: BatchField.batchLength)
            raw.putBigEndian(Int32(-1), at: BatchField.leaderEpoch)
            raw.putBigEndian(Int8(2), at: BatchField.version)
            raw.putBigEndian(Int16(0), at: BatchField.attributes)
            raw.putBigEndian(Int32(count - 1), at: BatchField.lastOffsetDelta)
            raw.putBigEndian(baseTimestamp, at: BatchField.baseTimestamp)
            raw.putBigEndian(maxTimestamp, at: BatchField.maxTimestamp)
            raw.putBigEndian(producer.id, at: BatchField.producerID)
            raw.putBigEndian(producer.epoch, at: BatchField.producerEpoch)
            raw.putBigEndian(producer.baseSequence, at: BatchField.baseSequence)
            raw.putBigEndian(Int32(count), at: BatchField.recordCount)
            raw.putBigEndian(UnsafeRawBufferPointer(raw).batchChecksum(), at: BatchField.checksum)
        }
    }
}

extension RecordBatch {
    /// Encodes values of one size, back to back in `values`, as records without keys and headers: the fast path of load
    /// generators. Equal to appending them one by one.
    /// - Parameter timestamp: of every record, milliseconds since 1970.
    /// - Complexity: O(bytes), one allocation.
    public static func encoded(
        values: UnsafeRawBufferPointer, valueBytes: Int, timestamp: Int64, producer: Producer = Producer()
    ) -> [UInt8] {
        precondition(
            valueBytes > 0 && values.count >= valueBytes && values.count % valueBytes == 0,
            "values must be a whole number of records of the given size, at least one")
        let count = values.count / valueBytes
        let valueLengthBytes = Varint.byteCount(Int64(valueBytes))
        // Per record: its length, attributes, timestamp delta 0, offset delta, key -1, value with length, no headers.
        let fixed = 1 + 1 + 1 + valueLengthBytes + valueBytes + 1
        let perRecordMax = 5 + 5 + fixed
        precondition(
            count <= (Int(Int32.max) - 128) / perRecordMax, "a record batch must stay below 2 GiB: send smaller ones")
        let capacity = BatchField.headerBytes + count * perRecordMax
        var bytes = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
            // The capacity covers the longest encoding of every record, as computed above.
            let base = UnsafeMutableRawPointer(buffer.baseAddress!)
            base.initializeMemory(as: UInt8.self, repeating: 0, count: BatchField.headerBytes)
            var next = base + BatchField.headerBytes
            for index in 0..<count {
                let length = fixed + Varint.byteCount(Int64(index))
                next = put(Int64(length), at: next)
                next = putByte(0, at: next)
                next = putByte(0, at: next)
                next = put(Int64(index), at: next)
                next = putByte(1, at: next)  // zig-zag of -1: no key
                next = put(Int64(valueBytes), at: next)
                next.copyMemory(from: values.baseAddress! + index * valueBytes, byteCount: valueBytes)
                next = putByte(0, at: next + valueBytes)
            }
            initialized = next - base
        }
        finish(&bytes, count: count, baseTimestamp: timestamp, maxTimestamp: timestamp, producer: producer)
        return bytes
    }

    private static func putByte(_ value: UInt8, at target: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        target.storeBytes(of: value, as: UInt8.self)
        return target + 1
    }

    private static func put(_ value: Int64, at target: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        var rest = Varint.zigZag(value)
        var next = target
        while rest >= 0x80 {
            next = putByte(UInt8(truncatingIfNeeded: rest) | 0x80, at: next)
            rest >>= 7
        }
        return putByte(UInt8(rest), at: next)
    }
}
