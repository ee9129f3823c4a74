// Making things durable. The order is the whole point: data files, then their names, then the checkpoint that counts on
// them; only then `flushed` moves, and only then files that the checkpoint no longer names are removed.
internal import FileIO
internal import Synchronization

extension HashLogStore {
    public func flush() throws(StorageError) {
        try maintenance.withLock { (maintenance) throws(StorageError) in
            if let failure = maintenance.failure { throw .readOnly(failure) }
            try checkpoint(&maintenance)
        }
    }

    public func performMaintenance() throws(StorageError) -> Bool {
        try maintenance.withLock { (maintenance) throws(StorageError) in
            let sealed = state.withLock { state in
                state.files.values.contains { $0.isSealed && !$0.isSettled && !$0.isDraft }
            }
            let mayMerge = !isMergePutOff.load(ordering: .relaxed) && (maintenance.merge != nil || hasMergeWork())
            if !sealed, !mayMerge { return false }
            if let failure = maintenance.failure { throw .readOnly(failure) }
            if sealed {
                try checkpoint(&maintenance)
            } else {
                try mergeStep(&maintenance)
            }
            return true
        }
    }

    public func putOffCompaction(_ isPutOff: Bool) {
        isMergePutOff.store(isPutOff, ordering: .relaxed)
    }

    /// A finished merge takes the place of its inputs with the next checkpoint.
    struct Replacement {
        var victims: [UInt32]
        /// Nil when nothing was alive.
        var output: UInt32?
    }

    private struct Snapshot: Sendable {
        var checkpoint: HashLogCheckpoint
        var files: [FileState]
    }

    /// Makes everything applied so far durable and says so.
    func checkpoint(_ maintenance: inout Maintenance, _ replacement: Replacement? = nil) throws(StorageError) {
        do throws(StorageError) {
            let snapshot = try state.withLock { (state) throws(StorageError) in
                if let failure = state.failure { throw .readOnly(failure) }
                try drain(&state)
                return Self.snapshot(state, store, replacement)
            }
            for file in snapshot.files where file.syncedBytes < file.bytes {
                try disk { () throws(FileIOError) in try file.data.file.sync() }
            }
            for file in snapshot.files where file.isSealed && !file.isSettled { writeHint(file) }
            try disk { () throws(FileIOError) in
                try fileSystem.syncDirectory(directory)
                try fileSystem.replaceFile(
                    directory + "/" + HashLogCheckpoint.name, with: snapshot.checkpoint.encode())
            }
            publish(snapshot, replacement)
        } catch {
            if !error.isOnlyLackOfSpace { stop(error, &maintenance) }
            throw error
        }
    }

    private static func snapshot(_ state: borrowing State, _ store: UInt64, _ replacement: Replacement?) -> Snapshot {
        var files: [FileState] = []
        for number in state.files.keys.sorted() {
            guard var file = state.files[number] else { continue }
            if replacement?.victims.contains(number) == true { continue }
            if file.isDraft {
                guard replacement?.output == number else { continue }
                file.isSealed = true
            }
            files.append(file)
        }
        let entries = files.map { file in
            HashLogCheckpoint.Entry(
                number: file.data.number, bytes: file.bytes, isSealed: file.isSealed, sequenceMax: file.sequenceMax)
        }
        return Snapshot(
            checkpoint: HashLogCheckpoint(
                store: store, applied: state.applied, lastSequence: state.sequence, nextNumber: state.nextNumber,
                files: entries),
            files: files)
    }

    /// A hint only saves time at the next boot, so its failure is nobody's.
    private func writeHint(_ file: FileState) {
        let path = path(.hint(file.data.number))
        do throws(StorageError) {
            try HintFile.write(path, for: file.data, dataBytes: file.bytes, store: store, fileSystem: fileSystem)
        } catch {
            try? fileSystem.remove(path)
        }
    }

    private func publish(_ snapshot: Snapshot, _ replacement: Replacement?) {
        state.withLock { state in
            for file in snapshot.files {
                let number = file.data.number
                state.files[number]?.syncedBytes = file.bytes
                if file.isSealed {
                    state.files[number]?.isSealed = true
                    state.files[number]?.isSettled = true
                    state.files[number]?.isDraft = false
                }
            }
            for victim in replacement?.victims ?? [] { state.files[victim] = nil }
            state.flushed = snapshot.checkpoint.applied
        }
        // The next opening removes what can't be removed now.
        for victim in replacement?.victims ?? [] {
            try? fileSystem.remove(path(.data(victim)))
            try? fileSystem.remove(path(.hint(victim)))
        }
    }
}
