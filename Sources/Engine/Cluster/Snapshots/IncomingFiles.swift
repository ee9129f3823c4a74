// The member's file side of a transfer: gathering received pieces in a folder until every file has its length and its
// checksum and is durable. Pieces go past the page cache: gigabytes of dirty pages would let every small sync of this disk
// wait for them. It must never take a file of another checkpoint for one of this. Blocks; runs on the thread for background
// work.
import CEngine
import FileIO
import Synchronization

/// Memory as direct I/O wants it, used again for every piece.
private final class StagingBuffer: @unchecked Sendable {
    // Unchecked: it is part of the state of `IncomingFiles`, and touched only while that is locked.
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    deinit { memory.deallocate() }

    /// Takes in `bytes` and zeros up to the end of their last block. Valid until the next call.
    func hold(_ bytes: ArraySlice<UInt8>) -> UnsafeRawBufferPointer {
        let alignment = FileCaching.alignmentBytes
        let count = (bytes.count + alignment - 1) / alignment * alignment
        if memory.count < count {
            memory.deallocate()
            memory = .allocate(byteCount: count, alignment: alignment)
        }
        bytes.withUnsafeBytes { memory.copyMemory(from: $0) }
        memory[bytes.count..<count].initializeMemory(as: UInt8.self, repeating: 0)
        return UnsafeRawBufferPointer(rebasing: memory[..<count])
    }
}

/// Received files on their way to being a snapshot.
final class IncomingFiles: Sendable {
    private struct Open: Sendable {
        var number: Int
        var caching: FileCaching
        var file: any File
    }
    private struct State: Sendable {
        /// Bytes written of each file, and their checksum.
        var written: [UInt64]
        var checksums: [UInt32]
        var open: Open?
        /// Through the page cache, of the open file.
        var unsynced: UInt64 = 0
        /// Where the file system has direct I/O.
        var isDirectPossible = true
        var staging = StagingBuffer()
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

    /// Makes the folder ready, keeping what an earlier try has of the same checkpoint. Returns how much of each file is
    /// there.
    func prepare() throws(SnapshotFailure) -> [UInt64] {
        try locked { state throws(FileIOError) in
            try removeOthers()
            for (number, entry) in manifest.files.enumerated() {
                let file = try fileSystem.open(path(number), .createOrOpen)
                var size = try file.size()
                if size > entry.byteCount { size = 0 }
                // A piece may have been torn; the next one begins where direct I/O can.
                if size < entry.byteCount { size -= size % UInt64(FileCaching.alignmentBytes) }
                var checksum = try SnapshotFiles.checksum(of: file, count: size)
                if size == entry.byteCount, checksum != entry.checksum { (size, checksum) = (0, 0) }
                if try file.size() != size { try file.truncate(to: size) }
                if size == entry.byteCount { try file.sync() }
                state.written[number] = size
                state.checksums[number] = checksum
            }
            return state.written
        }
    }

    /// Leaves an empty folder, or one of the same checkpoint with no names but its own.
    private func removeOthers() throws(FileIOError) {
        let origin = folder + ".origin"
        var number = ByteWriter()
        number.write(manifest.checkpoint)
        try fileSystem.createDirectory(folder)
        if try fileSystem.readFile(origin) != number.bytes {
            try fileSystem.removeTree(folder)
            try fileSystem.syncDirectory(fileSystem.directory(of: folder))
            try fileSystem.replaceFile(origin, with: number.bytes)
            try fileSystem.createDirectory(folder)
        }
        try fileSystem.syncDirectory(fileSystem.directory(of: folder))
        for name in try fileSystem.list(folder) where !manifest.files.contains(where: { $0.name == name }) {
            try fileSystem.remove(folder + "/" + name)
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
            try write(chunk, &state)
            state.checksums[number] = chunk.bytes.withUnsafeBytes {
                strata_crc32c(state.checksums[number], $0.baseAddress, $0.count)
            }
            state.written[number] += UInt64(chunk.bytes.count)
            let isWhole = state.written[number] == manifest.files[number].byteCount
            if let open = state.open, isWhole || state.unsynced >= syncBytes {
                if isWhole, open.caching == .direct { try open.file.truncate(to: manifest.files[number].byteCount) }
                try open.file.sync()
                state.unsynced = 0
            }
            if isWhole { state.open = nil }
            return chunk.bytes.count
        }
    }

    private func write(_ chunk: SnapshotChunk, _ state: inout State) throws(FileIOError) {
        let number = Int(chunk.file)
        let end = chunk.offset + UInt64(chunk.bytes.count)
        let alignment = UInt64(FileCaching.alignmentBytes)
        let isAligned =
            chunk.offset % alignment == 0
            && (end % alignment == 0 || end == manifest.files[number].byteCount)
        let file = try open(number, isAligned ? .direct : .buffered, &state)
        if state.open?.caching == .direct {
            try writeDirect(chunk, to: file, state.staging)
            return
        }
        var failure: FileIOError?
        chunk.bytes.withUnsafeBytes { bytes in
            do throws(FileIOError) {
                try file.write(bytes, at: chunk.offset)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        state.unsynced += UInt64(chunk.bytes.count)
    }

    /// The file's last block is filled up with zeros, which are cut off when the file is whole.
    private func writeDirect(_ chunk: SnapshotChunk, to file: any File, _ staging: StagingBuffer) throws(FileIOError) {
        try file.write(staging.hold(chunk.bytes), at: chunk.offset)
    }

    private func open(_ number: Int, _ caching: FileCaching, _ state: inout State) throws(FileIOError) -> any File {
        let caching = state.isDirectPossible ? caching : .buffered
        if let open = state.open, open.number == number, open.caching == caching { return open.file }
        if let open = state.open, state.unsynced > 0 {
            try open.file.sync()
            state.unsynced = 0
        }
        do throws(FileIOError) {
            let file = try fileSystem.open(path(number), .readWrite, caching)
            state.open = Open(number: number, caching: caching, file: file)
            return file
        } catch {
            guard caching == .direct, error.reason == .other else { throw error }
            state.isDirectPossible = false
            return try open(number, .buffered, &state)
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
