// Reads a batch's records one after another, so that a batch of a million small records never lies in memory as a
// million values. Compressed records are decompressed first, within `RecordLimits.decompressedBytesMax`, and all
// records are checked before the first one is handed out: a batch is read whole or not at all.

/// An iterator over the records of one batch; their fields share its memory.
public struct RecordReader: Sendable {
    /// The records' bytes, decompressed.
    private let content: ArraySlice<UInt8>
    private var position: Int
    private var index = 0
    private let batch: RecordBatchView

    init(_ batch: RecordBatchView) throws(RecordsError) {
        self.batch = batch
        guard let codec = RecordCodec(rawValue: batch.compression) else { throw batch.unknownCodec }
        if codec == .none {
            content = batch.bytes
            position = RecordBatchView.headerBytes
        } else {
            content = try Self.decompressed(batch, codec)
            position = 0
        }
        let start = position
        try content.read { (raw) throws(RecordsError) in
            var check = RecordCheck(UnsafeRawBufferPointer(rebasing: raw[start...]))
            try check.run(count: batch.count, baseTimestamp: batch.baseTimestamp)
        }
    }

    private static func decompressed(
        _ batch: RecordBatchView, _ codec: RecordCodec
    ) throws(RecordsError) -> ArraySlice<UInt8> {
        try batch.bytes.read { (raw) throws(RecordsError) in
            let pieces = try RecordPieces(codec, UnsafeRawBufferPointer(rebasing: raw[RecordBatchView.headerBytes...]))
            var all: [UInt8] = []
            while let piece = try pieces.next() { all.append(contentsOf: piece) }
            return all[...]
        }
    }

    /// Records that are certainly not more than this.
    var countMax: Int { min(batch.count, content.count / RecordLimits.recordBytesMin) }

    /// The next record; nil behind the last one.
    public mutating func next() throws(RecordsError) -> Record? {
        let (index, start) = (index, position)
        guard index < batch.count else {
            guard position == content.count else {
                throw RecordsError(.invalidRecord, "bytes follow the last record; encode the batch anew")
            }
            return nil
        }
        let (fields, end) = try content.read { (raw) throws(RecordsError) in
            var cursor = RecordCursor(raw, from: start)
            return (try Self.record(&cursor, index), cursor.position)
        }
        position = end
        self.index += 1
        let first = content.startIndex
        func part(_ range: Range<Int>?) -> ArraySlice<UInt8>? {
            range.map { content[first + $0.lowerBound..<first + $0.upperBound] }
        }
        return Record(
            offset: UInt64(bitPattern: batch.baseOffset) &+ UInt64(index),
            timestamp: batch.usesAppendTime ? batch.maxTimestamp : batch.baseTimestamp &+ fields.timestampDelta,
            key: part(fields.key), value: part(fields.value), headers: fields.headers)
    }

    private typealias Fields = (timestampDelta: Int64, key: Range<Int>?, value: Range<Int>?, headers: [RecordHeader])

    private static func record(_ cursor: inout RecordCursor, _ index: Int) throws(RecordsError) -> Fields {
        guard let length = try cursor.length() else { throw wrong("a record has no length") }
        let end = cursor.position + length
        _ = try cursor.byte()
        let timestampDelta = try cursor.varint()
        guard try cursor.varint() == Int64(index) else { throw wrong("record \(index) has another offset delta") }
        let key = try cursor.field()
        let value = try cursor.field()
        let headerCount = try cursor.varint()
        guard headerCount >= 0, headerCount <= Int64(length) else {
            throw wrong("record \(index) claims \(headerCount) headers")
        }
        var headers: [RecordHeader] = []
        for _ in 0..<headerCount {
            guard let name = try cursor.field() else { throw wrong("a header of record \(index) has no name") }
            let value = try cursor.field()
            headers.append(
                RecordHeader(
                    key: String(decoding: cursor.bytes[name], as: UTF8.self),
                    value: value.map { Array(cursor.bytes[$0]) }))
        }
        guard cursor.position == end else { throw wrong("record \(index) does not end where its length says") }
        return (timestampDelta, key, value, headers)
    }

    private static func wrong(_ what: String) -> RecordsError {
        RecordsError(.invalidRecord, "\(what); encode the batch anew")
    }
}

extension RecordBatchView {
    /// Reads the records one after another.
    /// - Throws: when any of them can't be read.
    /// - Complexity: O(bytes), one pass over the records.
    public func reader() throws(RecordsError) -> RecordReader {
        try RecordReader(self)
    }

    /// All records in order; their fields share the batch's memory, or that of its decompressed records.
    public func records() throws(RecordsError) -> [Record] {
        var reader = try reader()
        var result: [Record] = []
        // A false count can't ask for more memory than the records themselves.
        result.reserveCapacity(reader.countMax)
        while let record = try reader.next() { result.append(record) }
        return result
    }
}
