// A second store beside the first, as of now: closed data files are linked, for they never change, and a checkpoint of
// its own says that they are all there is. The active file is closed first, so that both stores can go on by
// themselves.
internal import FileIO
internal import Synchronization

extension HashLogStore {
    /// Makes `target` a store with the content of this moment. It appears whole or not at all, and is durable on
    /// return.
    /// - Throws: ``StorageError/io(_:)`` with reason `alreadyExists` when there is something already.
    public func export(to target: String) throws(StorageError) -> StoreExport {
        try maintenance.withLock { (maintenance) throws(StorageError) in
            if let failure = maintenance.failure { throw .readOnly(failure) }
            try closeActiveFile()
            try checkpoint(&maintenance)
            guard let current = try HashLogCheckpoint.read(directory: directory, fileSystem: fileSystem) else {
                throw .missingFile(path: directory + "/" + HashLogCheckpoint.name)
            }
            try place(current, at: target)
            return StoreExport(position: current.applied, knownFiles: [])
        }
    }

    private func closeActiveFile() throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            if let failure = state.failure { throw .readOnly(failure) }
            guard state.active != 0 else { return }
            try drain(&state)
            state.files[state.active]?.isSealed = true
            state.active = 0
        }
    }

    private func place(_ checkpoint: HashLogCheckpoint, at target: String) throws(StorageError) {
        let temporary = target + ".tmp"
        do throws(FileIOError) {
            if try fileSystem.exists(target) {
                throw FileIOError(
                    operation: .createDirectory, path: target, reason: .alreadyExists, detail: "File exists")
            }
            try fileSystem.removeTree(temporary)
            try fileSystem.createDirectory(temporary)
            for entry in checkpoint.files { try place(entry, in: temporary) }
            try fileSystem.syncDirectory(temporary)
            try fileSystem.replaceFile(temporary + "/" + HashLogCheckpoint.name, with: checkpoint.encode())
            try fileSystem.rename(temporary, to: target)
            try fileSystem.syncDirectory(fileSystem.directory(of: target))
        } catch {
            // It counts for nothing under this name, and the next export clears it away.
            try? fileSystem.removeTree(temporary)
            throw .io(error)
        }
    }

    private func place(_ entry: HashLogCheckpoint.Entry, in folder: String) throws(FileIOError) {
        let name = HashLogFile.data(entry.number).name
        let hint = HashLogFile.hint(entry.number).name
        if entry.isSealed {
            try fileSystem.link(directory + "/" + name, to: folder + "/" + name)
            if try fileSystem.exists(directory + "/" + hint) {
                try fileSystem.link(directory + "/" + hint, to: folder + "/" + hint)
            }
            return
        }
        // Begun since the active file was closed. Copied, since linked bytes would be shared with a store that grows.
        let source = try fileSystem.open(directory + "/" + name, .read)
        let copy = try fileSystem.open(folder + "/" + name, .create)
        var position: UInt64 = 0
        while position < entry.bytes {
            let bytes = try source.read(count: Int(min(entry.bytes - position, 1 << 20)), at: position)
            if bytes.isEmpty { break }
            try copy.write(bytes: bytes, at: position)
            position += UInt64(bytes.count)
        }
        try copy.sync()
    }
}
