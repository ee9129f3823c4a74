// The record batches of the ingest workload, computed from the number of a batch alone: what comes back can be compared
// byte for byte without having been kept.
import LabKit
import Records

/// Makes and recognises the batches of one partition.
struct IngestCodec: Sendable {
    let recordBytes: Int
    let recordsPerBatch: Int
    /// Of every record, milliseconds since 1970.
    let timestamp: Int64
    private let filler: [UInt8]
    private let mark: UInt64
    /// Where the first record's value begins in an encoded batch.
    private let firstValue: Int

    /// A record's value begins with the batch's number and a mark of run and partition, 8 bytes each.
    static let recordBytesMin = 16
    /// A batch's fields in front of this are stamped by the broker or follow from its size.
    private static let comparedFrom = 16

    init(seed: UInt64, partition: UInt32, recordBytes: Int, recordsPerBatch: Int, timestamp: Int64) {
        precondition(recordBytes >= IngestCodec.recordBytesMin, "a record holds at least its batch's number and mark")
        self.recordBytes = recordBytes
        self.recordsPerBatch = recordsPerBatch
        self.timestamp = timestamp
        var random = SeededRandom(seed: seed, stream: UInt64(partition))
        mark = random.next()
        filler = (0..<recordBytes * recordsPerBatch).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        firstValue = IngestCodec.firstValueOffset(recordBytes: recordBytes)
    }

    /// The encoded batch. About 40 µs for a thousand records of 100 bytes.
    func encode(_ batch: UInt64) -> [UInt8] {
        var values = filler
        values.withUnsafeMutableBytes { values in
            for record in 0..<recordsPerBatch {
                values.storeBytes(of: batch.littleEndian, toByteOffset: record * recordBytes, as: UInt64.self)
                values.storeBytes(of: mark.littleEndian, toByteOffset: record * recordBytes + 8, as: UInt64.self)
            }
        }
        return values.withUnsafeBytes {
            RecordBatch.encoded(values: $0, valueBytes: recordBytes, timestamp: timestamp)
        }
    }

    /// The number of the batch that `bytes` is, when it is exactly one that this run wrote to the partition.
    func batch(in bytes: ArraySlice<UInt8>) -> UInt64? {
        let start = bytes.startIndex + firstValue
        guard start + IngestCodec.recordBytesMin <= bytes.endIndex else { return nil }
        let number = bytes[start..<start + 8].withUnsafeBytes {
            UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))
        }
        let expected = encode(number)
        let skipped = IngestCodec.comparedFrom
        guard bytes.count == expected.count, bytes.dropFirst(skipped).elementsEqual(expected[skipped...]) else {
            return nil
        }
        return number
    }

    private static func firstValueOffset(recordBytes: Int) -> Int {
        let value = [UInt8](repeating: 0xA5, count: recordBytes)
        let encoded = value.withUnsafeBytes {
            RecordBatch.encoded(values: $0, valueBytes: recordBytes, timestamp: 0)
        }
        guard let found = encoded.firstRange(of: value) else {
            preconditionFailure("a record batch without compression holds its values as they are")
        }
        return found.lowerBound
    }
}
