// Files that gather for a snapshot: what an earlier try left counts only where it is of the same checkpoint, whatever
// names, lengths and checksums say, and pieces of any length give the bytes that were sent.
import CEngine
import FileIO
import Raft
import SimulatedIO
import Testing

@testable import Cluster

@Suite struct IncomingFilesTests {
    /// As many of our files are: it ends with its own CRC-32C.
    private static func checked(_ body: [UInt8]) -> [UInt8] {
        var writer = ByteWriter()
        writer.bytes = body
        writer.write(strata_crc32c(0, body, body.count))
        return writer.bytes
    }

    private static func manifest(_ checkpoint: UInt64, _ bytes: [UInt8]) -> SnapshotManifest {
        SnapshotManifest(
            format: "lsm", checkpoint: checkpoint, point: SnapshotPoint(index: 70, term: 3),
            membership: GroupMembership(configuration: Configuration(voters: [NodeID(1)]), version: 0),
            files: [
                .init(name: "CURRENT", byteCount: UInt64(bytes.count), checksum: strata_crc32c(0, bytes, bytes.count))
            ])
    }

    private static func piece(_ bytes: [UInt8], _ range: Range<Int>) -> SnapshotChunk {
        let piece = Array(bytes[range])
        return SnapshotChunk(
            file: 0, offset: UInt64(range.lowerBound), checksum: strata_crc32c(0, piece, piece.count),
            bytes: .slice(piece[...]))
    }

    private static func files(_ manifest: SnapshotManifest, _ fileSystem: any FileSystem) -> IncomingFiles {
        var settings = SnapshotSettings()
        settings.syncBytes = 8192
        settings.chunkBytes = 1024
        return IncomingFiles(folder: "data/x", fileSystem: fileSystem, manifest: manifest, settings: settings)
    }

