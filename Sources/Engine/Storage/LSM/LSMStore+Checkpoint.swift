// A second store beside the first, as of now, for the price of some hard links; and the check of everything on disk
// against what was once written. Neither stops readers or writers.
internal import CEngine
internal import FileIO
internal import Synchronization

extension LSMStore {
    /// Makes `target` a store with the content of this moment. It appears whole or not at all, and is durable on
    /// return.
    /// - Parameter target: a folder on the same file system that does not exist yet.
    /// - Returns: the newest log position that it covers.
    /// - Throws: ``StorageError/io(_:)`` with reason `alreadyExists` when there is something already.
    public func checkpoint(to target: String) throws(StorageError) -> LogPosition {
        try export(to: target).position
    }

    /// As ``checkpoint(to:)``.
    public func export(to target: String) throws(StorageError) -> StoreExport {
        try flush()
        return try maintenance.withLock { (maintenance) throws(StorageError) in
            if let failure = maintenance.failure { throw .readOnly(failure) }
            let state = maintenance.state
            try disk { () throws(FileIOError) in
                if try fileSystem.exists(target) {
                    throw FileIOError(
                        operation: .createDirectory, path: target, reason: .alreadyExists, detail: "File exists")
                }
            }
            let temporary = target + ".tmp"
            do throws(StorageError) {
                try fill(temporary, state)
                try disk { () throws(FileIOError) in
                    try fileSystem.rename(temporary, to: target)
                    try fileSystem.syncDirectory(fileSystem.directory(of: target))
                }
            } catch {
                // It counts for nothing under this name, and the next checkpoint clears it away.
                try? fileSystem.removeTree(temporary)
                throw error
            }
            let tables = state.tables.map { table in
                StoreExport.File(
                    name: StoreFile.table(table.number).name, byteCount: table.fileSize, checksum: table.checksum)
            }
            return StoreExport(position: state.applied, knownFiles: tables)
        }
    }

    private func fill(_ folder: String, _ state: ManifestState) throws(StorageError) {
        var state = state
        let number = state.nextNumber
        state.nextNumber += 1
        try disk { () throws(FileIOError) in
            try fileSystem.removeTree(folder)
            try fileSystem.createDirectory(folder)
            for table in state.tables {
                let name = StoreFile.table(table.number).name
                try fileSystem.link(directory + "/" + name, to: folder + "/" + name)
            }
        }
        _ = try Manifest(creating: number, state: state, directory: folder, fileSystem: fileSystem)
        try disk { () throws(FileIOError) in
            try fileSystem.syncDirectory(folder)
            try fileSystem.replaceFile(folder + "/" + StoreFile.current.name, with: CurrentFile.encode(number))
        }
    }

    /// Reads every table and checks whole-file checksum, block checksums, order and counts.
    /// - Throws: the first thing that is wrong, named by file and position.
    public func verify() throws(StorageError) -> StoreSummary {
        let version = currentView().version
        var summary = StoreSummary()
        for tables in version.levels {
            for table in tables {
                try table.verifyFile()
                try table.verifyEntries()
                summary.tables += 1
                summary.bytes += table.metadata.fileSize
                summary.entries += table.metadata.entries
            }
        }
        return summary
    }
}

/// What ``LSMStore/verify()`` went through.
public struct StoreSummary: Hashable, Sendable {
    public var tables = 0
    public var bytes: UInt64 = 0
    /// Versions, deletes included.
    public var entries: UInt64 = 0
}

extension Table {
    private static let verifyBytes = 1 << 20

    fileprivate func verifyFile() throws(StorageError) {
        var checksum: UInt32 = 0
        var position: UInt64 = 0
        while position < metadata.fileSize {
            let count = Int(min(UInt64(Self.verifyBytes), metadata.fileSize - position))
            let bytes = try disk { () throws(FileIOError) in try file.read(count: count, at: position) }
            guard bytes.count == count else {
                throw .corruption(path: file.path, position: position, detail: "the file ends too early")
            }
            checksum = strata_crc32c(checksum, bytes, bytes.count)
            position += UInt64(count)
        }
        guard checksum == metadata.checksum else {
            throw .corruption(
                path: file.path, position: 0, detail: "the file's checksum is not the one that the manifest has")
        }
    }

    fileprivate func verifyEntries() throws(StorageError) {
        var run = RunCursor([self])
        var last: (key: [UInt8], trailer: UInt64)?
        var entries: UInt64 = 0
        try run.seekToFirst()
        while run.isValid {
            if let last {
                let order = last.key.withUnsafeBytes { compare($0, run.key) }
                guard order < 0 || order == 0 && last.trailer > run.trailer else {
                    throw .corruption(path: file.path, position: 0, detail: "entry \(entries) is out of order")
                }
            }
            guard metadata.covers(run.key) else {
                throw .corruption(path: file.path, position: 0, detail: "entry \(entries) is outside the key range")
            }
            last = ([UInt8](run.key), run.trailer)
            entries += 1
            try run.next()
        }
        guard entries == metadata.entries else {
            throw .corruption(
                path: file.path, position: 0, detail: "\(entries) entries, the manifest says \(metadata.entries)")
        }
    }
}
