// Opening a write-ahead log: find the logs that the store still needs, prove that none is missing, give their records
// back in order, and begin a new log behind them. Old logs are never rewritten: where a torn one ends is said by the
// new one.
internal import FileIO

/// A log found in the folder.
private struct FoundLog {
    var number: UInt64
    var path: String
    var file: any File
    var bytes: [UInt8]
    var preamble: WALPreamble
}

extension WriteAheadLog {
    /// Replays every record above `flushed` and begins a new log.
    /// - Throws: ``StorageError/corruption(path:position:detail:)`` when durable bytes are damaged,
    ///   ``StorageError/missingFile(path:)`` when a log is gone.
    static func recover(
        directory: String, fileSystem: any FileSystem, options: WALOptions, flushed: UInt64,
        _ replay: (_ index: UInt64, _ payload: UnsafeRawBufferPointer) throws(StorageError) -> Void
    ) throws(StorageError) -> WriteAheadLog {
        let names = try disk { () throws(FileIOError) -> [String] in
            try fileSystem.createDirectory(directory)
            try fileSystem.syncAncestors(of: directory)
            // Names that a crashed process left in memory only are about to count.
            try fileSystem.syncDirectory(directory)
            let names = try fileSystem.list(directory)
            for name in names where name.hasSuffix(".tmp") { try fileSystem.remove(directory + "/" + name) }
            return names
        }
        let numbers = names.compactMap { number($0) }.sorted()
        var needed = try neededLogs(numbers, directory, fileSystem, flushed: flushed)
        var last: UInt64 = flushed
        var end: UInt64 = 0
        var segments: [Segment] = []
        for position in needed.indices {
            let log = needed[position]
            let next = position + 1 < needed.count ? needed[position + 1].preamble : nil
            let scan = try WALScan(
                log.bytes, number: log.number, path: log.path, end: next?.previousEnd,
                isEndSynced: next?.isPreviousSynced ?? true
            ) { (index, payload) throws(StorageError) in
                if index > flushed { try replay(index, payload) }
            }
            if next?.isPreviousSynced != true { try writeAgain(log, from: scan.syncedOffset, to: scan.end) }
            needed[position].bytes = []
            segments.append(Segment(number: log.number, firstIndex: log.preamble.firstIndex))
            last = max(flushed, scan.lastIndex ?? log.preamble.firstIndex - 1)
            end = UInt64(scan.end)
            if let next, end < next.previousEnd {
                try requireNoPromise(in: needed[(position + 1)...], behind: log, end)
                break
            }
        }
        let old = numbers.filter { number in !segments.contains { $0.number == number } }
        try disk { () throws(FileIOError) in
            for number in old.reversed() {
                try fileSystem.remove(directory + "/" + name(number))
                // Newest first and one by one: whatever a crash leaves is still a chain.
                if number > segments.last?.number ?? 0 { try fileSystem.syncDirectory(directory) }
            }
        }
        let preamble = WALPreamble(
            number: (numbers.last ?? 0) + 1, firstIndex: last + 1, previousNumber: segments.last?.number ?? 0,
            previousEnd: end)
        return try WriteAheadLog(
            beginning: preamble, behind: segments, directory: directory, fileSystem: fileSystem, options: options)
    }

    /// Makes durable what was replayed from the page cache and promised by nobody. It is written once more first: after
    /// a failed sync the kernel takes pages for clean that the device never got, and a sync alone would skip them ("Can
    /// Applications Recover from fsync Failures?", ATC 2020).
    private static func writeAgain(_ log: FoundLog, from synced: UInt64, to end: Int) throws(StorageError) {
        guard synced < UInt64(end) else { return }
        let tail = Array(log.bytes[Int(synced)..<end])
        try disk { () throws(FileIOError) in
            try log.file.write(bytes: tail, at: synced)
            try log.file.sync()
        }
    }

    /// Checks that the logs behind a torn one may be dropped: nothing in them was ever acknowledged as durable.
    private static func requireNoPromise(
        in later: ArraySlice<FoundLog>, behind torn: FoundLog, _ end: UInt64
    ) throws(StorageError) {
        for log in later {
            let scan = try WALScan(log.bytes, number: log.number, path: log.path) { _, _ in }
            let isFirst = log.number == later.first?.number
            guard scan.syncedOffset <= UInt64(WALPreamble.frameBytes), isFirst || !log.preamble.isPreviousSynced else {
                throw .corruption(
                    path: torn.path, position: end,
                    detail: "the log ends here, but \(log.path) holds records that were durable")
            }
        }
    }

    /// The logs from the one that holds index `flushed + 1` on, each proven to follow the one before.
    private static func neededLogs(
        _ numbers: [UInt64], _ directory: String, _ fileSystem: any FileSystem, flushed: UInt64
    ) throws(StorageError) -> [FoundLog] {
        var found: [FoundLog] = []
        // Newest first, so that logs that are not needed are not read.
        for number in numbers.reversed() {
            let path = directory + "/" + name(number)
            let (file, bytes) = try disk { () throws(FileIOError) -> (any File, [UInt8]) in
                let file = try fileSystem.open(path, .readWrite)
                return (file, try file.read(count: Int(try file.size()), at: 0))
            }
            guard let preamble = try preamble(bytes, number: number, path: path) else {
                // The newest may be one that was just being begun; a crash while it was replaced leaves two of them.
                if found.isEmpty { continue }
                throw .corruption(path: path, position: 0, detail: "the preamble is broken")
            }
            if let next = found.last, next.preamble.previousNumber != number {
                throw .missingFile(path: directory + "/" + name(next.preamble.previousNumber))
            }
            found.append(FoundLog(number: number, path: path, file: file, bytes: bytes, preamble: preamble))
            if preamble.firstIndex <= flushed + 1 { return found.reversed() }
        }
        if let oldest = found.last {
            throw .missingFile(path: directory + "/" + name(oldest.preamble.previousNumber))
        }
        // A store that has flushed had a log that outlives it.
        if flushed > 0 { throw .missingFile(path: directory + "/" + name(1) + " or any later log") }
        return []
    }

    /// Nil when the log was never begun: then nothing in it can have been promised.
    private static func preamble(
        _ bytes: [UInt8], number: UInt64, path: String
    ) throws(StorageError) -> WALPreamble? {
        let frame = bytes.withUnsafeBytes { WALFrame($0, at: 0, number: number) }
        guard let frame, frame.kind == .preamble else {
            return try WALScan(bytes, number: number, path: path) { _, _ in }.preamble
        }
        return try bytes.withRawBytes { (bytes) throws(StorageError) in
            try WALPreamble(UnsafeRawBufferPointer(rebasing: bytes[frame.payload]), number: number, path: path)
        }
    }
}
