// Checks the records of a batch without keeping any: lengths, numbers, offset deltas and headers, in one pass over the
// bytes, which may come in pieces as they are decompressed. It must never accept what `RecordReader` can't read, and
// costs a few nanoseconds a record, because every batch that a producer sends goes through it.

/// Walks the fields of records over one piece after another.
struct RecordCheck {
    private var window: UnsafeRawBufferPointer
    private var position = 0
    /// Bytes in front of the window.
    private var before = 0
    private let pieces: RecordPieces?

    /// Records that lie in memory as they are.
    init(_ records: UnsafeRawBufferPointer) {
        window = records
        pieces = nil
    }

    /// Records that are decompressed while they are checked.
    init(_ pieces: RecordPieces) {
        window = UnsafeRawBufferPointer(start: nil, count: 0)
        self.pieces = pieces
    }

    /// Checks that `count` records, and nothing else, are there.
    mutating func run(count: Int, baseTimestamp: Int64) throws(RecordsError) {
        for index in 0..<count where !plainRecord(index, baseTimestamp) { try record(index, baseTimestamp) }
        guard try isAtEnd() else { throw Self.wrong("bytes follow the last of its \(count) records") }
    }

    /// Takes a record whose numbers are short, which has no headers and lies in the window: nearly every one there is.
    /// - Returns: false, with nothing taken, when it is not such a record; ``record(_:_:)`` says what is wrong, if
    ///   anything.
    private mutating func plainRecord(_ index: Int, _ baseTimestamp: Int64) -> Bool {
        var place = position
        guard let length = Self.short(window, &place), length >= RecordLimits.recordBytesMin - 1,
            length <= window.count - place
        else { return false }
        let end = place + length
        place += 1
        guard let timestampDelta = Self.short(window, &place),
            !baseTimestamp.addingReportingOverflow(Int64(timestampDelta)).overflow,
            Self.short(window, &place) == index,
            let key = Self.short(window, &place), key >= -1, key <= end - place
        else { return false }
        place += max(key, 0)
        guard let value = Self.short(window, &place), value >= -1, value <= end - place else { return false }
        place += max(value, 0)
        guard place == end - 1, window[place] == 0 else { return false }
        position = end
        return true
    }

    /// A varint of at most three bytes; nil when it is longer or cut off.
    @inline(__always)
    private static func short(_ window: UnsafeRawBufferPointer, _ place: inout Int) -> Int? {
        guard place <= window.count - 3 else { return nil }
        let first = Int(window[place])
        if first < 0x80 {
            place += 1
            return (first >> 1) ^ -(first & 1)
        }
        var value = first & 0x7F | (Int(window[place + 1]) & 0x7F) << 7
        if window[place + 1] < 0x80 {
            place += 2
        } else {
            guard window[place + 2] < 0x80 else { return nil }
            value |= Int(window[place + 2]) << 14
            place += 3
        }
        return (value >> 1) ^ -(value & 1)
    }

    private mutating func record(_ index: Int, _ baseTimestamp: Int64) throws(RecordsError) {
        if position == window.count, try isAtEnd() {
            throw Self.wrong("it ends before record \(index)")
        }
        let length = try varint()
        guard length >= RecordLimits.recordBytesMin - 1, length <= Int64(Int32.max) else {
            throw Self.wrong("record \(index) claims \(length) bytes")
        }
        let end = before + position + Int(length)
        try skip(1, before: end, index)
        guard !baseTimestamp.addingReportingOverflow(try varint()).overflow else {
            throw Self.wrong("the timestamp of record \(index) is out of range")
        }
        let offsetDelta = try varint()
        guard offsetDelta == Int64(index) else {
            throw Self.wrong("record \(index) has the offset delta \(offsetDelta)")
        }
        try field(before: end, index)
        try field(before: end, index)
        let headers = try varint()
        guard headers >= 0, headers <= Int64(max(end - before - position, 0) / 2) else {
            throw Self.wrong("record \(index) claims \(headers) headers")
        }
        for _ in 0..<headers {
            guard try field(before: end, index) else { throw Self.wrong("a header of record \(index) has no name") }
            try field(before: end, index)
        }
        guard before + position == end else {
            throw Self.wrong("record \(index) does not end where its length says")
        }
    }

    /// A field with its length in front; false when it is null.
    @discardableResult
    private mutating func field(before end: Int, _ index: Int) throws(RecordsError) -> Bool {
        let length = try varint()
        if length == -1 { return false }
        guard length >= 0, length <= Int64(Int32.max) else {
            throw Self.wrong("a field of record \(index) claims \(length) bytes")
        }
        try skip(Int(length), before: end, index)
        return true
    }

    private mutating func skip(_ count: Int, before end: Int, _ index: Int) throws(RecordsError) {
        guard count <= end - before - position else { throw Self.wrong("a field of record \(index) reaches beyond it") }
        var left = count
        while left > window.count - position {
            left -= window.count - position
            position = window.count
            guard try !isAtEnd() else { throw Self.wrong("record \(index) is cut off") }
        }
        position += left
    }

