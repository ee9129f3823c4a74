// The ledgers must see every lost, stale, foreign or doubled write, and must not cry wolf over unknown outcomes.
import LabKit
import Records
import Testing

@testable import LoadGen

@Suite struct LedgerTests {
    @Test func keyValueVerdicts() {
        var ledger = KeyValueLedger(keys: 100..<110)
        let first = ledger.issue(101)
        let second = ledger.issue(101)
        let third = ledger.issue(101)
        let refused = ledger.issue(101)
        #expect([first, second, third, refused] == [1, 2, 3, 4])
        ledger.acknowledge(101, version: first)
        ledger.markUnknown(101, version: second)
        ledger.acknowledge(101, version: third)
        #expect(ledger.judge(101, present: true, version: 3) == .expected)
        #expect(ledger.judge(101, present: true, version: 2) == .unknownApplied)
        #expect(ledger.judge(101, present: true, version: 1) == .lost)
        #expect(ledger.judge(101, present: false, version: nil) == .lost)
        #expect(ledger.judge(101, present: true, version: 4) == .corrupt)
        #expect(ledger.judge(101, present: true, version: 5) == .corrupt)
        #expect(ledger.judge(101, present: true, version: nil) == .corrupt)
        #expect(ledger.judge(105, present: false, version: nil) == .expected)
        #expect(ledger.judge(105, present: true, version: 1) == .corrupt)
        ledger.markUnknown(106, version: ledger.issue(106))
        #expect(ledger.judge(106, present: false, version: nil) == .expected)
        #expect(ledger.judge(106, present: true, version: 1) == .unknownApplied)
        #expect(ledger.touched == [101, 106])
        #expect(ledger.written == [101])
    }

    @Test(arguments: [8, 9, 16, 255, 256])
    func valuesAreRecognisedAndEveryFlippedByteIsSeen(valueBytes: Int) {
        let codec = KeyValueCodec(seed: 7, valueBytes: valueBytes)
        var value = [UInt8](repeating: 0, count: valueBytes)
        value.withUnsafeMutableBytes { codec.writeValue(key: 3, version: 9, into: $0) }
        #expect(value.withUnsafeBytes { codec.version(of: 3, in: $0) } == 9)
        #expect(value.withUnsafeBytes { codec.version(of: 4, in: $0) } == nil)
        #expect(value.dropLast().withUnsafeBytes { codec.version(of: 3, in: $0) } == nil)
        for index in value.indices where !(4..<8).contains(index) {
            var damaged = value
            damaged[index] ^= 0x10
            #expect(damaged.withUnsafeBytes { codec.version(of: 3, in: $0) } == nil, "byte \(index)")
        }
        #expect(codec.keyText(3).utf8.count == KeyValueCodec.keyBytes)
        #expect(codec.keyText(3) != KeyValueCodec(seed: 8, valueBytes: valueBytes).keyText(3))
    }

    @Test func ingestVerdicts() {
        typealias Entry = IngestLedger.Entry
        var ledger = IngestLedger()
        for batch in 0..<4 as Range<UInt64> { ledger.acknowledge(batch: batch, baseOffset: batch * 10) }
        ledger.markUnknown(batch: 4)
        ledger.markRefused(batch: 5)
        let all = (0..<4 as Range<UInt64>).map { Entry(baseOffset: $0 * 10, batch: $0) }
        let clean = ledger.judge(found: all)
        #expect(clean.checked == 4 && clean.lost.isEmpty && clean.misplaced.isEmpty && clean.duplicated.isEmpty)
        #expect(ledger.judge(found: all + [Entry(baseOffset: 40, batch: 4)]).unknownFound == 1)
        #expect(ledger.judge(found: Array(all.dropLast())).lost == [Entry(baseOffset: 30, batch: 3)])
        #expect(ledger.judge(found: all + [Entry(baseOffset: 40, batch: 3)]).duplicated.count == 1)
        #expect(ledger.judge(found: all + [Entry(baseOffset: 40, batch: 5)]).misplaced.count == 1)
        #expect(ledger.judge(found: all + [Entry(baseOffset: 40, batch: 99)]).misplaced.count == 1)
        var moved = all
        moved[2].baseOffset = 21
        #expect(ledger.judge(found: moved).misplaced == [moved[2]])
        #expect(ledger.count == 6)
    }

    @Test func ingestBatchesAreRecognisedAndEveryFlippedByteIsSeen() throws {
        let codec = IngestCodec(
            seed: 3, partition: 1, recordBytes: 20, recordsPerBatch: 5, timestamp: 1_700_000_000_000)
        var batch = codec.encode(77)
        #expect(codec.batch(in: batch[...]) == 77)
        RecordBatchView.stamp(&batch, baseOffset: 12_345, leaderEpoch: 6)
        #expect(codec.batch(in: batch[...]) == 77)
        let view = try RecordBatchView(validating: batch)
        #expect(view.count == 5)
        #expect(try view.records().allSatisfy { $0.value?.count == 20 })
        for index in 16..<batch.count {
            var damaged = batch
            damaged[index] ^= 1
            #expect(codec.batch(in: damaged[...]) != 77, "byte \(index)")
        }
        let other = IngestCodec(
            seed: 3, partition: 2, recordBytes: 20, recordsPerBatch: 5, timestamp: 1_700_000_000_000)
        #expect(other.batch(in: batch[...]) == nil)
        #expect(codec.batch(in: []) == nil)
    }
}
