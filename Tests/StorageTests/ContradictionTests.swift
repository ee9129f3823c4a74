// Files whose checksums hold but whose content can't be: what a mistake in a writer or a hand in a file would leave.
// They are refused as corrupt, or left aside where something else knows better; they never end the process.
import CEngine
import FileIO
import SimulatedIO
import TestSupport
import Testing

@testable import Storage

@Suite struct ContradictionTests {
    private func expectCorruption(_ body: () throws -> Void) {
        let error = #expect(throws: StorageError.self) { try body() }
        guard case .corruption? = error else {
            Issue.record("\(String(describing: error)) is no corruption")
            return
        }
    }

    @Test func tablesOutOfOrderAreNotMerged() throws {
        let system = SimulatedFileSystem(seed: 1)
        func add(_ builder: inout TableBuilder, _ key: [UInt8], _ trailer: UInt64) throws {
            try key.withRawBytes { (key) throws(StorageError) in
                try builder.add(key: key, trailer: trailer, value: UnsafeRawBufferPointer(start: nil, count: 0))
            }
        }
        var builder = TableBuilder(
            file: try system.open("t.sst", .create), identity: TableIdentity(store: 1, number: 1),
            options: TableOptions(blockBytes: 512, bloomBitsPerKey: 10))
        try add(&builder, [5], 0x201)
        try add(&builder, [5], 0x101)
        expectCorruption { try add(&builder, [5], 0x101) }
        expectCorruption { try add(&builder, [5], 0x301) }
        expectCorruption { try add(&builder, [4], 0x101) }
    }

    private static func metadata(_ number: UInt64, _ level: Int, _ smallest: UInt8, _ largest: UInt8) -> TableMetadata {
        var properties = TableProperties()
        properties.sequenceMin = 1
        properties.smallest = [smallest]
        properties.largest = [largest]
        return TableMetadata(
            number: number, level: level, summary: TableSummary(properties: properties, fileSize: 1, checksum: 1))
    }

    private func load(_ change: (inout ManifestState) -> Void) throws -> ManifestState {
        var state = ManifestState(store: 1)
        state.tables = [Self.metadata(1, 1, 10, 20), Self.metadata(2, 1, 21, 30), Self.metadata(3, 0, 10, 30)]
        change(&state)
        let record = Manifest.record(state.snapshot.encode(), position: 0, manifest: 9)
        return try Manifest.load(record, number: 9, path: "m")
    }

    @Test func manifestsThatCannotBe() throws {
        #expect(try load { _ in }.tables.count == 3)
        expectCorruption { _ = try load { $0.tables.append(Self.metadata(2, 0, 1, 2)) } }
        expectCorruption { _ = try load { $0.tables.append(Self.metadata(4, 1, 20, 21)) } }
        expectCorruption { _ = try load { $0.tables.append(Self.metadata(4, 0, 3, 2)) } }
        expectCorruption { _ = try load { $0.tables.append(Self.metadata(1 << 62, 0, 3, 4)) } }
        expectCorruption { _ = try load { $0.nextNumber = .max } }
        expectCorruption { _ = try load { $0.lastSequence = 1 << 60 } }
        expectCorruption { _ = try load { $0.applied = LogPosition(index: .max, term: 1) } }
        #expect(StoreFile("18446744073709551615.sst") == nil && StoreFile("000017.sst") == .table(17))
        #expect(WriteAheadLog.number("wal-18446744073709551615.log") == nil)
    }

    @Test func preamblesThatCannotBe() throws {
        func scan(_ number: UInt64, first: UInt64, previous: UInt64, end: UInt64) throws -> WALScan {
            let preamble = WALPreamble(number: number, firstIndex: first, previousNumber: previous, previousEnd: end)
            var log: [UInt8] = []
            preamble.encode().withUnsafeBytes { log.appendFrame(.preamble, $0, log: number, at: 0, syncedOffset: 0) }
            return try WALScan(log, number: number, path: "w") { _, _ in }
        }
        #expect(try scan(3, first: 1, previous: 2, end: 100).preamble != nil)
        expectCorruption { _ = try scan(3, first: 0, previous: 2, end: 100) }
        expectCorruption { _ = try scan(3, first: .max, previous: 2, end: 100) }
        expectCorruption { _ = try scan(3, first: 1, previous: 3, end: 100) }
        expectCorruption { _ = try scan(3, first: 1, previous: 2, end: .max) }
    }

