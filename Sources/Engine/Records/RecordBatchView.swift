// A finished record batch, checked and read in place. The broker judges batches by their header and never looks at the
// records; clients and tools iterate over them. Compressed batches pass the check and refuse iteration.
import CEngine

/// One record, its fields still in the batch's memory.
public struct Record: Sendable {
    public var offset: UInt64
    /// Milliseconds since 1970.
    public var timestamp: Int64
    public var key: ArraySlice<UInt8>?
    public var value: ArraySlice<UInt8>?
    public var headers: [RecordHeader]
}

/// A record batch whose framing and checksum hold.
public struct RecordBatchView: Sendable {
    /// The whole batch.
    public let bytes: ArraySlice<UInt8>

    public let baseOffset: Int64
    public let leaderEpoch: Int32
    public let attributes: Int16
    public let baseTimestamp: Int64
    public let maxTimestamp: Int64
    public let producer: RecordBatch.Producer
    /// Records, at least 1.
    public let count: Int

    /// Encoded size of the fixed header.
    public static let headerBytes = BatchField.headerBytes

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    public var compression: Int { Int(attributes & 0x7) }
    public var isCompressed: Bool { compression != 0 }
    /// The broker's time of append is every record's timestamp.
    public var usesAppendTime: Bool { attributes & 0x8 != 0 }
    public var isTransactional: Bool { attributes & 0x10 != 0 }
    public var isControl: Bool { attributes & 0x20 != 0 }
    /// Offset of the record after this batch.
    public var endOffset: UInt64 { UInt64(bitPattern: baseOffset) &+ UInt64(count) }

    /// Checks exactly one batch: version 2, length, CRC-32C, count = last offset delta + 1.
    /// - Complexity: O(bytes), one pass of CRC-32C; records are not looked at.
    public init(validating bytes: [UInt8]) throws(RecordsError) {
        try self.init(validating: bytes[...])
    }

    /// Checks exactly one batch in place. See ``init(validating:)-([UInt8])``.
    public init(validating bytes: ArraySlice<UInt8>) throws(RecordsError) {
        let header = try Self.header(of: bytes)
        guard header.byteCount == bytes.count else {
            throw RecordsError(
                .malformed, "the batch says it has \(header.byteCount) bytes, but \(bytes.count) came; send it whole")
        }
        self.init(bytes: bytes, header: header)
    }

