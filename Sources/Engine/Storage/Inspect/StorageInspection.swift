// What the tools see of stores that nobody has open: which folders are stores, whether every byte of their files is
// what was written, and what single files hold, as tables for people. It reads only; nothing here may change a file.
internal import CEngine
public import FileIO

/// What a check of one file found.
public struct FileReport: Sendable, Hashable {
    public var path: String
    /// Table, manifest, data file, log and so on.
    public var role: String
    public var bytes: UInt64
    /// Records, entries or edits in it.
    public var entries: UInt64
    /// What is wrong; nil when nothing is.
    public var fault: String?
}

/// The content of one file, for people.
public struct StorageDump: Sendable {
    public var header: [(name: String, value: String)] = []
    public var columns: [String]
    public var rows: [[String]] = []
    /// Rows that were left out because of the limit.
    public var omitted = 0
    /// Why the dump ends early.
    public var fault: String?

    init(_ columns: [String]) {
        self.columns = columns
    }

    mutating func add(_ row: @autoclosure () -> [String], limit: Int) {
        if rows.count < limit { rows.append(row()) } else { omitted += 1 }
    }
}

public enum StorageInspection {
    /// Folders below the given one are looked at this deep.
    private static let depthMax = 6

    /// The engine that wrote a folder; nil when it is no store.
    public static func engine(
        of directory: String, fileSystem: any FileSystem
    ) throws(StorageError) -> StorageEngineKind? {
        try disk { () throws(FileIOError) in
            if try fileSystem.exists(directory + "/" + StoreFile.current.name) { return .lsm }
            return try fileSystem.exists(directory + "/" + HashLogCheckpoint.name) ? .hashlog : nil
        }
    }

    /// Checks every store and every write-ahead log in `directory` and below it. The stores must not be open.
    /// - Complexity: O(bytes), a whole file in memory at a time for logs, pieces for the others.
    public static func verify(_ directory: String, fileSystem: any FileSystem) throws(StorageError) -> [FileReport] {
        try verify(directory, fileSystem, depth: 0)
    }

    private static func verify(
        _ directory: String, _ fileSystem: any FileSystem, depth: Int
    ) throws(StorageError) -> [FileReport] {
        let names = try disk { () throws(FileIOError) in try fileSystem.list(directory) }
        // A lock that is held says that the files change while they are read.
        let lock = try names.contains("LOCK") ? disk { () throws(FileIOError) in try fileSystem.lock(directory) } : nil
        defer { lock?.release() }
        var reports: [FileReport] = []
        switch try engine(of: directory, fileSystem: fileSystem) {
        case .lsm: reports += verifyTree(directory, fileSystem)
        case .hashlog: reports += verifyHashLog(directory, fileSystem)
        case nil: reports += try verifyLogs(names, directory, fileSystem)
        }
        guard depth < depthMax else { return reports }
        for name in names {
            // Only folders can be listed.
            guard (try? fileSystem.list(directory + "/" + name)) != nil else { continue }
            reports += try verify(directory + "/" + name, fileSystem, depth: depth + 1)
        }
        return reports
    }

    /// Runs a check and makes a report of it.
    static func report(
        _ path: String, _ role: String, _ fileSystem: any FileSystem,
        _ check: (any File) throws(StorageError) -> UInt64
    ) -> FileReport {
        var report = FileReport(path: path, role: role, bytes: 0, entries: 0, fault: nil)
        do throws(StorageError) {
            let file = try disk { () throws(FileIOError) in try fileSystem.open(path, .read) }
            report.bytes = try disk { () throws(FileIOError) in try file.size() }
            report.entries = try check(file)
        } catch {
            report.fault = error.description
        }
        return report
    }

