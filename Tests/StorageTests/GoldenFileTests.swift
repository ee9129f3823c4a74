// Golden files of every format: this build reads what was written when the format was fixed, writes the same bytes from
// the same history, and says plainly when a file comes from a version that it does not know.
import CEngine
import FileIO
import SimulatedIO
import TestSupport
import Testing

@testable import Storage

@Suite(.serialized) struct GoldenFileTests {
    private static func fixture(_ golden: GoldenStore) throws -> [(name: String, bytes: [UInt8])] {
        try Fixture("Storage/" + golden.rawValue).load()
    }

    @Test(arguments: GoldenStore.allCases) func isReadAndWrittenAsEver(golden: GoldenStore) throws {
        if Fixture.isRewriting { try Fixture("Storage/" + golden.rawValue).save(golden.make()) }
        let files = try Self.fixture(golden)
        #expect(files.allSatisfy { $0.bytes.count <= Fixture.fileBytesMax })
        let system = SimulatedFileSystem(seed: 1)
        try golden.place(files, in: system)
        let reports = try StorageInspection.verify("data", fileSystem: system)
        #expect(!reports.isEmpty && reports.allSatisfy { $0.fault == nil }, "\(reports)")
        #expect(same(try golden.content(system), golden.expected.scan(from: [], to: nil, limit: .max)))
        let made = try golden.make()
        #expect(made.map(\.name) == files.map(\.name))
        guard golden.isSameEveryTime else { return }
        for (one, other) in zip(made, files) {
            #expect(one.bytes == other.bytes, "\(other.name) is written differently: is it another format version?")
        }
    }

    /// What the fixtures are for: each format, in all its forms.
    @Test func everyFormIsThere() throws {
        func names(_ golden: GoldenStore) throws -> [String] { try Self.fixture(golden).map(\.name) }
        #expect(try names(.tree).count { $0.hasSuffix(".sst") } == 2)
        #expect(try names(.hashLog).contains { $0.hasSuffix(".hint") } && names(.hashLog).contains("CHECKPOINT"))
        #expect(try names(.log).contains("wal-wal-000001.log") && names(.log).contains("store-CURRENT"))
        func bytes(_ golden: GoldenStore) throws -> Int {
            try Self.fixture(golden).filter { $0.name.hasSuffix(".sst") }.reduce(0) { $0 + $1.bytes.count }
        }
        #expect(try bytes(.treeLZ4) < bytes(.tree) * 3 / 4 && bytes(.treeZstd) < bytes(.treeLZ4), "they are packed")
        var withRangeDeletes = 0
        for file in try Self.fixture(.treeParts) where file.name.hasSuffix(".sst") {
            let footer = try TableFooter(
                Array(file.bytes.suffix(TableFooter.bytes)), path: "", fileSize: UInt64(file.bytes.count))
            #expect(footer.hasIndexParts)
            withRangeDeletes += footer.rangeDeletes == .none ? 0 : 1
        }
        #expect(withRangeDeletes > 0)
    }

    /// A file of the version after `version`, sealed as that one would: the version is at `field`, the checksum of
    /// `sealed` at `sum`.
    private func laterVersion(
        _ golden: GoldenStore, _ name: String, version: UInt32 = 1, field: Int, sealed: Range<Int>, sum: Int
    ) throws -> StorageError? {
        let files = try Self.fixture(golden)
        let position = try #require(files.firstIndex { $0.name.hasSuffix(name) })
        var bytes = files[position].bytes
        func place(_ offset: Int) -> Int { offset < 0 ? bytes.count + offset : offset }
        let (field, sum) = (place(field), place(sum))
        let sealed = place(sealed.lowerBound)..<(sealed.upperBound <= 0 ? place(sealed.upperBound) : sealed.upperBound)
        let found = Array(bytes[field..<field + 4])
        #expect(found == [UInt8(version), 0, 0, 0], "the version is where it always was")
        bytes.store(littleEndian: version + 1, at: field)
        bytes.store(littleEndian: bytes[sealed].withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) }, at: sum)
        let system = SimulatedFileSystem(seed: 1)
        try golden.place(files, in: system)
        let path = golden.path(of: files[position].name)
        try system.setBytes(path, bytes)
        let error = #expect(throws: StorageError.self) { try golden.content(system) }
        #expect(error == .unsupportedVersion(path: path, found: version + 1, supported: version))
        #expect(error?.description.contains("use the build that wrote it") == true)
        return error
    }

    @Test func laterVersionsAreNamed() throws {
        _ = try laterVersion(.tree, ".sst", version: TableFooter.version, field: -88, sealed: -96..<(-4), sum: -4)
        _ = try laterVersion(.hashLog, "000001.data", field: 8, sealed: 0..<36, sum: 36)
        let log = WALFrame.headerBytes
        _ = try laterVersion(.log, "wal-000001.log", field: log + 8, sealed: 4..<log + 48, sum: 0)
        // The checkpoint's checksum ends the file.
        let checkpoint = try #require(try Self.fixture(.hashLog).first { $0.name == "CHECKPOINT" })
        let end = checkpoint.bytes.count - 4
        _ = try laterVersion(.hashLog, "CHECKPOINT", field: 8, sealed: 0..<end, sum: end)
    }

    /// A hint of a later version is no hint: the data file is read instead.
    @Test func laterHintsAreLeftAlone() throws {
        let files = try Self.fixture(.hashLog)
        let system = SimulatedFileSystem(seed: 1)
        try GoldenStore.hashLog.place(files, in: system)
        var count = 0
        for file in files where file.name.hasSuffix(".hint") {
            var bytes = file.bytes
            bytes.store(littleEndian: UInt32(2), at: 8)
            let sum = bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count - 4) }
            bytes.store(littleEndian: sum, at: bytes.count - 4)
            try system.setBytes(GoldenStore.hashLog.path(of: file.name), bytes)
            count += 1
        }
        #expect(count > 0)
        let content = try GoldenStore.hashLog.content(system)
        #expect(same(content, GoldenStore.hashLog.expected.scan(from: [], to: nil, limit: .max)))
    }
}
