// Opening a store: lock the folder, find the manifest that counts, open its tables, remove what an interrupted run left
// behind, and start a new manifest. It must never remove a file before it knows from a good manifest that it is
// garbage.
public import FileIO
internal import Memory

extension LSMStore {
    /// Opens or creates the store in `directory`.
    /// - Throws: ``StorageError/io(_:)`` with reason `locked` while another process has it open; corruption, missing
    ///   files and foreign versions as their own cases. Nothing is changed then.
    public static func open(
        directory: String, fileSystem: any FileSystem, options: LSMOptions
    ) throws(StorageError) -> LSMStore {
        precondition(
            options.memtableBytes >= LSMOptions.memtableBytesMin && options.blockBytes >= 64
                && 1...32 ~= options.bloomBitsPerKey && options.sealedMemtablesMax > 0 && options.tableBytes > 0
                && options.levelBaseBytes > 0 && 0 < options.level0Trigger
                && options.level0Trigger < options.level0Slow && options.level0Slow < options.level0Stop,
            "memtable at least 16 KiB, block at least 64 bytes, 1 to 32 Bloom bits, at least one sealed memtable, "
                + "level 0 is compacted before it slows writers and slows them before it stops them")
        let lock = try disk { () throws(FileIOError) in
            try fileSystem.createDirectory(directory)
            return try fileSystem.lock(directory)
        }
        do throws(StorageError) {
            return try open(directory, fileSystem, options, lock)
        } catch {
            lock.release()
            throw error
        }
    }

    private static func open(
        _ directory: String, _ fileSystem: any FileSystem, _ options: LSMOptions, _ lock: any DirectoryLock
    ) throws(StorageError) -> LSMStore {
        let pages: PageSource
        do throws(MemoryError) {
            pages = try PageSource(options.allocator)
        } catch {
            throw StorageError(error)
        }
        let names = try disk { () throws(FileIOError) in try fileSystem.list(directory) }
        let files = names.compactMap { StoreFile($0) }
        var state = try recoverState(directory, fileSystem, options, files)
        let cache = BlockCache(
            capacity: options.cacheBytes(pinned: 0), blockBytes: options.blockBytes, allocator: options.allocator)
        let tables = try openTables(state, directory, fileSystem, cache)
        // Numbers of files that no manifest knows are not used again: their blocks would carry the same identity.
        for file in files { state.nextNumber = max(state.nextNumber, (file.number ?? 0) + 1) }
        let number = state.nextNumber
        state.nextNumber += 1
        let manifest = try Manifest(creating: number, state: state, directory: directory, fileSystem: fileSystem)
        try disk { () throws(FileIOError) in
            try fileSystem.syncDirectory(directory)
            try fileSystem.replaceFile(
                directory + "/" + StoreFile.current.name, with: CurrentFile.encode(number))
        }
        try removeGarbage(files, state, directory, fileSystem)
        return LSMStore(
            directory: directory, fileSystem: fileSystem, options: options, pages: pages,
            active: try MemTable(
                capacity: options.memtableBytes, source: pages, seed: options.seed,
                hasIndex: options.memtableHashIndex),
            version: Version.empty.applying(
                adding: tables.map { PlacedTable(level: $0.metadata.level, table: $0) }, removing: []),
            cache: cache, maintenance: Maintenance(manifest: manifest, state: state, lock: lock))
    }

    private static func recoverState(
        _ directory: String, _ fileSystem: any FileSystem, _ options: LSMOptions, _ files: [StoreFile]
    ) throws(StorageError) -> ManifestState {
        guard let number = try CurrentFile.read(directory: directory, fileSystem: fileSystem) else {
            // Without CURRENT a table can't exist: the very first open names a manifest before it returns.
            for case .table(let table) in files {
                throw .missingFile(
                    path: directory + "/" + StoreFile.current.name + " (there are tables, such as "
                        + StoreFile.table(table).name + ")")
            }
            try syncAncestors(of: directory, fileSystem)
            return ManifestState(store: options.seed)
        }
        let path = directory + "/" + StoreFile.manifest(number).name
        guard files.contains(.manifest(number)) else { throw .missingFile(path: path) }
        let bytes = try disk { () throws(FileIOError) -> [UInt8] in
            // A crashed process may have left records in the page cache only: make durable what is about to count.
            let file = try fileSystem.open(path, .readWrite)
            try file.sync()
            return try file.read(count: Int(try file.size()), at: 0)
        }
        return try Manifest.load(bytes, number: number, path: path)
    }

    /// Makes a new store's folder and the parents that may have been made with it durable.
    private static func syncAncestors(of directory: String, _ fileSystem: any FileSystem) throws(StorageError) {
        var path = directory
        var parent = fileSystem.directory(of: path)
        while parent != path {
            do throws(FileIOError) {
                try fileSystem.syncDirectory(parent)
            } catch {
                // A folder that may not be read was not made by this process.
                if error.reason != .permissionDenied { throw .io(error) }
            }
            path = parent
            parent = fileSystem.directory(of: path)
        }
    }

    private static func openTables(
        _ state: ManifestState, _ directory: String, _ fileSystem: any FileSystem, _ cache: BlockCache
    ) throws(StorageError) -> [Table] {
        var tables: [Table] = []
        for metadata in state.tables {
            let path = directory + "/" + StoreFile.table(metadata.number).name
            let file = try disk { () throws(FileIOError) -> (any File)? in
                try fileSystem.exists(path) ? try fileSystem.open(path, .read) : nil
            }
            guard let file else { throw .missingFile(path: path) }
            tables.append(try Table(file, metadata: metadata, store: state.store, cache: cache))
        }
        return tables
    }

    /// Removes tables that no manifest names and manifests that CURRENT no longer names.
    private static func removeGarbage(
        _ files: [StoreFile], _ state: ManifestState, _ directory: String, _ fileSystem: any FileSystem
    ) throws(StorageError) {
        for file in files {
            let isGarbage =
                switch file {
                case .table(let number): !state.tables.contains { $0.number == number }
                case .manifest: true
                case .temporary: false  // was replaced and renamed when CURRENT was written
                case .current, .lock: false
                }
            guard isGarbage else { continue }
            try disk { () throws(FileIOError) in
                let path = directory + "/" + file.name
                if try fileSystem.exists(path) { try fileSystem.remove(path) }
            }
        }
    }
}

extension StoreFile {
    fileprivate var number: UInt64? {
        switch self {
        case .table(let number), .manifest(let number): number
        case .current, .lock, .temporary: nil
        }
    }
}
