// The sender's file side of a transfer: reading pieces of a checkpoint. Blocks; runs on the thread for background work.
import CEngine
public import FileIO
import Raft

enum SnapshotFiles {
    static let readBytes = 1 << 20

    /// Reads a piece of a file as a message that is ready to be sent.
    static func chunk(
        _ path: String, _ fileSystem: any FileSystem, group: GroupID, transfer: UInt64, file: UInt32, offset: UInt64,
        count: Int
    ) throws(SnapshotFailure) -> [UInt8] {
        do throws(FileIOError) {
            let bytes = try fileSystem.open(path, .read).read(count: count, at: offset)
            guard bytes.count == count else {
                throw FileIOError(operation: .read, path: path, reason: .other, detail: "the file ends too early")
            }
            let checksum = bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) }
            let chunk = SnapshotChunk(file: file, offset: offset, checksum: checksum, bytes: bytes[...])
            var writer = ByteWriter()
            writer.bytes.reserveCapacity(count + 64)
            PeerCodec.encode(SnapshotMessage(group: group, transfer: transfer, content: .chunk(chunk)), into: &writer)
            return writer.bytes
        } catch {
            throw SnapshotFailure("\(error)")
        }
    }

    /// CRC-32C of the first `count` bytes of a file.
    static func checksum(of file: any File, count: UInt64) throws(FileIOError) -> UInt32 {
        var checksum: UInt32 = 0
        var position: UInt64 = 0
        while position < count {
            let bytes = try file.read(count: Int(min(UInt64(readBytes), count - position)), at: position)
            if bytes.isEmpty { break }
            checksum = bytes.withUnsafeBytes { strata_crc32c(checksum, $0.baseAddress, $0.count) }
            position += UInt64(bytes.count)
        }
        return checksum
    }
}

extension SnapshotManifest.File {
    /// Describes a file by reading it.
    public init(_ name: String, in folder: String, _ fileSystem: any FileSystem) throws(FileIOError) {
        let file = try fileSystem.open(folder + "/" + name, .read)
        let size = try file.size()
        self.init(name: name, byteCount: size, checksum: try SnapshotFiles.checksum(of: file, count: size))
    }
}