    private mutating func varint() throws(RecordsError) -> Int64 {
        if position < window.count, window[position] < 0x80 {
            let byte = UInt64(window[position])
            position += 1
            return Int64(bitPattern: byte >> 1) ^ -Int64(bitPattern: byte & 1)
        }
        return try longVarint()
    }

    private mutating func longVarint() throws(RecordsError) -> Int64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            if position == window.count, try isAtEnd() { throw Self.wrong("a number is cut off") }
            let next = window[position]
            position += 1
            guard shift < 63 || next <= 1 else { throw Self.wrong("a number is longer than 64 bits") }
            value |= UInt64(next & 0x7F) << shift
            if next < 0x80 { return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1) }
            shift += 7
        }
    }

    /// True when no byte is left; takes the next piece when the window is used up.
    private mutating func isAtEnd() throws(RecordsError) -> Bool {
        guard position == window.count else { return false }
        guard let pieces, let next = try pieces.next() else { return true }
        before += window.count
        window = next
        position = 0
        return false
    }

    private static func wrong(_ what: String) -> RecordsError {
        RecordsError(.invalidRecord, "the record batch contradicts itself: \(what); encode the batch anew")
    }
}

extension RecordBatchView {
    /// Checks that the records fill the batch exactly and are what the header says, without keeping any. Compressed
    /// records are decompressed for it, piece by piece.
    /// - Complexity: O(bytes), no allocation unless the batch is compressed.
    public func checkRecords() throws(RecordsError) {
        guard let codec = RecordCodec(rawValue: compression) else { throw unknownCodec }
        try bytes.read { (raw) throws(RecordsError) in
            let records = UnsafeRawBufferPointer(rebasing: raw[BatchField.headerBytes...])
            let bytesMax = codec == .none ? records.count : RecordLimits.decompressedBytesMax
            guard count <= bytesMax / RecordLimits.recordBytesMin else {
                throw RecordsError(
                    .invalidRecord,
                    "the record batch claims \(count) records in \(raw.count) bytes; encode the batch anew")
            }
            var check = codec == .none ? RecordCheck(records) : RecordCheck(try RecordPieces(codec, records))
            try check.run(count: count, baseTimestamp: baseTimestamp)
        }
    }

    /// Checks a batch that a producer sends, before it is stored: whole, undamaged, records that can be read, and
    /// nothing in its attributes that is the broker's to say.
    /// - Throws: ``RecordsError/Code/malformed`` or ``RecordsError/Code/checksum`` when bytes were lost or changed on
    ///   their way; every other code when they say what they must not.
    /// - Complexity: O(bytes), one pass of CRC-32C and one over the records.
    public static func admitting(_ bytes: [UInt8]) throws(RecordsError) -> RecordBatchView {
        let view = try RecordBatchView(validating: bytes)
        try view.checkAttributes()
        try view.checkRecords()
        return view
    }

    /// What producers may not set: the broker would seem to keep a promise that it does not make.
    private func checkAttributes() throws(RecordsError) {
        func refuse(_ what: String) -> RecordsError {
            RecordsError(.notAllowed, "\(what); send the batch without")
        }
        guard RecordCodec(rawValue: compression) != nil else { throw unknownCodec }
        if usesAppendTime { throw refuse("the batch claims the broker's time of append, which only a broker gives") }
        if isControl { throw refuse("the batch is a control batch, which only a broker writes") }
        if isTransactional { throw refuse("the batch belongs to a transaction, and there are none here") }
        if attributes & 0x40 != 0 { throw refuse("the batch has a delete horizon, which only a broker sets") }
        if attributes & ~0x7F != 0 {
            let bits = String(UInt16(bitPattern: attributes), radix: 16)
            throw refuse("the batch has attributes that are not known (0x\(bits))")
        }
        guard producer == RecordBatch.Producer() else {
            throw refuse(
                "the batch carries a producer's id, epoch or sequence (\(producer.id), \(producer.epoch), "
                    + "\(producer.baseSequence)), and idempotent producers are not supported: all three must be -1")
        }
    }

    /// Why records with this codec can't be read.
    var unknownCodec: RecordsError {
        RecordsError(
            .compressed,
            "the batch is compressed with codec \(compression), which is not known; use none, gzip, snappy, lz4 or zstd"
        )
    }
}

extension ArraySlice<UInt8> {
    /// `withUnsafeBytes` for bodies that throw this module's error.
    func read<Value>(
        _ body: (UnsafeRawBufferPointer) throws(RecordsError) -> Value
    ) throws(RecordsError) -> Value {
        var outcome: Result<Value, RecordsError>?
        withUnsafeBytes { raw in
            do throws(RecordsError) {
                outcome = .success(try body(raw))
            } catch {
                outcome = .failure(error)
            }
        }
        guard let outcome else { preconditionFailure("the body above always leaves an outcome") }
        return try outcome.get()
    }
}
