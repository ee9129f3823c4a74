// Writing: each operation of a batch becomes a record at the end of the active file and a slot of the index. Everything
// that can fail happens before the first slot changes, so that a batch is applied as a whole or not at all.
internal import FileIO
internal import Synchronization

extension HashLogStore {
    public func apply(_ batch: WriteBatch, at position: LogPosition) throws(StorageError) -> UInt64 {
        try state.withLock { (state) throws(StorageError) -> UInt64 in
            if let failure = state.failure { throw .readOnly(failure) }
            guard position.index > state.applied.index else {
                throw .staleEntry(index: position.index, applied: state.applied.index)
            }
            let first = state.sequence + 1
            if !batch.isEmpty {
                guard batch.bytes.count <= HashLogOptions.batchBytesMax else {
                    throw .invalidBatch("its \(batch.bytes.count) bytes are more than one data file takes")
                }
                let single = Self.hasRangeDeletes(batch) ? try singleKeys(batch, state) : nil
                try makeRoom(&state, firstSequence: first)
                try (single?.batch ?? batch).bytes.withRawBytes { (bytes) throws(StorageError) in
                    let known = try resolve(bytes, state)
                    try insert(bytes, known, firstSequence: first, offsets: single?.sequences, &state)
                }
            }
            state.sequence += UInt64(batch.count)
            state.applied = position
            return first
        }
    }

    /// Writes the buffer out when it is full, and makes a new active file when the old one is.
    private func makeRoom(_ state: inout State, firstSequence: UInt64) throws(StorageError) {
        if state.buffer.count >= options.writeBufferBytes { try drain(&state) }
        if let file = state.files[state.active] {
            // The timestamp tells sequences apart over 2^32 operations; half of that leaves room for any batch.
            let span = firstSequence - file.data.baseSequence
            if file.bytes < UInt64(options.fileBytes), span < 1 << 31 { return }
            try drain(&state)
            state.files[state.active]?.isSealed = true
            state.active = 0
        }
        let number = state.nextNumber
        guard number < KeySlot.removed else { throw .exhausted(Self.lacksNumbers) }
        state.nextNumber += 1
        let file = try disk { () throws(FileIOError) in try fileSystem.open(path(.data(number)), .create) }
        let data = DataFile(file, number: number, baseSequence: firstSequence, store: store)
        state.buffer = DataFile.header(number: number, baseSequence: firstSequence, store: store)
        state.bufferStart = 0
        state.active = number
        state.files[number] = FileState(
            data: data, bytes: UInt64(DataFile.headerBytes), sequenceMax: firstSequence)
    }

    static let lacksNumbers = "2^32 data files were made, which is all: copy what is there into a new store"

    /// Writes the buffer to the active file; what stands there already is not touched, so it may be tried again after
    /// a lack of space.
    func drain(_ state: inout State) throws(StorageError) {
        guard !state.buffer.isEmpty, let file = state.files[state.active] else { return }
        do throws(FileIOError) {
            try file.data.file.write(bytes: state.buffer, at: state.bufferStart)
        } catch {
            if !StorageError.io(error).isOnlyLackOfSpace { state.failure = error.description }
            throw .io(error)
        }
        state.bufferStart += UInt64(state.buffer.count)
        state.buffer.removeAll(keepingCapacity: true)
    }

    /// For each operation the place of its key's newest version, as file and offset in one word; 0 when there is none.
    /// All disk reads of a batch are done here.
    private func resolve(
        _ bytes: UnsafeRawBufferPointer, _ state: borrowing State
    ) throws(StorageError) -> [UInt64] {
        var cursor = BatchCursor(bytes)
        var known: [UInt64] = []
        known.reserveCapacity(cursor.count)
        while let operation = cursor.next() {
            let slot = try find(operation.key, keyHash(operation.key), state)
            known.append(slot.map { $0.pointee.place } ?? 0)
        }
        precondition(known.count == cursor.count, "a batch holds as many operations as it counts")
        return known
    }

