// Saves what can be read of a damaged store into a new one. It reads the damaged folder and never writes there; what it
// can't read it names. The result holds what was found, which may be less than what was acknowledged: a node of a
// cluster does better to start empty and catch up from its peers.
public import FileIO

/// What a salvage found.
public struct SalvageReport: Sendable {
    public var engine: StorageEngineKind
    /// Live keys in the new store.
    public var keys = 0
    /// Versions that were read, older ones included.
    public var entries: UInt64 = 0
    /// What could not be read.
    public var losses: [String] = []
}

public enum StorageSalvage {
    /// Operations in a batch of the new store.
    private static let batchOperations = 1000

    /// Copies every readable key of the store in `directory`, with its write-ahead log when it has one, into a new
    /// store of the same kind in `destination`, which must not exist or be empty.
    ///
    /// Memory: all keys, of values one batch.
    public static func salvage(
        _ directory: String, to destination: String, fileSystem: any FileSystem, options: StoreOptions = StoreOptions(),
        wal: WALOptions = WALOptions()
    ) throws(StorageError) -> SalvageReport {
        let isAlone = try disk { () throws(FileIOError) in try fileSystem.exists(directory + "/wal") }
        let source = isAlone ? directory + "/store" : directory
        guard let engine = try StorageInspection.engine(of: source, fileSystem: fileSystem) else {
            throw .missingFile(path: "\(source)/CURRENT or CHECKPOINT")
        }
        try disk { () throws(FileIOError) in
            try fileSystem.createDirectory(destination)
            guard try fileSystem.list(destination).isEmpty else {
                throw FileIOError(
                    operation: .createDirectory, path: destination, reason: .alreadyExists, detail: "it is not empty")
            }
        }
        let target = Target()
        if isAlone {
            var alone = StandaloneOptions()
            alone.engine = engine
            alone.store = options
            alone.wal = wal
            target.alone = try StandaloneStore.open(
                directory: destination, fileSystem: fileSystem, options: alone)
            target.store = target.alone?.engine
        } else {
            target.store = try openStore(
                kind: engine, directory: destination, fileSystem: fileSystem, options: options)
        }
        var report = SalvageReport(engine: engine)
        var applied = LogPosition.zero
        switch engine {
        case .lsm: applied = try readTree(source, fileSystem, target, &report)
        case .hashlog: applied = try readHashLog(source, fileSystem, target, &report)
        }
        try target.push()
        if isAlone { try readLogs(directory + "/wal", fileSystem, above: applied.index, target, &report) }
        try target.finish(at: applied)
        report.keys = target.sequences.values.count { $0.isPut }
        return report
    }

    /// The new store, and which version of each key it has.
    private final class Target {
        var store: (any KeyValueStore)?
        var alone: StandaloneStore?
        var sequences: [[UInt8]: (sequence: UInt64, isPut: Bool)] = [:]
        private var batch = WriteBatch()

        func add(
            _ key: [UInt8], _ sequence: UInt64, _ isPut: Bool, _ value: UnsafeRawBufferPointer
        ) throws(StorageError) {
            if let known = sequences[key], known.sequence >= sequence { return }
            sequences[key] = (sequence, isPut)
            if isPut {
                try key.withRawBytes { (key) throws(StorageError) in try batch.put(key: key, value: value) }
            } else {
                try batch.delete(key: key)
            }
            if batch.count >= batchOperations { try push() }
        }

        func removeRange(from: [UInt8], to: [UInt8], _ sequence: UInt64) throws(StorageError) {
            let none = UnsafeRawBufferPointer(start: nil, count: 0)
            let covered = sequences.keys.filter {
                !$0.lexicographicallyPrecedes(from) && $0.lexicographicallyPrecedes(to)
            }
            for key in covered.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
                try add(key, sequence, false, none)
            }
        }

        func push() throws(StorageError) {
            guard !batch.isEmpty, let store else { return }
            if let alone {
                try alone.write(batch, durability: .process)
            } else {
                _ = try store.apply(batch, at: LogPosition(index: store.applied.index + 1, term: 0))
            }
            batch.removeAll()
            while store.needsBackpressure { if try !store.performMaintenance() { break } }
        }

