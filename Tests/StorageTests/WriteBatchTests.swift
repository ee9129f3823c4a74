// Write batches: what goes in comes out, and foreign bytes are refused rather than misread.
import Testing

@testable import Storage

@Suite struct WriteBatchTests {
    private func sample() throws -> WriteBatch {
        var batch = WriteBatch()
        try batch.put(key: bytes("name"), value: bytes("Strata"))
        try batch.delete(key: bytes("gone"))
        try batch.put(key: [], value: [])
        try batch.put(key: [0, 255], value: [UInt8](repeating: 7, count: 300))
        return batch
    }

    @Test func keepsOperationsInOrder() throws {
        let batch = try WriteBatch(validating: sample().bytes)
        #expect(batch.count == 4)
        #expect(batch.map(\.kind) == [.put, .delete, .put, .put])
        #expect(batch.map(\.key) == [bytes("name"), bytes("gone"), [], [0, 255]])
        #expect(batch.map(\.value) == [bytes("Strata"), [], [], [UInt8](repeating: 7, count: 300)])
    }

    @Test func appendingJoinsOperations() throws {
        var joined = try sample()
        joined.append(contentsOf: try sample())
        joined.append(contentsOf: WriteBatch())
        #expect(try Array(joined) == Array(sample()) + Array(sample()))
        #expect(try WriteBatch(validating: joined.bytes) == joined)
        joined.removeAll()
        #expect(joined == WriteBatch())
    }

    @Test func refusesEveryCut() throws {
        let whole = try sample().bytes
        for count in 0..<whole.count {
            #expect(throws: StorageError.self, "cut at \(count)") {
                try WriteBatch(validating: Array(whole.prefix(count)))
            }
        }
        #expect(throws: StorageError.self) { try WriteBatch(validating: whole + [1]) }
    }

    @Test func survivesEveryFlip() throws {
        let whole = try sample().bytes
        for position in whole.indices {
            for bit in 0..<8 {
                var broken = whole
                broken[position] ^= 1 << bit
                // No checksum here (the log has one): it may be another batch, but never a crash or a wrong count.
                if let batch = try? WriteBatch(validating: broken) { #expect(batch.count == Array(batch).count) }
            }
        }
    }

    @Test func refusesWhatIsTooLong() throws {
        var batch = WriteBatch()
        let key = [UInt8](repeating: 1, count: StorageLimits.keyBytesMax + 1)
        #expect(throws: StorageError.keyTooLong(bytes: key.count)) { try batch.put(key: key, value: []) }
        #expect(throws: StorageError.keyTooLong(bytes: key.count)) { try batch.delete(key: key) }
        #expect(batch == WriteBatch())
        try batch.put(key: Array(key.dropLast()), value: [1])
        #expect(batch.count == 1)
    }
}
