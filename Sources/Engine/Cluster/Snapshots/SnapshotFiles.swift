// The file side of a transfer: reading pieces of a checkpoint, and gathering received pieces in a folder until every file
// has its length and its checksum and is durable. Blocks; runs on the thread for background work.
import CEngine
public import FileIO
import Raft
import Synchronization

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

/// Received files on their way to being a snapshot.
final class IncomingFiles: Sendable {
    private struct State: Sendable {
        /// Bytes written of each file, and their checksum.
        var written: [UInt64]
        var checksums: [UInt32]
        var open: (number: Int, file: any File)?
        var unsynced: UInt64 = 0
    }
    private let folder: String
    private let fileSystem: any FileSystem
    private let manifest: SnapshotManifest
    private let syncBytes: UInt64
    private let state: Mutex<State>

    init(folder: String, fileSystem: any FileSystem, manifest: SnapshotManifest, syncBytes: UInt64) {
        self.folder = folder
        self.fileSystem = fileSystem
        self.manifest = manifest
        self.syncBytes = syncBytes
        let count = manifest.files.count
        state = Mutex(
            State(written: Array(repeating: 0, count: count), checksums: Array(repeating: 0, count: count)))
    }

    /// Makes the folder ready, keeping of an earlier try what fits. Returns how much of each file is there.
    func prepare() throws(SnapshotFailure) -> [UInt64] {
        try locked { state throws(FileIOError) in
            try fileSystem.createDirectory(folder)
            try fileSystem.syncDirectory(fileSystem.directory(of: folder))
            for name in try fileSystem.list(folder) where !manifest.files.contains(where: { $0.name == name }) {
                try fileSystem.remove(folder + "/" + name)
            }
            for (number, entry) in manifest.files.enumerated() {
                let file = try fileSystem.open(path(number), .createOrOpen)
                let size = try file.size()
                if size > entry.byteCount {
                    try file.truncate(to: 0)
                    continue
                }
                let checksum = try SnapshotFiles.checksum(of: file, count: size)
                if size == entry.byteCount {
                    guard checksum == entry.checksum else {
                        try file.truncate(to: 0)
                        continue
                    }
                    try file.sync()
                }
                state.written[number] = size
                state.checksums[number] = checksum
            }
            return state.written
        }
    }

    /// Writes a piece at the end of what is there of its file; the last one makes the file durable. Returns its bytes.
    func write(_ chunk: SnapshotChunk) throws(SnapshotFailure) -> Int {
        guard chunk.isIntact else { throw SnapshotFailure("a piece of a snapshot was damaged on its way") }
        return try locked { state throws(FileIOError) in
            let number = Int(chunk.file)
            guard state.written[number] == chunk.offset else {
                throw FileIOError(
                    operation: .write, path: path(number), reason: .other, detail: "an earlier piece is missing")
            }
            if state.open?.number != number {
                state.open = (number, try fileSystem.open(path(number), .readWrite))
            }
            guard let file = state.open?.file else { return 0 }
            var failure: FileIOError?
            chunk.bytes.withUnsafeBytes { bytes in
                do throws(FileIOError) {
                    try file.write(bytes, at: chunk.offset)
                } catch {
                    failure = error
                }
                state.checksums[number] = strata_crc32c(state.checksums[number], bytes.baseAddress, bytes.count)
            }
            if let failure { throw failure }
            state.written[number] += UInt64(chunk.bytes.count)
            state.unsynced += UInt64(chunk.bytes.count)
            let isWhole = state.written[number] == manifest.files[number].byteCount
            if isWhole || state.unsynced >= syncBytes {
                try file.sync()
                state.unsynced = 0
            }
            if isWhole { state.open = nil }
            return chunk.bytes.count
        }
    }

    /// Checks that every file is whole, and makes their names durable. A file that is not what was promised is emptied, so
    /// that the next try gets it again.
    func verify() throws(SnapshotFailure) {
        let bad = try locked { state throws(FileIOError) -> String? in
            state.open = nil
            var bad: String?
            for (number, entry) in manifest.files.enumerated()
            where state.written[number] != entry.byteCount || state.checksums[number] != entry.checksum {
                try fileSystem.open(path(number), .readWrite).truncate(to: 0)
                state.written[number] = 0
                state.checksums[number] = 0
                bad = entry.name
            }
            if bad == nil { try fileSystem.syncDirectory(folder) }
            return bad
        }
        if let bad { throw SnapshotFailure("\(bad) is not what was promised; it will be sent again") }
    }

    private func path(_ number: Int) -> String { folder + "/" + manifest.files[number].name }

    /// A failed sync or write leaves a file of unknown content: all of the folder is given up.
    private func locked<Value: Sendable>(
        _ body: (inout State) throws(FileIOError) -> Value
    ) throws(SnapshotFailure) -> Value {
        let result = state.withLock { state -> Result<Value, FileIOError> in
            do throws(FileIOError) {
                return .success(try body(&state))
            } catch {
                state.open = nil
                return .failure(error)
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let error):
            if error.operation == .sync || error.operation == .write { try? fileSystem.removeTree(folder) }
            throw SnapshotFailure("\(error)")
        }
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
