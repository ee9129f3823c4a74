// Files that gather for a snapshot: what an earlier try left counts only where it is of the same checkpoint, whatever names,
// lengths and checksums say, and pieces of any length give the bytes that were sent.
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
            file: 0, offset: UInt64(range.lowerBound), checksum: strata_crc32c(0, piece, piece.count), bytes: piece[...]
        )
    }

    private static func files(_ manifest: SnapshotManifest, _ fileSystem: any FileSystem) -> IncomingFiles {
        IncomingFiles(folder: "data/x", fileSystem: fileSystem, manifest: manifest, syncBytes: 8192)
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

    /// A torn piece leaves any number of bytes; the next try begins at a block.
    @Test func aTornFileGoesOnAtABlock() throws {
        let disk = SimulatedFileSystem(seed: 3)
        let bytes = [UInt8](repeating: 7, count: 20_000)
        let manifest = Self.manifest(1, bytes)
        let files = Self.files(manifest, disk)
        _ = try files.prepare()
        _ = try files.write(Self.piece(bytes, 0..<9000))
        let again = Self.files(manifest, disk)
        #expect(try again.prepare() == [8192])
        _ = try again.write(Self.piece(bytes, 8192..<20_000))
        try again.verify()
        #expect(try disk.readFile("data/x/CURRENT") == bytes)
    }
}
