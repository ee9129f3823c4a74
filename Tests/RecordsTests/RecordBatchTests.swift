// Record batches: the bytes are Kafka's version 2, whatever was put in comes out, and damage never passes.
import Records
import Testing

@Suite struct RecordBatchTests {
    static let time: Int64 = 1_700_000_000_000

    /// Encoded apart from this code, from the format's description, by a few lines of Python.
    static let golden =
        "000000000000000000000068ffffffff0299c01cf00000000000020000018bcfe568000000018bcfe6797000000000000000"
        + "4d0003000000280000000326000000011a48656c6c6f2c20576f726c6421003200f30302066b657901040a74726163650401"
        + "02086e6f6e65011000e0c50804000000"

    static func bytes(hex: String) -> [UInt8] {
        let digits = Array(hex)
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16) ?? 0 }
    }

    static func sample() -> RecordBatch {
        var batch = RecordBatch(producer: .init(id: 77, epoch: 3, baseSequence: 40))
        batch.append(key: nil, value: Array("Hello, World!".utf8), timestamp: time)
        let headers = [RecordHeader(key: "trace", value: [1, 2]), RecordHeader(key: "none", value: nil)]
        batch.append(key: Array("key".utf8), value: nil, headers: headers, timestamp: time - 250)
        batch.append(key: [], value: [], timestamp: time + 70_000)
        return batch
    }

    @Test func theBytesAreKafkas() {
        #expect(Self.sample().encoded() == Self.bytes(hex: Self.golden))
        // The example of Docs/Formats/record-batch.md.
        var batch = RecordBatch()
        batch.append(key: nil, value: Array("Hi".utf8), timestamp: 0)
        let bytes = batch.encoded()
        #expect(bytes.count == 70 && Array(bytes[17..<21]) == [0x4D, 0x82, 0x4B, 0x72])
        #expect(Array(bytes[61...]) == [0x10, 0, 0, 0, 1, 4, 0x48, 0x69, 0])
    }

    @Test func recordsComeBack() throws {
        var bytes = Self.sample().encoded()
        RecordBatchView.stamp(&bytes, baseOffset: 1000, leaderEpoch: 9)
        let view = try RecordBatchView(validating: bytes)
        #expect(view.count == 3 && view.baseOffset == 1000 && view.leaderEpoch == 9 && view.endOffset == 1003)
        #expect(view.producer == .init(id: 77, epoch: 3, baseSequence: 40))
        #expect(view.baseTimestamp == Self.time && view.maxTimestamp == Self.time + 70_000)
        #expect(RecordBatchView.recordCount(of: bytes) == 3)
        let records = try view.records()
        #expect(records.map(\.offset) == [1000, 1001, 1002])
        #expect(records.map(\.timestamp) == [Self.time, Self.time - 250, Self.time + 70_000])
        #expect(records[0].key == nil && records[0].value.map(Array.init) == Array("Hello, World!".utf8))
        #expect(records[1].key.map(Array.init) == Array("key".utf8) && records[1].value == nil)
        #expect(
            records[1].headers == [RecordHeader(key: "trace", value: [1, 2]), RecordHeader(key: "none", value: nil)])
        #expect(records[2].key?.isEmpty == true && records[2].value?.isEmpty == true)
    }

    @Test(arguments: [0, 1, 63, 64, 100, 8191, 8192, 20_000])
    func sizesAroundTheVarintBorders(size: Int) throws {
        var batch = RecordBatch()
        for index in 0..<130 {
            batch.append(
                key: [UInt8](repeating: 7, count: index), value: [UInt8](repeating: UInt8(index), count: size),
                timestamp: Self.time + Int64(index) * 1_000_000_007)
        }
        let view = try RecordBatchView(validating: batch.encoded())
        let records = try view.records()
        #expect(records.count == 130)
        for (index, record) in records.enumerated() {
            #expect(record.offset == UInt64(index) && record.key?.count == index && record.value?.count == size)
            #expect(record.timestamp == Self.time + Int64(index) * 1_000_000_007)
        }
    }

    @Test(arguments: [(1, 1), (1, 100), (63, 64), (64, 63), (1000, 100), (9000, 3)])
    func theFastPathIsTheSameEncoding(count: Int, size: Int) {
        let values = (0..<count * size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        var slow = RecordBatch()
        for start in stride(from: 0, to: values.count, by: size) {
            slow.append(key: nil, value: Array(values[start..<start + size]), timestamp: Self.time)
        }
        let fast = values.withUnsafeBytes {
            RecordBatch.encoded(values: $0, valueBytes: size, timestamp: Self.time)
        }
        #expect(fast == slow.encoded())
    }

    @Test func aRunOfBatchesIsSplit() throws {
        var second = RecordBatch()
        second.append(key: nil, value: [1], timestamp: 0)
        let run = Self.sample().encoded() + second.encoded() + Self.sample().encoded()
        #expect(try RecordBatchView.batches(in: run).map(\.count) == [3, 1, 3])
        let last = try #require(try RecordBatchView.batches(in: run).last)
        #expect(try last.records().map(\.offset) == [0, 1, 2])
        #expect(throws: RecordsError.self) { try RecordBatchView(validating: run) }
        #expect(throws: RecordsError.self) { try RecordBatchView.batches(in: Array(run.dropLast())) }
        #expect(try RecordBatchView.batches(in: []).isEmpty)
    }

    @Test func everyFlippedByteIsRefusedOrUncovered() throws {
        let good = Self.sample().encoded()
        for position in good.indices {
            var bytes = good
            bytes[position] ^= 0x20
            // Base offset and leader epoch are the leader's to write, so the checksum leaves them out.
            if position < 8 || (12..<16).contains(position) {
                #expect(throws: Never.self) { try RecordBatchView(validating: bytes) }
            } else {
                #expect(throws: RecordsError.self, "byte \(position)") { try RecordBatchView(validating: bytes) }
            }
        }
        for count in good.indices {
            #expect(throws: RecordsError.self) { try RecordBatchView(validating: Array(good[..<count])) }
        }
    }

    /// A batch whose checksum was made to hold again after its content was changed.
    static func forged(_ change: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes = sample().encoded()
        change(&bytes)
        var checksum: UInt32 = 0xFFFF_FFFF
        for byte in bytes[21...] {
            checksum ^= UInt32(byte)
            for _ in 0..<8 { checksum = checksum & 1 == 1 ? (checksum >> 1) ^ 0x82F6_3B78 : checksum >> 1 }
        }
        checksum ^= 0xFFFF_FFFF
        for position in 0..<4 {
            bytes[17 + position] = UInt8(truncatingIfNeeded: checksum >> UInt32(24 - 8 * position))
        }
        return bytes
    }

    @Test func hostileRecordsNeverReachOutside() throws {
        for position in 61..<Self.sample().encoded().count {
            for value in [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF] as [UInt8] {
                let view = try RecordBatchView(validating: Self.forged { $0[position] = value })
                // Any outcome is right but a trap: fields must lie inside the batch.
                if let records = try? view.records() { #expect(records.count == 3) }
            }
        }
        let overlong = Self.forged { bytes in
            bytes[61...] = [0x26, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F] + bytes[73...]
        }
        #expect(throws: RecordsError.self) { try RecordBatchView(validating: overlong).records() }
        let counts = Self.forged { $0[60] = 4 }
        #expect(throws: RecordsError.self) { try RecordBatchView(validating: counts) }
    }

    @Test func compressedBatchesPassButAreNotRead() throws {
        let view = try RecordBatchView(validating: Self.forged { $0[22] = 4 })
        #expect(view.compression == 4)
        let error = #expect(throws: RecordsError.self) { try view.records() }
        #expect(error?.code == .compressed)
    }

    @Test func appendTimeIsEveryRecordsTime() throws {
        let view = try RecordBatchView(validating: Self.forged { $0[22] = 8 })
        #expect(try view.records().map(\.timestamp) == Array(repeating: Self.time + 70_000, count: 3))
    }
}
