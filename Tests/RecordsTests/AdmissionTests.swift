// What a broker takes from a producer: a batch whose records can be read, and nothing that is the broker's to say.
// Every batch that is refused here would break its readers, or move the high watermark by records that are not there.
import Records
import Testing

@Suite struct AdmissionTests {
    private func refused(_ batch: ForgedBatch, _ code: RecordsError.Code, _ part: String, line: Int = #line) {
        refused(batch.bytes, code, part, line: line)
    }

    private func refused(_ bytes: [UInt8], _ code: RecordsError.Code, _ part: String, line: Int = #line) {
        do throws(RecordsError) {
            _ = try RecordBatchView.admitting(bytes)
            Issue.record("line \(line): admitted")
        } catch {
            #expect(error.code == code, "line \(line): \(error)")
            #expect(error.message.contains(part), "line \(line): \(error)")
        }
    }

    @Test(arguments: [1, 2, 63, 64, 200, 20_000])
    func whatAnEncoderMakesIsAdmitted(count: Int) throws {
        let batch = ForgedBatch(count: Int32(count), body: ForgedBatch.records(count))
        #expect(try RecordBatchView.admitting(batch.bytes).count == count)
    }

    @Test func aCountThatTheRecordsDoNotFillIsRefused() {
        // Issue 15, section 3: five records claimed, one there.
        refused(ForgedBatch(count: 5, body: ForgedBatch.records(1)), .invalidRecord, "claims 5 records")
        refused(ForgedBatch(count: 2, body: ForgedBatch.records(1)), .invalidRecord, "ends before record 1")
        refused(ForgedBatch(count: .max), .invalidRecord, "claims 2147483647 records in 61 bytes")
        refused(ForgedBatch(count: 1), .invalidRecord, "claims 1 records in 61 bytes")
        refused(ForgedBatch(count: 0), .invalidRecord, "claims 0 records")
        refused(ForgedBatch(count: -1), .invalidRecord, "claims -1 records")
        refused(ForgedBatch(count: .min), .invalidRecord, "records")
        refused(ForgedBatch(count: 3, lastOffsetDelta: 4, body: ForgedBatch.records(3)), .invalidRecord, "delta 4")
        refused(ForgedBatch(count: 2, body: ForgedBatch.records(3)), .invalidRecord, "bytes follow")
    }

    @Test func bytesThatWereLostOnTheirWayAreDamage() {
        let good = ForgedBatch(count: 3, body: ForgedBatch.records(3)).bytes
        for count in 0..<good.count { refused(Array(good[..<count]), .malformed, "bytes") }
        refused(ForgedBatch(count: 1, body: ForgedBatch.records(1), lengthError: 1), .malformed, "send it whole")
        refused(ForgedBatch(count: 1, body: ForgedBatch.records(1), lengthError: .min + 100), .malformed, "")
        var flipped = good
        flipped[70] ^= 1
        refused(flipped, .checksum, "CRC-32C")
    }

    @Test func aRequestHoldsOneBatchAlone() {
        let good = ForgedBatch(count: 1, body: ForgedBatch.records(1)).bytes
        refused(good + good, .invalidRecord, "one batch alone")
        refused(good + [0], .invalidRecord, "one batch alone")
    }

    @Test(arguments: [-1, 0, 1, 3, 127] as [Int8])
    func otherVersionsAreRefused(version: Int8) {
        refused(
            ForgedBatch(version: version, count: 1, body: ForgedBatch.records(1)), .unsupportedVersion, "version 2")
    }

    @Test func whatOnlyABrokerSaysIsRefused() {
        func batch(_ attributes: Int16) -> ForgedBatch {
            ForgedBatch(attributes: attributes, count: 1, body: ForgedBatch.records(1))
        }
        refused(batch(0x08), .notAllowed, "time of append")
        refused(batch(0x10), .notAllowed, "transaction")
        refused(batch(0x20), .notAllowed, "control batch")
        refused(batch(0x30), .notAllowed, "control batch")
        refused(batch(0x40), .notAllowed, "delete horizon")
        refused(batch(0x80), .notAllowed, "0x80")
        refused(batch(.min), .notAllowed, "0x8000")
        for codec in 5...7 as ClosedRange<Int16> { refused(batch(codec), .compressed, "codec \(codec)") }
        var idempotent = batch(0)
        idempotent.producerID = 7
        refused(idempotent, .notAllowed, "idempotent producers")
        var sequence = batch(0)
        sequence.baseSequence = 0
        refused(sequence, .notAllowed, "idempotent producers")
    }