    /// Splits a run of batches, as a fetch returns them, and checks each.
    public static func batches(in bytes: [UInt8]) throws(RecordsError) -> [RecordBatchView] {
        var result: [RecordBatchView] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let header = try header(of: rest)
            result.append(RecordBatchView(bytes: rest.prefix(header.byteCount), header: header))
            rest = rest.dropFirst(header.byteCount)
        }
        return result
    }

    /// What the fixed header says, after it was checked.
    private struct Header {
        var byteCount: Int
        var baseOffset: Int64
        var leaderEpoch: Int32
        var attributes: Int16
        var baseTimestamp: Int64
        var maxTimestamp: Int64
        var producer: RecordBatch.Producer
        var count: Int
    }

    private init(bytes: ArraySlice<UInt8>, header: Header) {
        self.bytes = bytes
        baseOffset = header.baseOffset
        leaderEpoch = header.leaderEpoch
        attributes = header.attributes
        baseTimestamp = header.baseTimestamp
        maxTimestamp = header.maxTimestamp
        producer = header.producer
        count = header.count
    }

    /// Checks the batch in front of `bytes`.
    private static func header(of bytes: ArraySlice<UInt8>) throws(RecordsError) -> Header {
        var outcome: Result<Header, RecordsError>?
        bytes.withUnsafeBytes { raw in
            do throws(RecordsError) {
                outcome = .success(try check(raw))
            } catch {
                outcome = .failure(error)
            }
        }
        guard let outcome else { preconditionFailure("the body above always leaves an outcome") }
        return try outcome.get()
    }

    private static func check(_ raw: UnsafeRawBufferPointer) throws(RecordsError) -> Header {
        guard raw.count >= BatchField.headerBytes else {
            throw RecordsError(.malformed, "\(raw.count) bytes are too few for a record batch; send it whole")
        }
        let version = raw.bigEndian(BatchField.version, as: Int8.self)
        guard version == 2 else {
            throw RecordsError(
                .unsupportedVersion,
                "record batch version \(version) is not supported; use a client that writes version 2")
        }
        let length = raw.bigEndian(BatchField.batchLength, as: Int32.self)
        let byteCount = Int(length) + BatchField.lengthOverhead
        guard byteCount >= BatchField.headerBytes, byteCount <= raw.count else {
            throw RecordsError(
                .malformed, "the batch says it has \(byteCount) bytes, but \(raw.count) came; send it whole")
        }
        let batch = UnsafeRawBufferPointer(rebasing: raw[..<byteCount])
        guard batch.bigEndian(BatchField.checksum, as: UInt32.self) == batch.batchChecksum() else {
            throw RecordsError(.checksum, "the batch's CRC-32C does not hold; send it again")
        }
        let count = batch.bigEndian(BatchField.recordCount, as: Int32.self)
        let lastOffsetDelta = batch.bigEndian(BatchField.lastOffsetDelta, as: Int32.self)
        guard count >= 1, count - 1 == lastOffsetDelta else {
            throw RecordsError(
                .malformed,
                "the batch claims \(count) records and last offset delta \(lastOffsetDelta); encode the batch anew")
        }
        return Header(
            byteCount: byteCount, baseOffset: batch.bigEndian(BatchField.baseOffset),
            leaderEpoch: batch.bigEndian(BatchField.leaderEpoch), attributes: batch.bigEndian(BatchField.attributes),
            baseTimestamp: batch.bigEndian(BatchField.baseTimestamp),
            maxTimestamp: batch.bigEndian(BatchField.maxTimestamp),
            producer: RecordBatch.Producer(
                id: batch.bigEndian(BatchField.producerID), epoch: batch.bigEndian(BatchField.producerEpoch),
                baseSequence: batch.bigEndian(BatchField.baseSequence)),
            count: Int(count))
    }

    // MARK: stamping

    /// Writes the fields that the leader decides, which the checksum does not cover, into a batch that was checked.
    public static func stamp(_ bytes: inout [UInt8], baseOffset: Int64, leaderEpoch: Int32) {
        precondition(bytes.count >= BatchField.headerBytes, "only a checked batch may be stamped")
        bytes.withUnsafeMutableBytes { raw in
            raw.putBigEndian(baseOffset, at: BatchField.baseOffset)
            raw.putBigEndian(leaderEpoch, at: BatchField.leaderEpoch)
        }
    }

    /// Records in a batch that was checked.
    public static func recordCount(of bytes: [UInt8]) -> UInt32 {
        precondition(bytes.count >= BatchField.headerBytes, "only a checked batch may be asked")
        return bytes.withUnsafeBytes { $0.bigEndian(BatchField.recordCount, as: UInt32.self) }
    }

    // MARK: records

    /// All records in order; their fields share the batch's memory.
    public func records() throws(RecordsError) -> [Record] {
        var result: [Record] = []
        // A record takes at least 7 bytes, so a false count can't ask for more memory than the batch itself.
        result.reserveCapacity(min(count, bytes.count / 7))
        try forEachRecord { (offset, timestamp, key, value, headers) in
            result.append(
                Record(
                    offset: offset, timestamp: timestamp, key: key.map { bytes[$0] }, value: value.map { bytes[$0] },
                    headers: headers))
        }
        return result
    }

    /// Checks that the records fill the batch exactly, without keeping any. Compressed batches can't be checked.
    public func checkRecords() throws(RecordsError) {
        try forEachRecord { _, _, _, _, _ in }
    }

    private func forEachRecord(
        _ body: (UInt64, Int64, Range<Int>?, Range<Int>?, [RecordHeader]) -> Void
    ) throws(RecordsError) {
        guard !isCompressed else {
            throw RecordsError(
                .compressed,
                "the batch is compressed with codec \(compression), which this reader lacks; use a client that"
                    + " has it, or produce without compression")
        }
        var failure: RecordsError?
        let start = bytes.startIndex
        bytes.withUnsafeBytes { raw in
            do throws(RecordsError) {
                var cursor = RecordCursor(raw, from: BatchField.headerBytes)
                for index in 0..<count {
                    let record = try Self.record(&cursor, index, start)
                    let time = usesAppendTime ? maxTimestamp : baseTimestamp &+ record.timestampDelta
                    let offset = UInt64(bitPattern: baseOffset) &+ UInt64(index)
                    body(offset, time, record.key, record.value, record.headers)
                }
                guard cursor.position == raw.count else {
                    throw RecordsError(.malformed, "bytes follow the last record; encode the batch anew")
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    private typealias Fields = (timestampDelta: Int64, key: Range<Int>?, value: Range<Int>?, headers: [RecordHeader])

    /// Reads one record; ranges are shifted by `start` into the slice's own indexes.
    private static func record(
        _ cursor: inout RecordCursor, _ index: Int, _ start: Int
    ) throws(RecordsError) -> Fields {
        guard let length = try cursor.length() else {
            throw RecordsError(.malformed, "a record has no length; encode the batch anew")
        }
        let end = cursor.position + length
        _ = try cursor.byte()
        let timestampDelta = try cursor.varint()
        guard try cursor.varint() == Int64(index) else {
            throw RecordsError(.malformed, "record \(index) has another offset delta; encode the batch anew")
        }
        let key = try cursor.field()
        let value = try cursor.field()
        let headerCount = try cursor.varint()
        guard headerCount >= 0, headerCount <= Int64(length) else {
            throw RecordsError(.malformed, "record \(index) claims \(headerCount) headers; encode the batch anew")
        }
        var headers: [RecordHeader] = []
        for _ in 0..<headerCount {
            guard let name = try cursor.field() else {
                throw RecordsError(.malformed, "a header of record \(index) has no name; encode the batch anew")
            }
            let value = try cursor.field()
            headers.append(
                RecordHeader(
                    key: String(decoding: cursor.bytes[name], as: UTF8.self),
                    value: value.map { Array(cursor.bytes[$0]) }))
        }
        guard cursor.position == end else {
            throw RecordsError(.malformed, "record \(index) does not end where its length says; encode the batch anew")
        }
        func shifted(_ range: Range<Int>?) -> Range<Int>? {
            range.map { $0.lowerBound + start..<$0.upperBound + start }
        }
        return (timestampDelta, shifted(key), shifted(value), headers)
    }
}