    /// The slot of a key. Reads keys of the same hash from the disk.
    func find(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ state: borrowing State
    ) throws(StorageError) -> UnsafeMutablePointer<KeySlot>? {
        var probe = state.index.probe(hash)
        while let slot = state.index.next(&probe) {
            if state.isBuffered(slot.pointee) {
                if state.bufferHasKey(key, slot.pointee) { return slot }
            } else if let data = state.files[slot.pointee.file]?.data, try data.hasKey(key, slot.pointee) {
                return slot
            }
        }
        return nil
    }

    /// - Parameter offsets: of each operation's sequence from the first; nil: one after another.
    private func insert(
        _ bytes: UnsafeRawBufferPointer, _ known: [UInt64], firstSequence: UInt64, offsets: [UInt32]?,
        _ state: inout State
    ) throws(StorageError) {
        // The table's memory is the last thing that can be missing; it is had before the first slot changes.
        try state.index.reserve(known.count)
        var cursor = BatchCursor(bytes)
        let number = state.active
        guard var file = state.files[number] else { preconditionFailure("an active file was made for this batch") }
        var position = 0
        while let operation = cursor.next() {
            let sequence = firstSequence + UInt64(offsets?[position] ?? UInt32(position))
            let hash = keyHash(operation.key)
            let old = state.slot(operation.key, hash, place: known[position], since: firstSequence)
            let isPut = operation.kind == .put
            let offset = UInt32(file.bytes)
            if isPut || old != nil {
                state.buffer.appendRecord(
                    sequence: sequence, key: operation.key, value: isPut ? operation.value : nil, at: offset,
                    file.data.checksums)
                file.bytes = state.bufferStart + UInt64(state.buffer.count)
            }
            if let old {
                let dead = UInt64(old.pointee.recordBytes)
                if old.pointee.file == number {
                    file.liveBytes -= dead
                } else {
                    state.files[old.pointee.file]?.liveBytes -= dead
                }
            }
            if isPut {
                let slot = KeySlot(
                    hash: hash, sequence: sequence, file: number, offset: offset, keyBytes: UInt32(operation.key.count),
                    valueBytes: UInt32(operation.value.count))
                if let old { old.pointee = slot } else { state.index.insert(slot) }
                file.liveBytes += UInt64(slot.recordBytes)
            } else if let old {
                state.index.remove(old)
                file.tombstoneBytes += file.bytes - UInt64(offset)
            }
            file.sequenceMax = sequence
            position += 1
        }
        state.files[number] = file
    }
}

extension KeySlot {
    /// File and offset in one word, never 0.
    var place: UInt64 { UInt64(file) << 32 | UInt64(offset) }
}

extension HashLogStore.State {
    /// True when the record still waits in the buffer.
    func isBuffered(_ slot: KeySlot) -> Bool {
        slot.file == active && UInt64(slot.offset) >= bufferStart
    }

    func bufferHasKey(_ key: UnsafeRawBufferPointer, _ slot: KeySlot) -> Bool {
        withBuffered(slot) { found, _ in compare(found, key) == 0 }
    }

    /// Gives key and value of a record that waits in the buffer to `body`.
    func withBuffered<Result>(
        _ slot: KeySlot, _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Result
    ) -> Result {
        let start = Int(UInt64(slot.offset) - bufferStart) + Record.headerBytes
        return buffer.withUnsafeBytes { buffer in
            let end = start + Int(slot.keyBytes)
            return body(
                UnsafeRawBufferPointer(rebasing: buffer[start..<end]),
                UnsafeRawBufferPointer(rebasing: buffer[end..<end + Int(slot.valueBytes)]))
        }
    }

    /// The slot of a key whose place before this batch is known. Reads memory only: what this batch wrote is buffered.
    fileprivate func slot(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, place: UInt64, since first: UInt64
    ) -> UnsafeMutablePointer<KeySlot>? {
        var probe = index.probe(hash)
        while let slot = index.next(&probe) {
            if slot.pointee.sequence < first {
                if slot.pointee.place == place { return slot }
            } else if bufferHasKey(key, slot.pointee) {
                return slot
            }
        }
        return nil
    }
}
