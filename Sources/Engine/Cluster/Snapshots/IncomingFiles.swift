// The member's file side of a transfer: gathering received pieces in a folder until every file has its length and its
// checksum and is durable. Pieces go past the page cache: gigabytes of dirty pages would let every small sync of this
// disk wait for them. It must never take a file of another checkpoint for one of this, nor touch the folder once it is
// closed. Blocks; runs on threads for background work, ``write(_:)`` on several at once.
import CEngine
import FileIO
import Synchronization

/// Received files on their way to being a snapshot.
final class IncomingFiles: Sendable {
    private struct Open: Sendable {
        var caching: FileCaching
        var file: any File
        /// Through the page cache.
        var unsynced: UInt64 = 0
    }
    private struct Entry: Sendable {
        /// Bytes from the beginning that are written without a gap, and their checksum.
        var written: UInt64
        var checksum: UInt32
        /// Pieces behind a gap, by their place.
        var ahead: [UInt64: (count: UInt64, checksum: UInt32)] = [:]
        var open: Open?

        /// A piece has been written.
        mutating func note(_ offset: UInt64, _ count: UInt64, _ checksum: UInt32) {
            ahead[offset] = (count, checksum)
            while let next = ahead.removeValue(forKey: written) {
                self.checksum = strata_crc32c_combine(self.checksum, next.checksum, next.count)
                written += next.count
            }
        }
    }
    private struct State: Sendable {
        var entries: [Entry]
        /// Where the file system has direct I/O.
        var isDirectPossible = true
        var isClosed = false
    }

    private let folder: String
    private let fileSystem: any FileSystem
    private let manifest: SnapshotManifest
    private let settings: SnapshotSettings
    private let state: Mutex<State>
    /// Each is held while a piece is being written; whoever holds all knows that nothing is.
    private let writers: [PieceWriter]

    init(folder: String, fileSystem: any FileSystem, manifest: SnapshotManifest, settings: SnapshotSettings) {
        self.folder = folder
        self.fileSystem = fileSystem
        self.manifest = manifest
        self.settings = settings
        let pool = PiecePool()
        writers = (0..<SnapshotWork.independentMax).map { _ in PieceWriter(pool) }
        state = Mutex(State(entries: manifest.files.map { _ in Entry(written: 0, checksum: 0) }))
    }

    // MARK: before and after

    /// Makes the folder ready, keeping what an earlier try has of the same checkpoint. Returns how much of each file is
    /// there.
    func prepare() throws(SnapshotFailure) -> [UInt64] {
        try guarded { () throws(FileIOError) in
            try removeOthers()
            var entries: [Entry] = []
            for (number, expected) in manifest.files.enumerated() {
                let file = try fileSystem.open(path(number), .createOrOpen)
                var size = try file.size()
                if size < expected.byteCount {
                    size = trusted(size)
                } else if size > expected.byteCount {
                    size = trusted(min(try writtenEnd(of: file, size), expected.byteCount))
                }
                var checksum = try SnapshotFiles.checksum(of: file, count: size)
                if size == expected.byteCount, checksum != expected.checksum { (size, checksum) = (0, 0) }
                if try file.size() != size { try file.truncate(to: size) }
                if size == expected.byteCount { try file.sync() }
                entries.append(Entry(written: size, checksum: checksum))
            }
            let sizes = entries.map(\.written)
            state.withLock { $0.entries = entries }
            return sizes
        }
    }

    /// How much of a file of which `size` bytes are there can be taken for written without a gap: of those that were
    /// under way at once any may be missing or torn. Ends where direct I/O can go on. Only the checksum of the whole is
    /// proof.
    private func trusted(_ size: UInt64) -> UInt64 {
        let doubtful = UInt64(SnapshotWork.independentMax * settings.chunkBytes)
        let trusted = size - min(size, doubtful)
        return trusted - trusted % UInt64(FileCaching.alignmentBytes)
    }

