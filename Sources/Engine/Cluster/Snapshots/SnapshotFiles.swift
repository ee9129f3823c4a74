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
            // The bytes are read to where they stay: each copy of a piece counts.
            var head = ByteWriter()
            let empty = SnapshotChunk(file: file, offset: offset, checksum: 0, bytes: .slice([]))
            PeerCodec.encode(SnapshotMessage(group: group, transfer: transfer, content: .chunk(empty)), into: &head)
            var writer = ByteWriter()
            let checksum: UInt32
            (writer.bytes, checksum) = try read(
                fileSystem.open(path, .read), count: count, at: offset, after: head.bytes)
            writer.fill(checksum, at: head.bytes.count - 4)
            writer.fillLength(from: 4)
            return writer.bytes
        } catch {
            throw SnapshotFailure("\(error)")
        }
    }

    /// Bytes that are read and then still near the processor when their checksum is taken.
    private static let blockBytes = 64 << 10

    /// `prefix` and `count` bytes of a file behind it, and the checksum of those.
    private static func read(
        _ file: any File, count: Int, at offset: UInt64, after prefix: [UInt8]
    ) throws(FileIOError) -> ([UInt8], checksum: UInt32) {
        var failure: FileIOError?
        var checksum: UInt32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: prefix.count + count) { buffer, initialized in
            _ = UnsafeMutableBufferPointer(rebasing: buffer[..<prefix.count]).initialize(fromContentsOf: prefix)
            let room = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[prefix.count...]))
            var done = 0
            do throws(FileIOError) {
                while done < count {
                    let block = UnsafeMutableRawBufferPointer(rebasing: room[done..<min(done + blockBytes, count)])
                    let got = try file.read(into: block, at: offset + UInt64(done))
                    checksum = strata_crc32c(checksum, block.baseAddress, got)
                    done += got
                    if got < block.count { break }
                }
            } catch {
                failure = error
            }
            initialized = prefix.count + done
        }
        if let failure { throw failure }
        guard bytes.count == prefix.count + count else {
            throw FileIOError(operation: .read, path: file.path, reason: .other, detail: "the file ends too early")
        }
        return (bytes, checksum)
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
