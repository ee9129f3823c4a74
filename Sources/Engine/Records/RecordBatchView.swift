// A finished record batch: its framing, its header, and stamping by the leader. Checking its records is in
// RecordCheck.swift, reading them in RecordReader.swift. It must never look beyond the bytes that the batch has.
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

    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; others are not known. See ``RecordCodec``.
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
                .invalidRecord,
                "\(bytes.count - header.byteCount) bytes follow the batch of \(header.byteCount); send one batch alone")
        }
        self.init(bytes: bytes, header: header)
    }

    /// Splits a run of batches, as a fetch returns them, and checks each.
    public static func batches(in bytes: [UInt8]) throws(RecordsError) -> [RecordBatchView] {
        let run = split(bytes)
        if let error = run.error { throw error }
        return run.batches
    }

    /// Splits a run of batches and checks each, up to the first one that does not hold.
    /// - Returns: the batches in front of it, and what is wrong with it; nil when all hold.
    public static func split(_ bytes: [UInt8]) -> (batches: [RecordBatchView], error: RecordsError?) {
        var result: [RecordBatchView] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            do throws(RecordsError) {
                let header = try header(of: rest)
                result.append(RecordBatchView(bytes: rest.prefix(header.byteCount), header: header))
                rest = rest.dropFirst(header.byteCount)
            } catch {
                return (result, error)
            }
        }
        return (result, nil)
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
        try bytes.read { (raw) throws(RecordsError) in try check(raw) }
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
                .invalidRecord,
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
}