    /// Where the zeros begin that a reserved file ends with.
    private func writtenEnd(of file: any File, _ size: UInt64) throws(FileIOError) -> UInt64 {
        var end = size
        while end > 0 {
            let start = end - min(end, UInt64(SnapshotFiles.readBytes))
            let bytes = try file.read(count: Int(end - start), at: start)
            if let last = bytes.lastIndex(where: { $0 != 0 }) { return start + UInt64(last) + 1 }
            end = start
        }
        return 0
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

    /// Checks that every file is whole, and makes their names durable. A file that is not what was promised is emptied,
    /// so that the next try gets it again. Comes after the last piece.
    func verify() throws(SnapshotFailure) {
        let entries = state.withLock { $0.entries }
        let bad = try guarded { () throws(FileIOError) -> String? in
            var bad: String?
            for (number, expected) in manifest.files.enumerated()
            where entries[number].written != expected.byteCount || entries[number].checksum != expected.checksum {
                try fileSystem.open(path(number), .readWrite).truncate(to: 0)
                state.withLock { $0.entries[number] = Entry(written: 0, checksum: 0) }
                bad = expected.name
            }
            if bad == nil { try fileSystem.syncDirectory(folder) }
            return bad
        }
        if let bad { throw SnapshotFailure("\(bad) is not what was promised; it will be sent again") }
    }

    /// Waits for the pieces that are being written and refuses all others: the folder may be another's from here on.
    func close() {
        for writer in writers {
            writer.use { _ in
                state.withLock { state in
                    state.isClosed = true
                    for number in state.entries.indices { state.entries[number].open = nil }
                }
            }
        }
    }

    // MARK: pieces

    /// Writes a piece; the last one of a file makes it durable. Pieces may overtake each other. Returns its bytes.
    func write(_ chunk: SnapshotChunk) throws(SnapshotFailure) -> Int {
        let body = { (staging: inout StagingBuffer) -> Result<Void, SnapshotFailure> in
            do throws(SnapshotFailure) {
                let (checksum, bytes, blocks) = staging.ready(chunk.bytes)
                guard checksum == chunk.checksum else {
                    throw SnapshotFailure("a piece of a snapshot was damaged on its way")
                }
                try self.guarded { () throws(FileIOError) in try self.write(chunk, bytes, blocks) }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        var result: Result<Void, SnapshotFailure>?
        for writer in writers where result == nil { result = writer.useIfFree(body) }
        try (result ?? writers[0].use(body)).get()
        return chunk.bytes.count
    }

    /// - Parameter blocks: `bytes` and zeros behind them.
    private func write(
        _ chunk: SnapshotChunk, _ bytes: UnsafeRawBufferPointer, _ blocks: UnsafeRawBufferPointer
    ) throws(FileIOError) {
        let number = Int(chunk.file)
        let count = UInt64(chunk.bytes.count)
        let expected = manifest.files[number].byteCount
        let end = chunk.offset + count
        let alignment = UInt64(FileCaching.alignmentBytes)
        let isAligned = chunk.offset % alignment == 0 && (end % alignment == 0 || end == expected)
        let open = try open(number, isAligned ? .direct : .buffered)
        // The file's last block is filled up with zeros, which are cut off when the file is whole.
        let all = open.caching == .direct ? blocks : bytes
        for start in stride(from: 0, to: all.count, by: settings.writeBytes) {
            let part = UnsafeRawBufferPointer(rebasing: all[start..<min(start + settings.writeBytes, all.count)])
            try open.file.write(part, at: chunk.offset + UInt64(start))
        }
        let (isWhole, mustSync) = state.withLock { state in
            state.entries[number].note(chunk.offset, count, chunk.checksum)
            if open.caching == .buffered { state.entries[number].open?.unsynced += count }
            let isWhole = state.entries[number].written == expected
            let mustSync = state.entries[number].open.map { $0.unsynced >= settings.syncBytes } ?? false
            if mustSync { state.entries[number].open?.unsynced = 0 }
            if isWhole { state.entries[number].open = nil }
            return (isWhole, mustSync)
        }
        if isWhole { try open.file.truncate(to: expected) }
        if isWhole || mustSync { try open.file.sync() }
    }

    private func open(_ number: Int, _ caching: FileCaching) throws(FileIOError) -> Open {
        let (known, isDirectPossible, isClosed) = state.withLock { state in
            (state.entries[number].open, state.isDirectPossible, state.isClosed)
        }
        guard !isClosed else {
            throw FileIOError(
                operation: .open, path: path(number), reason: .other, detail: "another transfer has taken its place")
        }
        let caching = isDirectPossible ? caching : .buffered
        if let known, known.caching == caching { return known }
        if let known, known.unsynced > 0 { try known.file.sync() }
        do throws(FileIOError) {
            let open = Open(caching: caching, file: try fileSystem.open(path(number), .readWrite, caching))
            if caching == .direct { try reserve(number, open.file) }
            state.withLock { $0.entries[number].open = open }
            return open
        } catch {
            guard caching == .direct, error.reason == .other else { throw error }
            state.withLock { $0.isDirectPossible = false }
            return try self.open(number, .buffered)
        }
    }

    /// Gives a file its blocks, and one more than it will have: who writes behind the end of a file keeps every other
    /// writer out meanwhile (ext4, XFS), and a file that is longer than promised is one under way.
    private func reserve(_ number: Int, _ file: any File) throws(FileIOError) {
        let block = UInt64(FileCaching.alignmentBytes)
        let blocks = (manifest.files[number].byteCount + block - 1) / block + 1
        do throws(FileIOError) {
            try file.reserve(at: 0, count: blocks * block)
        } catch {
            // Not every file system can; there it grows as it is written.
            if error.reason != .other { throw error }
        }
    }

    private func path(_ number: Int) -> String { folder + "/" + manifest.files[number].name }

    /// A failed sync or write leaves a file of unknown content, a failed reservation the space it got: all of the
    /// folder is given up.
    private func guarded<Value>(_ body: () throws(FileIOError) -> Value) throws(SnapshotFailure) -> Value {
        do throws(FileIOError) {
            return try body()
        } catch {
            let isOurs = state.withLock { !$0.isClosed }
            if isOurs, [.sync, .write, .reserve].contains(error.operation) { try? fileSystem.removeTree(folder) }
            throw SnapshotFailure("\(error)")
        }
    }
}
