// Opening a hash log: lock the folder, read the checkpoint, cut what it does not cover, and build the index from hints,
// or from the data where there is none. It must never remove a file before a good checkpoint has said that it is
// garbage.
public import FileIO
internal import Memory

extension HashLogStore {
    /// Opens or creates the store in `directory`.
    /// - Throws: ``StorageError/io(_:)`` with reason `locked` while another process has it open; corruption, missing
    ///   files and foreign versions as their own cases.
    public static func open(
        directory: String, fileSystem: any FileSystem, options: HashLogOptions
    ) throws(StorageError) -> HashLogStore {
        precondition(
            options.fileBytes > 0 && options.fileBytes <= HashLogOptions.fileBytesMax && options.writeBufferBytes > 0
                && options.mergeStepBytes > 0 && options.mergeDeadShare > 0 && options.sealedFilesMax > 0,
            "a data file of 1 byte to 1 GiB, buffers, steps and shares above 0")
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
        _ directory: String, _ fileSystem: any FileSystem, _ options: HashLogOptions, _ lock: any DirectoryLock
    ) throws(StorageError) -> HashLogStore {
        let names = try disk { () throws(FileIOError) in try fileSystem.list(directory) }
        let present = names.compactMap { HashLogFile($0) }
        var checkpoint = try readCheckpoint(directory, fileSystem, options, present)
        // Numbers of files that the checkpoint does not know are not used again: their records would check out.
        for file in present where file.number < KeySlot.removed {
            checkpoint.nextNumber = max(checkpoint.nextNumber, file.number + 1)
        }
        let pages: PageSource
        do throws(MemoryError) {
            pages = try PageSource(options.allocator).serving(.keyIndex)
        } catch {
            throw StorageError(error)
        }
        var state = State(index: try KeyIndex(source: pages), checkpoint: checkpoint)
        for entry in checkpoint.files {
            let file = try openFile(entry, directory, fileSystem, store: checkpoint.store)
            state.files[entry.number] = file
            try load(file, into: &state, directory, fileSystem, store: checkpoint.store)
            if !entry.isSealed {
                state.active = entry.number
                state.bufferStart = entry.bytes
            }
        }
        settle(&state)
        try removeGarbage(present, checkpoint, directory, fileSystem)
        return HashLogStore(
            directory: directory, fileSystem: fileSystem, options: options, store: checkpoint.store,
            state: state, lock: lock)
    }

    private static func readCheckpoint(
        _ directory: String, _ fileSystem: any FileSystem, _ options: HashLogOptions, _ present: [HashLogFile]
    ) throws(StorageError) -> HashLogCheckpoint {
        if let found = try HashLogCheckpoint.read(directory: directory, fileSystem: fileSystem) {
            // A crashed process may have renamed it without making the name durable; from here on it counts.
            try disk { () throws(FileIOError) in try fileSystem.syncDirectory(directory) }
            return found
        }
        for case .data(let number) in present {
            // Without a checkpoint a data file can't exist: the very first open writes one before it returns.
            throw .missingFile(
                path: directory + "/" + HashLogCheckpoint.name + " (there are data files, such as "
                    + HashLogFile.data(number).name + ")")
        }
        let fresh = HashLogCheckpoint(
            store: options.seed, applied: .zero, lastSequence: 0, nextNumber: 1, files: [])
        try disk { () throws(FileIOError) in
            try fileSystem.syncAncestors(of: directory)
            try fileSystem.replaceFile(directory + "/" + HashLogCheckpoint.name, with: fresh.encode())
        }
        return fresh
    }

    /// Opens a file that the checkpoint names; an active one is cut to what the checkpoint covers.
    static func openFile(
        _ entry: HashLogCheckpoint.Entry, _ directory: String, _ fileSystem: any FileSystem, store: UInt64,
        cutting: Bool = true
    ) throws(StorageError) -> FileState {
        let path = directory + "/" + HashLogFile.data(entry.number).name
        let mode = entry.isSealed || !cutting ? OpenMode.read : .readWrite
        let file = try disk { () throws(FileIOError) -> (any File)? in
            try fileSystem.exists(path) ? try fileSystem.open(path, mode) : nil
        }
        guard let file else { throw .missingFile(path: path) }
        let size = try disk { () throws(FileIOError) in try file.size() }
        guard size >= entry.bytes, entry.bytes >= UInt64(DataFile.headerBytes) else {
            throw .corruption(
                path: path, position: size, detail: "the file ends before the \(entry.bytes) bytes that were synced")
        }
        let data = try DataFile.opened(file, number: entry.number, store: store)
        guard data.baseSequence <= entry.sequenceMax else {
            throw data.corruption(at: 0, "it begins behind the sequence \(entry.sequenceMax) that it ends with")
        }
        if size > entry.bytes, mode == .readWrite {
            try disk { () throws(FileIOError) in try file.truncate(to: entry.bytes) }
        }
        var state = FileState(data: data, bytes: entry.bytes, sequenceMax: entry.sequenceMax)
        state.isSealed = entry.isSealed
        state.isSettled = entry.isSealed
        state.syncedBytes = entry.bytes
        return state
    }

