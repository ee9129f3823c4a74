// What a snapshot consists of: where in the log it stands, who the members were there, and its files. The same bytes
// open a transfer and, under a header, mark a half-done installation on disk. Docs/Formats/snapshot.md.
import CEngine
public import Raft

/// The description of one snapshot.
public struct SnapshotManifest: Hashable, Sendable {
    public struct File: Hashable, Sendable {
        /// A plain name, without folder.
        public var name: String
        public var byteCount: UInt64
        /// CRC-32C of the whole file. Finds damage; it tells no two files apart: one that ends with its own CRC-32C, as
        /// many of ours do, has the same checksum as every other one.
        public var checksum: UInt32
        public init(name: String, byteCount: UInt64, checksum: UInt32) {
            self.name = name
            self.byteCount = byteCount
            self.checksum = checksum
        }
    }

    /// What wrote the files; only the same can read them.
    public var format: String
    /// Names the checkpoint among all nodes and times. Files of an earlier try count only when it is the same.
    public var checkpoint: UInt64
    /// The last entry that the files cover.
    public var point: SnapshotPoint
    /// Offset of the next record after `point`; 0 where entries hold no records.
    public var nextOffset: UInt64
    /// The members as of `point`.
    public var membership: GroupMembership
    public var files: [File]

    public init(
        format: String, checkpoint: UInt64, point: SnapshotPoint, nextOffset: UInt64 = 0, membership: GroupMembership,
        files: [File]
    ) {
        self.format = format
        self.checkpoint = checkpoint
        self.point = point
        self.nextOffset = nextOffset
        self.membership = membership
        self.files = files
    }

    public var byteCount: UInt64 { files.reduce(0) { $0 + $1.byteCount } }

    /// Bounds of what is believed of a peer.
    static let filesMax = 1 << 20
    static let nameBytesMax = 200
    static let fileBytesMax: UInt64 = 1 << 40
    /// Of the entry and the offset that a log begins anew behind: as much again is left for what follows.
    static let positionMax = PeerCodecLimits.positionMax / 2

    func encode(into writer: inout ByteWriter) {
        writer.write(counted: Array(format.utf8))
        writer.write(checkpoint)
        writer.write(point.index)
        writer.write(point.term)
        writer.write(nextOffset)
        writer.write(counted: ConfigurationCodec.encode(membership))
        writer.write(UInt32(files.count))
        for file in files {
            writer.write(counted: Array(file.name.utf8))
            writer.write(file.byteCount)
            writer.write(file.checksum)
        }
    }

    init?(_ reader: inout ByteReader) {
        guard let format = reader.readCounted().flatMap({ String(validating: $0, as: UTF8.self) }),
            let checkpoint = reader.read(UInt64.self),
            let index = reader.read(UInt64.self), let term = reader.read(UInt64.self),
            let nextOffset = reader.read(UInt64.self),
            let members = reader.readCounted(), let membership = ConfigurationCodec.decodeMembership(members),
            let count = reader.read(UInt32.self), Int(count) <= Self.filesMax
        else { return nil }
        var files: [File] = []
        for _ in 0..<count {
            guard let name = reader.readCounted(), let byteCount = reader.read(UInt64.self),
                let checksum = reader.read(UInt32.self)
            else { return nil }
            let file = File(
                name: String(decoding: name, as: UTF8.self), byteCount: byteCount, checksum: checksum)
            guard file.isPlausible else { return nil }
            files.append(file)
        }
        guard Set(files.map(\.name)).count == files.count, index > 0,
            max(term, membership.version) <= PeerCodecLimits.positionMax, max(index, nextOffset) <= Self.positionMax
        else { return nil }
        self.init(
            format: format, checkpoint: checkpoint,
            point: SnapshotPoint(index: index, term: term), nextOffset: nextOffset, membership: membership, files: files
        )
    }

    /// "STRATASN" read as little endian.
    private static let magic: UInt64 = 0x4e53_4154_4152_5453
    private static let version: UInt32 = 2

    /// The manifest as a file: `magic u64 | version u32 | manifest | CRC-32C of all before u32`.
    public var fileBytes: [UInt8] {
        var writer = ByteWriter()
        writer.write(Self.magic)
        writer.write(Self.version)
        encode(into: &writer)
        let checksum = writer.bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) }
        writer.write(checksum)
        return writer.bytes
    }

    /// Nil when the bytes are not a whole manifest of this version.
    public init?(fileBytes: [UInt8]) {
        guard fileBytes.count > 16 else { return nil }
        let body = fileBytes.count - 4
        let checksum = fileBytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, body) }
        var tail = ByteReader(fileBytes[body...])
        var reader = ByteReader(fileBytes[..<body])
        guard tail.read(UInt32.self) == checksum, reader.read(UInt64.self) == Self.magic,
            reader.read(UInt32.self) == Self.version, let manifest = SnapshotManifest(&reader), reader.isAtEnd
        else { return nil }
        self = manifest
    }
}

extension SnapshotManifest.File {
    /// A peer's name for a file must not lead anywhere else.
    fileprivate var isPlausible: Bool {
        let bytes = name.utf8
        return !bytes.isEmpty && bytes.count <= SnapshotManifest.nameBytesMax
            && byteCount <= SnapshotManifest.fileBytesMax
            && name != "." && name != ".."
            && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "\\") }
    }
}