    @Test func checkpointsThatCannotBe() throws {
        typealias Entry = HashLogCheckpoint.Entry
        func decode(_ change: (inout HashLogCheckpoint) -> Void) throws -> HashLogCheckpoint {
            var checkpoint = HashLogCheckpoint(
                store: 1, applied: LogPosition(index: 5, term: 1), lastSequence: 9, nextNumber: 4,
                files: [
                    Entry(number: 1, bytes: 100, isSealed: true, sequenceMax: 5),
                    Entry(number: 3, bytes: 100, isSealed: false, sequenceMax: 9),
                ])
            change(&checkpoint)
            return try HashLogCheckpoint.decode(checkpoint.encode(), path: "c")
        }
        #expect(try decode { _ in }.files.count == 2)
        expectCorruption { _ = try decode { $0.files.reverse() } }
        expectCorruption { _ = try decode { $0.files[1].number = 1 } }
        expectCorruption { _ = try decode { $0.nextNumber = 3 } }
        expectCorruption { _ = try decode { $0.nextNumber = .max } }
        expectCorruption { _ = try decode { $0.files[0].isSealed = false } }
        expectCorruption { _ = try decode { $0.files[0].bytes = 1 << 33 } }
        expectCorruption { _ = try decode { $0.files[1].sequenceMax = 11 } }
        expectCorruption { _ = try decode { $0.lastSequence = .max } }
        expectCorruption { _ = try decode { $0.applied.index = .max } }
    }

    /// A record that is newer than its file, and a file that begins behind its end.
    @Test func recordsFromTheFuture() throws {
        let files = try Fixture("Storage/hashLog").load()
        let checkpoint = try #require(files.first { $0.name == HashLogCheckpoint.name })
        let store = try HashLogCheckpoint.decode(checkpoint.bytes, path: "").store
        func open(_ change: (inout [UInt8]) -> Void) throws -> [KeyValue] {
            let system = SimulatedFileSystem(seed: 1)
            try GoldenStore.hashLog.place(files, in: system)
            var bytes = try system.bytes("data/000003.data")
            change(&bytes)
            try system.setBytes("data/000003.data", bytes)
            return try GoldenStore.hashLog.content(system)
        }
        #expect(try open { _ in }.count > 40)
        expectCorruption {
            _ = try open { bytes in
                let start = DataFile.headerBytes
                bytes.store(littleEndian: UInt32(1 << 30), at: start + 4)
                let record = bytes[start...].withUnsafeBytes { rest -> (UInt32, Int) in
                    let count = RecordHeader(rest)?.recordBytes ?? 0
                    let checksums = RecordChecksum(store: store, file: 3)
                    return (checksums.of(UnsafeRawBufferPointer(rebasing: rest[..<count]), at: UInt32(start)), count)
                }
                bytes.store(littleEndian: record.0, at: start)
            }
        }
        expectCorruption {
            _ = try open { bytes in
                bytes.replaceSubrange(
                    ..<DataFile.headerBytes, with: DataFile.header(number: 3, baseSequence: 1 << 40, store: store))
            }
        }
    }

    /// Hints whose checksum holds but that don't tile their data file: the data file is read instead.
    @Test func hintsThatLieAreLeftAside() throws {
        let files = try Fixture("Storage/hashLog").load()
        let hint = try #require(files.first { $0.name == "000001.hint" })
        let right = GoldenStore.hashLog.expected.scan(from: [], to: nil, limit: .max)
        // The first entry's key length, value length and offset, and the last byte of an entry that is cut off.
        for position in [44, 48, 52, hint.bytes.count - 5] {
            var bytes = Array(hint.bytes.dropLast(4))
            if position < 60 { bytes[position] ^= 1 } else { bytes.removeLast() }
            bytes.append(littleEndian: strata_crc32c(0, bytes, bytes.count))
            let system = SimulatedFileSystem(seed: 1)
            try GoldenStore.hashLog.place(files, in: system)
            try system.setBytes("data/000001.hint", bytes)
            #expect(same(try GoldenStore.hashLog.content(system), right), "byte \(position)")
        }
    }
}
