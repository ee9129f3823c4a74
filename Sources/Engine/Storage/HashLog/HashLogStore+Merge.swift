// Merging: the live records of files that are mostly dead move into a new file, a bounded piece per call, and the index
// follows piece by piece. The inputs stay on disk until a checkpoint names the output instead of them, so that a crash
// at any time finds the one or the other. That checkpoint also covers everything applied, because what is dead was
// judged by it.
internal import FileIO
internal import Synchronization

/// A merge under way.
struct MergeJob: Sendable {
    var victims: [UInt32]
    var output: DataFile
    /// Where the output's next record goes.
    var outputBytes: UInt64
    /// The victim being read, and from where.
    var current = 0
    var position = UInt64(DataFile.headerBytes)
    /// Deletes in the victims at or below this sequence have nothing older left that they could hide.
    var droppableSequence: UInt64
}

/// A record that found a new place.
private struct MovedRecord {
    var hash: UInt64
    var from: UInt64
    var offset: UInt32
    var bytes: UInt64
}

extension HashLogStore {
    private static let victimsMax = 16

    func hasMergeWork() -> Bool {
        state.withLock { pickVictims($0) }.isEmpty == false
    }

    func mergeStep(_ maintenance: inout Maintenance) throws(StorageError) {
        do throws(StorageError) {
            if maintenance.merge == nil { maintenance.merge = try startMerge() }
            guard var job = maintenance.merge else { return }
            if job.current < job.victims.count {
                try copyPiece(&job)
                maintenance.merge = job
            } else {
                let isEmpty = job.outputBytes == UInt64(DataFile.headerBytes)
                try checkpoint(
                    &maintenance,
                    Replacement(victims: job.victims, output: isEmpty ? nil : job.output.number))
                if isEmpty { drop(job.output) }
                maintenance.merge = nil
            }
        } catch {
            if !error.isOnlyLackOfSpace { stop(error, &maintenance) }
            throw error
        }
    }

    private func drop(_ output: DataFile) {
        state.withLock { $0.files[output.number] = nil }
        // The next opening removes it when this can't.
        try? fileSystem.remove(path(.data(output.number)))
    }

    /// The files that are worth merging into one, or none.
    private func pickVictims(_ state: borrowing State) -> [UInt32] {
        let settled = state.files.keys.sorted().compactMap { number in
            state.files[number].flatMap { $0.isSettled ? $0 : nil }
        }
        // Merged files span sequences that other files have too, so a delete may be older than the oldest file's end
        // and still hide something elsewhere. Counting it as dead would copy the same file for ever.
        let bases = state.files.values.map(\.data.baseSequence).sorted()
        func kept(_ file: FileState) -> UInt64 {
            let isFirst = file.data.baseSequence == bases.first
            let isAlone = isFirst && (bases.count < 2 || file.sequenceMax < bases[1])
            return file.liveBytes + (isAlone ? 0 : file.tombstoneBytes)
        }
        func deadShare(_ file: FileState) -> Double {
            let all = file.bytes - UInt64(DataFile.headerBytes)
            return all == 0 ? 1 : 1 - Double(min(kept(file), all)) / Double(all)
        }
        let dead = settled.filter { deadShare($0) >= options.mergeDeadShare }
            .sorted { (deadShare($0), $1.data.number) > (deadShare($1), $0.data.number) }
        let small = settled.filter { file in
            file.bytes < UInt64(options.fileBytes / 8) && !dead.contains { $0.data.number == file.data.number }
        }
        guard !dead.isEmpty || small.count > 1 else { return [] }
        var victims: [UInt32] = []
        var bytes: UInt64 = 0
        var (low, high) = (UInt64.max, UInt64(0))
        for file in dead + small where victims.count < Self.victimsMax {
            let span = (min(low, file.data.baseSequence), max(high, file.sequenceMax))
            if !victims.isEmpty, bytes + kept(file) > UInt64(options.fileBytes) || span.1 - span.0 >= 1 << 32 {
                continue
            }
            bytes += kept(file)
            (low, high) = span
            victims.append(file.data.number)
        }
        // One small file alone would be copied again and again.
        return dead.isEmpty && victims.count < 2 ? [] : victims
    }