    private static func verifyTree(_ directory: String, _ fileSystem: any FileSystem) -> [FileReport] {
        var state: ManifestState?
        var reports: [FileReport] = []
        let current = directory + "/" + StoreFile.current.name
        var number: UInt64 = 0
        reports.append(
            report(current, "pointer", fileSystem) { _ throws(StorageError) in
                number = try CurrentFile.read(directory: directory, fileSystem: fileSystem) ?? 0
                return 1
            })
        guard reports[0].fault == nil else { return reports }
        let path = directory + "/" + StoreFile.manifest(number).name
        reports.append(
            report(path, "manifest", fileSystem) { file throws(StorageError) in
                let bytes = try disk { () throws(FileIOError) in try file.read(count: Int(try file.size()), at: 0) }
                let loaded = try Manifest.load(bytes, number: number, path: path)
                state = loaded
                return UInt64(loaded.tables.count)
            })
        for table in state?.tables ?? [] {
            let path = directory + "/" + StoreFile.table(table.number).name
            reports.append(
                report(path, "table, level \(table.level)", fileSystem) { file throws(StorageError) in
                    try checkWhole(file, bytes: table.fileSize, checksum: table.checksum)
                    return table.entries
                })
        }
        return reports
    }

    private static func checkWhole(_ file: any File, bytes: UInt64, checksum: UInt32) throws(StorageError) {
        var position: UInt64 = 0
        var sum: UInt32 = 0
        while true {
            let from = position
            let piece = try disk { () throws(FileIOError) in try file.read(count: 1 << 20, at: from) }
            if piece.isEmpty { break }
            sum = strata_crc32c(sum, piece, piece.count)
            position += UInt64(piece.count)
        }
        guard position == bytes, sum == checksum else {
            throw .corruption(
                path: file.path, position: min(position, bytes),
                detail: "\(position) bytes with checksum \(sum), the manifest says \(bytes) with \(checksum)")
        }
    }

    private static func verifyHashLog(_ directory: String, _ fileSystem: any FileSystem) -> [FileReport] {
        var checkpoint: HashLogCheckpoint?
        var reports = [
            report(directory + "/" + HashLogCheckpoint.name, "checkpoint", fileSystem) { _ throws(StorageError) in
                checkpoint = try HashLogCheckpoint.read(directory: directory, fileSystem: fileSystem)
                return UInt64(checkpoint?.files.count ?? 0)
            }
        ]
        guard let checkpoint else { return reports }
        for entry in checkpoint.files {
            let path = directory + "/" + HashLogFile.data(entry.number).name
            reports.append(
                report(path, entry.isSealed ? "data, sealed" : "data", fileSystem) { _ throws(StorageError) in
                    let file = try HashLogStore.openFile(
                        entry, directory, fileSystem, store: checkpoint.store, cutting: false)
                    var scanner = RecordScanner(file.data, end: file.bytes)
                    var records: UInt64 = 0
                    while try scanner.next({ _, _, _ in }) { records += 1 }
                    return records
                })
        }
        return reports
    }

    private static func verifyLogs(
        _ names: [String], _ directory: String, _ fileSystem: any FileSystem
    ) throws(StorageError) -> [FileReport] {
        var reports: [FileReport] = []
        let numbers = names.compactMap { WriteAheadLog.number($0) }.sorted()
        // Newest first: each one says where the one before it ends.
        var next: WALPreamble?
        for number in numbers.reversed() {
            let path = directory + "/" + WriteAheadLog.name(number)
            reports.append(
                report(path, "write-ahead log", fileSystem) { file throws(StorageError) in
                    let bytes = try disk { () throws(FileIOError) in try file.read(count: Int(try file.size()), at: 0) }
                    let end = next?.previousNumber == number ? next?.previousEnd : nil
                    let scan = try WALScan(
                        bytes, number: number, path: path, end: end, isEndSynced: next?.isPreviousSynced ?? true
                    ) {
                        (_, payload) throws(StorageError) in _ = try WriteBatch(validating: [UInt8](payload))
                    }
                    next = scan.preamble
                    return scan.records
                })
        }
        return reports.reversed()
    }
}
