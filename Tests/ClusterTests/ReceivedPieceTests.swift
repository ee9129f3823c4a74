// Pieces of files as a transport receives them to where they stay: nothing but a piece is taken for one, and what is
// gathered from them is what came in batches.
import CEngine
import FileIO
import Raft
import SimulatedIO
import Testing

@testable import Cluster

@Suite struct ReceivedPieceTests {
    private static let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }

    private static func batch(_ content: SnapshotMessage.Content) -> [UInt8] {
        var writer = ByteWriter()
        PeerCodec.encode(SnapshotMessage(group: .keyValue, transfer: 9, content: content), into: &writer)
        return writer.bytes
    }

    private static func chunk(_ bytes: ArraySlice<UInt8>, at offset: UInt64 = 0) -> SnapshotChunk {
        let checksum = bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) }
        return SnapshotChunk(file: 0, offset: offset, checksum: checksum, bytes: .slice(bytes))
    }

    @Test(arguments: [1, 4095, 4096, 4097, 131_072, 300_000])
    func aPieceIsWhatWasSent(count: Int) throws {
        let chunk = Self.chunk(Self.bytes[..<count], at: 8192)
        let piece = try #require(ReceivedPiece(batch: Self.batch(.chunk(chunk)), from: PiecePool()))
        #expect(piece.checksum == chunk.checksum)
        #expect(Array(piece.bytes) == Array(Self.bytes[..<count]))
        #expect(piece.blocks.count % FileCaching.alignmentBytes == 0)
        #expect(piece.blocks.count - count < FileCaching.alignmentBytes)
        #expect(piece.blocks.dropFirst(count).allSatisfy { $0 == 0 })
        guard case .chunk(let head) = piece.head.message.content else { throw Wrong() }
        #expect(piece.head.message.group == .keyValue && piece.head.message.transfer == 9)
        #expect(head.file == 0 && head.offset == 8192 && head.checksum == chunk.checksum)
    }

    @Test func nothingElseIsTakenForAPiece() {
        let whole = Self.batch(.chunk(Self.chunk(Self.bytes[..<5000])))
        for other in [
            [], Array(whole[..<37]), Self.batch(.received(17)), Self.batch(.chunk(Self.chunk([]))), whole + whole,
            Array(whole.dropLast()), Self.batch(.finished(index: 7, reason: String(repeating: "long ", count: 20))),
            Self.batch(.want((0..<40).map { WantedFile(file: $0, offset: 0) })),
        ] {
            #expect(ReceivedPiece(batch: other, from: PiecePool()) == nil)
        }
    }

    @Test func whatIsUsedAgainHoldsNothingOld() throws {
        let pool = PiecePool()
        let full = [UInt8](repeating: 0xFF, count: 8192)
        for count in [8192, 5000] {
            let bytes = count == 8192 ? full[...] : Self.bytes[..<count]
            let piece = try #require(ReceivedPiece(batch: Self.batch(.chunk(Self.chunk(bytes))), from: pool))
            #expect(Array(piece.blocks) == Array(bytes) + [UInt8](repeating: 0, count: 8192 - count))
        }
    }

    @Test func aStreamThatEndsLeavesNoPiece() throws {
        let batch = Self.batch(.chunk(Self.chunk(Self.bytes[...])))
        let head = try #require(PieceHead(Array(batch[..<PieceHead.byteCount]), batchBytes: batch.count))
        var reads = 0
        let isWhole = ReceivedPiece(head, from: PiecePool()).fill { _ in
            reads += 1
            return reads < 3
        }
        #expect(!isWhole)
    }

    /// Pieces and batches of one file, mixed.
    @Test(arguments: [4096, 65_536, 100_000])
    func filesAreGatheredFromBoth(size: Int) throws {
        let disk = SimulatedFileSystem(seed: 1)
        let manifest = SnapshotManifest(
            format: "lsm", checkpoint: 1, point: SnapshotPoint(index: 70, term: 3),
            membership: GroupMembership(configuration: Configuration(voters: [NodeID(1)]), version: 0),
            files: [
                .init(
                    name: "CURRENT", byteCount: UInt64(Self.bytes.count),
                    checksum: strata_crc32c(0, Self.bytes, Self.bytes.count))
            ])
        var settings = SnapshotSettings()
        settings.writeBytes = 8192
        let files = IncomingFiles(folder: "data/x", fileSystem: disk, manifest: manifest, settings: settings)
        #expect(try files.prepare() == [0])
        let pool = PiecePool()
        for (number, start) in stride(from: 0, to: Self.bytes.count, by: size).enumerated() {
            let chunk = Self.chunk(Self.bytes[start..<min(start + size, Self.bytes.count)], at: UInt64(start))
            if number % 3 == 2 {
                _ = try files.write(chunk)
                continue
            }
            let piece = try #require(ReceivedPiece(batch: Self.batch(.chunk(chunk)), from: pool))
            _ = try files.write(piece.chunk)
        }
        try files.verify()
        #expect(try disk.readFile("data/x/CURRENT") == Self.bytes)
    }

    @Test func aDamagedPieceIsRefused() throws {
        let manifest = SnapshotManifest(
            format: "lsm", checkpoint: 1, point: SnapshotPoint(index: 70, term: 3),
            membership: GroupMembership(configuration: Configuration(voters: [NodeID(1)]), version: 0),
            files: [.init(name: "CURRENT", byteCount: 4096, checksum: 0)])
        let files = IncomingFiles(
            folder: "data/x", fileSystem: SimulatedFileSystem(seed: 1), manifest: manifest,
            settings: SnapshotSettings())
        _ = try files.prepare()
        var batch = Self.batch(.chunk(Self.chunk(Self.bytes[..<4096])))
        batch[PieceHead.byteCount + 100] ^= 1
        let piece = try #require(ReceivedPiece(batch: batch, from: PiecePool()))
        #expect(throws: SnapshotFailure.self) { try files.write(piece.chunk) }
    }

    private struct Wrong: Error {}
}