    @Test func aFileOfAnotherCheckpointIsNotKeptForItsChecksum() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let (old, new) = (Self.checked(Array("names file 2".utf8)), Self.checked(Array("names file 5".utf8)))
        let (first, second) = (Self.manifest(1, old), Self.manifest(2, new))
        #expect(first.files == second.files, "the trap: name, length and checksum are the same")
        let earlier = Self.files(first, disk)
        #expect(try earlier.prepare() == [0])
        _ = try earlier.write(Self.piece(old, 0..<old.count))
        try earlier.verify()
        #expect(try Self.files(first, disk).prepare() == [UInt64(old.count)], "the same checkpoint goes on")
        let later = Self.files(second, disk)
        #expect(try later.prepare() == [0])
        _ = try later.write(Self.piece(new, 0..<new.count))
        try later.verify()
        #expect(try disk.readFile("data/x/CURRENT") == new)
    }

    @Test(arguments: [4096, 5000, 8192, 100])
    func piecesOfAnyLengthMakeTheFile(length: Int) throws {
        let disk = SimulatedFileSystem(seed: 2)
        let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let files = Self.files(Self.manifest(1, bytes), disk)
        #expect(try files.prepare() == [0])
        for start in stride(from: 0, to: bytes.count, by: length) {
            _ = try files.write(Self.piece(bytes, start..<min(start + length, bytes.count)))
        }
        try files.verify()
        disk.crash()
        #expect(try disk.readFile("data/x/CURRENT") == bytes)
    }

    /// Two threads write; the later piece may be there first.
    @Test(arguments: [4096, 5000, 1024])
    func piecesInAnyOrderMakeTheFile(length: Int) throws {
        let disk = SimulatedFileSystem(seed: 2)
        let bytes = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let files = Self.files(Self.manifest(1, bytes), disk)
        #expect(try files.prepare() == [0])
        let starts = Array(stride(from: 0, to: bytes.count, by: length))
        // 8, 10 or 40 pieces: 7 steps on each time, every piece has its turn.
        for start in starts.indices.map({ starts[($0 * 7 + 3) % starts.count] }) {
            _ = try files.write(Self.piece(bytes, start..<min(start + length, bytes.count)))
        }
        try files.verify()
        disk.crash()
        #expect(try disk.readFile("data/x/CURRENT") == bytes)
    }

    /// A piece of a transfer that was given up must not reach the files of the next.
    @Test func aClosedTransferWritesNothing() throws {
        let disk = SimulatedFileSystem(seed: 4)
        let (old, new) = ([UInt8](repeating: 1, count: 20_000), [UInt8](repeating: 2, count: 20_000))
        let earlier = Self.files(Self.manifest(1, old), disk)
        _ = try earlier.prepare()
        _ = try earlier.write(Self.piece(old, 0..<4096))
        earlier.close()
        let later = Self.files(Self.manifest(2, new), disk)
        #expect(try later.prepare() == [0])
        #expect(throws: SnapshotFailure.self) { try earlier.write(Self.piece(old, 4096..<20_000)) }
        _ = try later.write(Self.piece(new, 0..<20_000))
        try later.verify()
        #expect(try disk.readFile("data/x/CURRENT") == new)
    }

    /// A file under way has all its blocks, so its size says nothing; zeros at its end were never written.
    @Test func aReservedFileGoesOnWhereItsBytesEnd() throws {
        let disk = SimulatedFileSystem(seed: 5)
        let bytes = [UInt8](repeating: 7, count: 40_000)
        let manifest = Self.manifest(1, bytes)
        let files = Self.files(manifest, disk)
        _ = try files.prepare()
        _ = try files.write(Self.piece(bytes, 0..<16_384))
        #expect(try disk.open("data/x/CURRENT", .read).size() == 45_056, "ten blocks and one more")
        let again = Self.files(manifest, disk)
        #expect(try again.prepare() == [12_288])
        #expect(try disk.open("data/x/CURRENT", .read).size() == 12_288)
        _ = try again.write(Self.piece(bytes, 12_288..<40_000))
        try again.verify()
        #expect(try disk.readFile("data/x/CURRENT") == bytes)
    }

    /// The promised length and other bytes are no file under way: nothing of it counts.
    @Test func aWholeFileThatIsNotAsPromisedIsSentAgain() throws {
        let disk = SimulatedFileSystem(seed: 6)
        var bytes = [UInt8](repeating: 7, count: 40_000)
        let manifest = Self.manifest(1, bytes)
        let files = Self.files(manifest, disk)
        _ = try files.prepare()
        bytes[20_000] = 8
        _ = try files.write(Self.piece(bytes, 0..<40_000))
        #expect(try disk.open("data/x/CURRENT", .read).size() == 40_000)
        #expect(try Self.files(manifest, disk).prepare() == [0])
    }

    /// Without room nothing of it stays in the way.
    @Test func aFileThatDoesNotFitIsRefusedAtOnce() throws {
        let disk = SimulatedFileSystem(seed: 7)
        let bytes = [UInt8](repeating: 7, count: 40_000)
        let files = Self.files(Self.manifest(1, bytes), disk)
        _ = try files.prepare()
        disk.capacityBytes = 20_000
        #expect(throws: SnapshotFailure.self) { try files.write(Self.piece(bytes, 0..<4096)) }
        #expect(try !disk.exists("data/x/CURRENT"))
    }

    /// Pieces under way may leave any number of bytes; the next try begins before them, at a block.
    @Test func aTornFileGoesOnAtABlock() throws {
        let disk = SimulatedFileSystem(seed: 3)
        let bytes = [UInt8](repeating: 7, count: 20_000)
        let manifest = Self.manifest(1, bytes)
        let files = Self.files(manifest, disk)
        _ = try files.prepare()
        _ = try files.write(Self.piece(bytes, 0..<9000))
        let again = Self.files(manifest, disk)
        #expect(try again.prepare() == [4096])
        _ = try again.write(Self.piece(bytes, 4096..<20_000))
        try again.verify()
        #expect(try disk.readFile("data/x/CURRENT") == bytes)
    }
}