    @Test func recordsThatContradictThemselvesAreRefused() {
        func one(_ record: [UInt8]) -> ForgedBatch { ForgedBatch(count: 1, body: record) }
        refused(one(ForgedBatch.record(length: -1)), .invalidRecord, "claims -1 bytes")
        refused(one(ForgedBatch.record(length: 3)), .invalidRecord, "record 0")
        refused(one(ForgedBatch.record(length: 6)), .invalidRecord, "does not end where")
        refused(one(ForgedBatch.record(length: 8)), .invalidRecord, "does not end where")
        refused(one(ForgedBatch.record(length: .max)), .invalidRecord, "record 0")
        refused(one(ForgedBatch.record(offsetDelta: 1)), .invalidRecord, "offset delta 1")
        refused(one(ForgedBatch.record(offsetDelta: -1)), .invalidRecord, "offset delta -1")
        refused(one(ForgedBatch.record(keyLength: -2)), .invalidRecord, "-2 bytes")
        refused(one(ForgedBatch.record(keyLength: 100)), .invalidRecord, "reaches beyond")
        refused(one(ForgedBatch.record(valueLength: 50)), .invalidRecord, "reaches beyond")
        refused(one(ForgedBatch.record(valueLength: .min)), .invalidRecord, "record 0")
        refused(one(ForgedBatch.record(headers: -1)), .invalidRecord, "-1 headers")
        refused(one(ForgedBatch.record(headers: 1)), .invalidRecord, "1 headers")
        refused(one(ForgedBatch.record(headers: .max)), .invalidRecord, "headers")
        refused(one(ForgedBatch.record(headers: 1, tail: [1, 1])), .invalidRecord, "has no name")
        refused(one(ForgedBatch.record(headers: 1, tail: [2, 0x41])), .invalidRecord, "")
        refused(one(ForgedBatch.record(tail: [0])), .invalidRecord, "does not end where")
        refused(one(Array(repeating: 0xFF, count: 20)), .invalidRecord, "64 bits")
        var late = ForgedBatch(count: 1, baseTimestamp: .max, body: ForgedBatch.record(timestampDelta: 1))
        refused(late, .invalidRecord, "timestamp")
        late.baseTimestamp = .min
        late.body = ForgedBatch.record(timestampDelta: -1)
        refused(late, .invalidRecord, "timestamp")
        // A second record that repeats the first one's offset, and one that skips one.
        for delta in [0, 2] as [Int64] {
            let body = ForgedBatch.record() + ForgedBatch.record(offsetDelta: delta)
            refused(ForgedBatch(count: 2, body: body), .invalidRecord, "offset delta \(delta)")
        }
    }

    static let codecs: [(Int16, @Sendable ([UInt8]) -> [UInt8])] = [
        (1, { Compressed.gzip($0) }), (2, { Compressed.snappyBlock($0) }),
        (2, { Compressed.snappyFramed($0, blockBytes: 1000) }), (3, { Compressed.lz4($0) }),
        (4, { Compressed.zstd($0) }),
    ]

    @Test(arguments: codecs.indices)
    func compressedRecordsAreCheckedAndRead(codec: Int) throws {
        let (attributes, compress) = Self.codecs[codec]
        // More than one piece of 64 KiB.
        let count = 9000
        let records = ForgedBatch.records(count)
        let plain = try RecordBatchView.admitting(ForgedBatch(count: Int32(count), body: records).bytes)
        let batch = ForgedBatch(attributes: attributes, count: Int32(count), body: compress(records))
        let view = try RecordBatchView.admitting(batch.bytes)
        let (read, expected) = (try view.records(), try plain.records())
        #expect(read.count == count && read.map(\.offset) == expected.map(\.offset))
        #expect(read.map(\.value) == expected.map(\.value) && read.map(\.key) == expected.map(\.key))

        refused(
            ForgedBatch(attributes: attributes, count: Int32(count + 1), body: compress(records)), .invalidRecord,
            "ends before record \(count)")
        refused(
            ForgedBatch(attributes: attributes, count: Int32(count - 1), body: compress(records)), .invalidRecord,
            "bytes follow")
        refused(
            ForgedBatch(attributes: attributes, count: .max, body: compress(records)), .invalidRecord,
            "claims 2147483647 records")
        refused(ForgedBatch(attributes: attributes, count: 1, body: records), .compressed, "can't be decompressed")
        refused(ForgedBatch(attributes: attributes, count: 1, body: []), .compressed, "")
        let cut = Array(compress(records).dropLast(20))
        refused(ForgedBatch(attributes: attributes, count: Int32(count), body: cut), .compressed, "decompressed")
    }

    @Test(arguments: codecs.indices)
    func whatExpandsWithoutBoundIsRefused(codec: Int) {
        let (attributes, compress) = Self.codecs[codec]
        // One record whose value is 33 MiB of zeros.
        let value = [UInt8](repeating: 0, count: 33 << 20)
        let bomb = compress(ForgedBatch.record(value: value))
        refused(ForgedBatch(attributes: attributes, count: 1, body: bomb), .compressed, "")
    }

    @Test func aZstdFrameWithAHugeWindowIsRefused() {
        // Magic, a frame header with a window of 2 GiB and no content size, an empty last block.
        let frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8, 0x01, 0x00, 0x00]
        refused(ForgedBatch(attributes: 4, count: 1, body: frame), .compressed, "window")
    }

    /// Whatever is changed, the check and the reader agree, and neither reaches outside.
    @Test func theCheckAdmitsExactlyWhatCanBeRead() throws {
        let seed: UInt64 = 15
        var random = seed
        func next(_ bound: Int) -> Int {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((random >> 33) % UInt64(bound))
        }
        let records = ForgedBatch.records(5)
        var admitted = 0
        for round in 0..<20_000 {
            var body = records
            for _ in 0...next(3) { body[next(body.count)] = UInt8(next(256)) }
            if next(4) == 0 { body.removeLast(next(body.count)) }
            let batch = ForgedBatch(count: next(8) == 0 ? Int32(next(9)) : 5, body: body).bytes
            guard let view = try? RecordBatchView(validating: batch) else { continue }
            let isAdmitted = (try? view.checkRecords()) != nil
            let isRead = (try? view.records().count) == view.count
            #expect(isAdmitted == isRead, "seed \(seed), round \(round): \(body)")
            admitted += isAdmitted ? 1 : 0
        }
        #expect(admitted > 100)
    }

    @Test func aRunIsSplitUpToTheFirstBatchThatDoesNotHold() {
        let good = ForgedBatch(count: 1, body: ForgedBatch.records(1)).bytes
        var damaged = good
        damaged[65] ^= 1
        let run = RecordBatchView.split(good + good + damaged + good)
        #expect(run.batches.count == 2 && run.error?.code == .checksum)
        #expect(RecordBatchView.split(good).error == nil)
    }
}