    private static func load(
        _ file: FileState, into state: inout State, _ directory: String, _ fileSystem: any FileSystem, store: UInt64
    ) throws(StorageError) {
        let number = file.data.number
        if file.isSealed {
            let path = directory + "/" + HashLogFile.hint(number).name
            let isHinted = try HintFile.read(
                path, for: file.data, dataBytes: file.bytes, store: store, fileSystem: fileSystem
            ) { (entry) throws(StorageError) in
                try note(
                    entry.key, valueBytes: entry.valueBytes, at: entry.offset, timestamp: entry.timestamp, number,
                    &state)
            }
            if isHinted { return }
        }
        var scanner = RecordScanner(file.data, end: file.bytes)
        while try scanner.next({ (offset, header, record) throws(StorageError) in
            try note(
                header.key(record), valueBytes: header.valueBytes, at: offset, timestamp: header.timestamp, number,
                &state)
        }) {}
    }

    /// Takes one record into the index unless it knows a newer one. Deletes stay until ``settle(_:)``.
    private static func note(
        _ key: UnsafeRawBufferPointer, valueBytes: UInt32, at offset: UInt32, timestamp: UInt32, _ number: UInt32,
        _ state: inout State
    ) throws(StorageError) {
        guard let file = state.files[number] else { return }
        let slot = KeySlot(
            hash: keyHash(key), sequence: file.data.sequence(timestamp), file: number, offset: offset,
            keyBytes: UInt32(key.count), valueBytes: valueBytes)
        guard slot.sequence <= file.sequenceMax else {
            throw file.data.corruption(at: offset, "a record is newer than the \(file.sequenceMax) that was promised")
        }
        if slot.isTombstone { state.files[number]?.tombstoneBytes += UInt64(slot.recordBytes) }
        try state.index.reserve(1)
        var probe = state.index.probe(slot.hash)
        while let known = state.index.next(&probe) {
            guard let data = state.files[known.pointee.file]?.data, try data.hasKey(key, known.pointee) else {
                continue
            }
            if known.pointee.sequence < slot.sequence { known.pointee = slot }
            return
        }
        state.index.insert(slot)
    }

    /// Takes the deletes out of the index and counts what is alive in each file.
    private static func settle(_ state: inout State) {
        var live: [UInt32: UInt64] = [:]
        var deleted: [UnsafeMutablePointer<KeySlot>] = []
        state.index.forEach { slot in
            if slot.pointee.isTombstone {
                deleted.append(slot)
            } else {
                live[slot.pointee.file, default: 0] += UInt64(slot.pointee.recordBytes)
            }
        }
        for slot in deleted { state.index.remove(slot) }
        for (number, bytes) in live { state.files[number]?.liveBytes = bytes }
    }

    /// Removes data files that the checkpoint does not name, and hints of files that are not sealed.
    private static func removeGarbage(
        _ present: [HashLogFile], _ checkpoint: HashLogCheckpoint, _ directory: String, _ fileSystem: any FileSystem
    ) throws(StorageError) {
        for file in present {
            let entry = checkpoint.files.first { $0.number == file.number }
            let isGarbage =
                switch file {
                case .data: entry == nil
                case .hint: entry?.isSealed != true
                }
            guard isGarbage else { continue }
            try disk { () throws(FileIOError) in try fileSystem.remove(directory + "/" + file.name) }
        }
    }
}

extension FileSystem {
    /// Makes a new folder and the parents that may have been made with it durable.
    func syncAncestors(of directory: String) throws(FileIOError) {
        var path = directory
        var parent = self.directory(of: path)
        while parent != path {
            do throws(FileIOError) {
                try syncDirectory(parent)
            } catch {
                // A folder that may not be read was not made by this process.
                if error.reason != .permissionDenied { throw error }
            }
            path = parent
            parent = self.directory(of: path)
        }
    }
}