        /// Leaves the store at the log position of the old one, where there is a log that is not the store's own.
        func finish(at applied: LogPosition) throws(StorageError) {
            try push()
            guard let store else { return }
            if alone == nil, applied.index > store.applied.index {
                _ = try store.apply(WriteBatch(), at: applied)
            }
            try store.flush()
            if let alone { alone.close() } else { store.close() }
        }
    }

    private static func readTree(
        _ directory: String, _ fileSystem: any FileSystem, _ target: Target, _ report: inout SalvageReport
    ) throws(StorageError) -> LogPosition {
        let state = try StorageInspection.manifest(directory, fileSystem)
        var tables: [Table] = []
        for metadata in state.tables {
            let path = directory + "/" + StoreFile.table(metadata.number).name
            do throws(StorageError) {
                let file = try disk { () throws(FileIOError) in try fileSystem.open(path, .read) }
                tables.append(try Table(file, metadata: metadata, store: state.store))
            } catch {
                report.losses.append(error.description)
            }
        }
        // All are open before the first is read: a range delete hides entries of other tables.
        for table in tables {
            for block in 0..<table.blockCount { try read(table, block, hiddenBy: tables, target, &report) }
        }
        return state.applied
    }

    /// Reads one block. A bad one is a loss; an error of the new store ends the salvage.
    private static func read(
        _ table: Table, _ block: Int, hiddenBy tables: [Table], _ target: Target, _ report: inout SalvageReport
    ) throws(StorageError) {
        var found: [(key: [UInt8], sequence: UInt64, isPut: Bool, value: [UInt8])] = []
        do throws(StorageError) {
            try StorageInspection.forEachEntry(of: table, block: block) { key, sequence, isPut, value in
                found.append((key, sequence, isPut, [UInt8](value)))
            }
        } catch {
            report.losses.append(error.description)
        }
        for entry in found {
            report.entries += 1
            let covered = entry.key.withUnsafeBytes { key in
                tables.map { $0.rangeDeletes?.newest(over: key, upTo: SkipList.sequenceMax) ?? 0 }.max() ?? 0
            }
            if covered > entry.sequence { continue }
            try entry.value.withRawBytes { (value) throws(StorageError) in
                try target.add(entry.key, entry.sequence, entry.isPut, value)
            }
        }
    }

    private static func readHashLog(
        _ directory: String, _ fileSystem: any FileSystem, _ target: Target, _ report: inout SalvageReport
    ) throws(StorageError) -> LogPosition {
        guard let checkpoint = try HashLogCheckpoint.read(directory: directory, fileSystem: fileSystem) else {
            throw .missingFile(path: directory + "/" + HashLogCheckpoint.name)
        }
        for entry in checkpoint.files {
            let file: HashLogStore.FileState
            do throws(StorageError) {
                file = try HashLogStore.openFile(entry, directory, fileSystem, store: checkpoint.store, cutting: false)
            } catch {
                report.losses.append(error.description)
                continue
            }
            var scanner = RecordScanner(file.data, end: file.bytes)
            while true {
                var failure: StorageError?
                var isMore = false
                do throws(StorageError) {
                    isMore = try scanner.next { (_, header, record) throws(StorageError) in
                        let none = UnsafeRawBufferPointer(start: nil, count: 0)
                        do throws(StorageError) {
                            try target.add(
                                [UInt8](header.key(record)), file.data.sequence(header.timestamp),
                                !header.isTombstone, header.value(record) ?? none)
                        } catch {
                            failure = error
                        }
                        report.entries += 1
                    }
                } catch {
                    report.losses.append(error.description)
                    isMore = scanner.skipToNextRecord()
                }
                if let failure { throw failure }
                if !isMore { break }
            }
        }
        return checkpoint.applied
    }

    /// Replays what the log still holds, on top of the store. Versions there are newer than any in the store's files.
    private static func readLogs(
        _ directory: String, _ fileSystem: any FileSystem, above applied: UInt64, _ target: Target,
        _ report: inout SalvageReport
    ) throws(StorageError) {
        let names = try disk { () throws(FileIOError) in try fileSystem.list(directory) }
        var sequence: UInt64 = 1 << 56
        var last = applied
        for number in names.compactMap({ WriteAheadLog.number($0) }).sorted() {
            let path = directory + "/" + WriteAheadLog.name(number)
            let bytes = try StorageInspection.read(path, fileSystem)
            var batches: [WriteBatch] = []
            do throws(StorageError) {
                _ = try WALScan(bytes, number: number, path: path) { (index, payload) throws(StorageError) in
                    guard index > last else { return }
                    batches.append(try WriteBatch(validating: [UInt8](payload)))
                    last = index
                }
            } catch {
                report.losses.append(error.description)
            }
            for operation in batches.joined() {
                sequence += 1
                report.entries += 1
                if operation.kind == .deleteRange {
                    try target.removeRange(from: operation.key, to: operation.value, sequence)
                    continue
                }
                try operation.value.withRawBytes { (value) throws(StorageError) in
                    try target.add(operation.key, sequence, operation.kind == .put, value)
                }
            }
        }
    }
}

extension RecordScanner {
    /// Moves over damage to the next place where a whole good record begins; false when there is none.
    fileprivate mutating func skipToNextRecord() -> Bool {
        while advanceOneByte() {
            var attempt = self
            if (try? attempt.next { _, _, _ in }) == true { return true }
        }
        return false
    }
}