    private func startMerge() throws(StorageError) -> MergeJob {
        var draft: (number: UInt32, base: UInt64, victims: [UInt32], droppable: UInt64)?
        try state.withLock { (state) throws(StorageError) in
            let victims = pickVictims(state)
            guard !victims.isEmpty else { return }
            let number = state.nextNumber
            guard number < KeySlot.removed else { throw .exhausted(Self.lacksNumbers) }
            state.nextNumber += 1
            let bases = victims.compactMap { state.files[$0]?.data.baseSequence }
            let others = state.files.filter { !victims.contains($0.key) }.map { $0.value.data.baseSequence }
            draft = (number, bases.min() ?? 0, victims, others.min().map { $0 &- 1 } ?? .max)
        }
        guard let draft else { preconditionFailure("a merge is started when there is something to merge") }
        let file = try disk { () throws(FileIOError) -> any File in
            let file = try fileSystem.open(path(.data(draft.number)), .create)
            try file.write(bytes: DataFile.header(number: draft.number, baseSequence: draft.base, store: store), at: 0)
            return file
        }
        let data = DataFile(file, number: draft.number, baseSequence: draft.base, store: store)
        let bytes = UInt64(DataFile.headerBytes)
        state.withLock { state in
            var file = FileState(data: data, bytes: bytes, sequenceMax: draft.base)
            file.isDraft = true
            state.files[draft.number] = file
        }
        return MergeJob(
            victims: draft.victims, output: data, outputBytes: bytes, droppableSequence: draft.droppable)
    }

    /// Copies what is alive in one piece of the input, then lets the index follow. Nothing of `job` changes on an
    /// error.
    private func copyPiece(_ job: inout MergeJob) throws(StorageError) {
        let victim = job.victims[job.current]
        guard let input = state.withLock({ $0.files[victim] }) else {
            preconditionFailure("inputs stay until the merge is published")
        }
        var scanner = RecordScanner(input.data, from: job.position, end: input.bytes)
        let end = job.position + UInt64(options.mergeStepBytes)
        var copied: [UInt8] = []
        var moved: [MovedRecord] = []
        var tombstones: UInt64 = 0
        var sequenceMax: UInt64 = 0
        var isMore = true
        while isMore, scanner.position < end {
            isMore = try scanner.next { (offset, header, record) in
                let key = header.key(record)
                let hash = keyHash(key)
                let sequence = input.data.sequence(header.timestamp)
                if header.isTombstone {
                    if sequence <= job.droppableSequence { return }
                } else if !isLive(hash, UInt64(victim) << 32 | UInt64(offset)) {
                    return
                }
                let place = UInt32(job.outputBytes + UInt64(copied.count))
                copied.appendRecord(
                    sequence: sequence, key: key, value: header.value(record), at: place, job.output.checksums)
                sequenceMax = max(sequenceMax, sequence)
                if header.isTombstone {
                    tombstones += UInt64(record.count)
                } else {
                    moved.append(
                        MovedRecord(
                            hash: hash, from: UInt64(victim) << 32 | UInt64(offset), offset: place,
                            bytes: UInt64(record.count)))
                }
            }
        }
        let position = job.outputBytes
        try disk { () throws(FileIOError) in try job.output.file.write(bytes: copied, at: position) }
        job.outputBytes += UInt64(copied.count)
        job.position = scanner.position
        if !isMore || scanner.position >= input.bytes {
            job.current += 1
            job.position = UInt64(DataFile.headerBytes)
        }
        follow(moved, from: victim, to: job, tombstones: tombstones, sequenceMax: sequenceMax)
    }

    private func isLive(_ hash: UInt64, _ place: UInt64) -> Bool {
        state.withLock { state in
            var probe = state.index.probe(hash)
            while let slot = state.index.next(&probe) {
                if slot.pointee.place == place { return true }
            }
            return false
        }
    }

    private func follow(
        _ moved: [MovedRecord], from victim: UInt32, to job: MergeJob, tombstones: UInt64, sequenceMax: UInt64
    ) {
        state.withLock { state in
            guard var output = state.files[job.output.number], var input = state.files[victim] else { return }
            output.bytes = job.outputBytes
            output.tombstoneBytes += tombstones
            output.sequenceMax = max(output.sequenceMax, sequenceMax)
            for record in moved {
                var probe = state.index.probe(record.hash)
                while let slot = state.index.next(&probe) {
                    guard slot.pointee.place == record.from else { continue }
                    slot.pointee.file = job.output.number
                    slot.pointee.offset = record.offset
                    output.liveBytes += record.bytes
                    input.liveBytes -= record.bytes
                    break
                }
            }
            state.files[job.output.number] = output
            state.files[victim] = input
        }
    }
}
