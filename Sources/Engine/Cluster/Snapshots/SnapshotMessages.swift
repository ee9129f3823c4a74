// What two hosts say to each other while one sends the other a snapshot; the layout is in Docs/Formats/snapshot.md.
// Messages may be lost or come twice: an offer is repeated until it is answered, and chunks are asked for again by
// their place.
import Raft

/// A message of a snapshot transfer. `transfer` is unique per sending host and start of it.
struct SnapshotMessage {
    enum Content {
        /// Leader to member: this is what I have. `term` is the leader's.
        case offer(term: Term, SnapshotManifest)
        /// Member to leader: send these files, in this order, each from its offset on; forget what was sent before.
        case want([WantedFile])
        /// Leader to member: bytes of a file.
        case chunk(SnapshotChunk)
        /// Member to leader: so many bytes of what was last wanted are written. Also says "I am still busy".
        case received(UInt64)
        /// Member to leader: the end. `index` is what the member has now, 0 when it did not work, for the reason given.
        case finished(index: LogIndex, reason: String)
    }
    var group: GroupID
    var transfer: UInt64
    var content: Content
}

/// A file that a member lacks, from an offset on.
struct WantedFile: Hashable {
    /// Position in the manifest.
    var file: UInt32
    var offset: UInt64
}

/// A piece of a file.
struct SnapshotChunk: Sendable {
    var file: UInt32
    var offset: UInt64
    /// CRC-32C of `bytes`.
    var checksum: UInt32
    var bytes: PieceBytes
}

/// The bytes of a piece.
enum PieceBytes: Sendable {
    /// As part of a decoded batch, or to be encoded.
    case slice(ArraySlice<UInt8>)
    /// As received by a transport that knows pieces.
    case received(ReceivedPiece)

    var count: Int {
        switch self {
        case .slice(let bytes): bytes.count
        case .received(let piece): piece.head.pieceBytes
        }
    }
}

extension SnapshotMessage {
    private enum Kind: UInt8 { case offer = 1, want, chunk, received, finished }

    /// The body of a peer message, behind its tag.
    func encode(into writer: inout ByteWriter) {
        func begin(_ kind: Kind) {
            writer.write(kind.rawValue)
            writer.write(group.rawValue)
            writer.write(transfer)
        }
        switch content {
        case .offer(let term, let manifest):
            begin(.offer)
            writer.write(term)
            manifest.encode(into: &writer)
        case .want(let files):
            begin(.want)
            for file in files {
                writer.write(file.file)
                writer.write(file.offset)
            }
        case .chunk(let chunk):
            begin(.chunk)
            writer.write(chunk.file)
            writer.write(chunk.offset)
            writer.write(chunk.checksum)
            switch chunk.bytes {
            case .slice(let bytes): writer.bytes.append(contentsOf: bytes)
            case .received(let piece): writer.bytes.append(contentsOf: piece.bytes)
            }
        case .received(let count):
            begin(.received)
            writer.write(count)
        case .finished(let index, let reason):
            begin(.finished)
            writer.write(index)
            writer.bytes.append(contentsOf: Array(reason.utf8))
        }
    }

    /// Nil when the body is malformed.
    init?(_ reader: inout ByteReader) {
        guard let kind = reader.read(UInt8.self).flatMap(Kind.init(rawValue:)), let group = reader.read(UInt64.self),
            let transfer = reader.read(UInt64.self)
        else { return nil }
        self.group = GroupID(rawValue: group)
        self.transfer = transfer
        switch kind {
        case .offer:
            guard let term = reader.read(UInt64.self), term <= PeerCodecLimits.positionMax,
                let manifest = SnapshotManifest(&reader), reader.isAtEnd
            else {
                return nil
            }
            content = .offer(term: term, manifest)
        case .want:
            var files: [WantedFile] = []
            while !reader.isAtEnd {
                // In the order of the manifest, so that no file is asked for twice.
                guard let file = reader.read(UInt32.self), let offset = reader.read(UInt64.self),
                    files.last.map({ $0.file < file }) ?? true, files.count < SnapshotManifest.filesMax,
                    offset <= SnapshotManifest.fileBytesMax
                else { return nil }
                files.append(WantedFile(file: file, offset: offset))
            }
            content = .want(files)
        case .chunk:
            guard let file = reader.read(UInt32.self), let offset = reader.read(UInt64.self),
                let checksum = reader.read(UInt32.self), offset <= SnapshotManifest.fileBytesMax
            else { return nil }
            content = .chunk(
                SnapshotChunk(
                    file: file, offset: offset, checksum: checksum, bytes: .slice(reader.bytes[reader.position...])))
        case .received:
            guard let count = reader.read(UInt64.self), reader.isAtEnd else { return nil }
            content = .received(count)
        case .finished:
            guard let index = reader.read(UInt64.self), index <= PeerCodecLimits.positionMax else { return nil }
            content = .finished(
                index: index, reason: String(decoding: reader.bytes[reader.position...], as: UTF8.self))
        }
    }
}
