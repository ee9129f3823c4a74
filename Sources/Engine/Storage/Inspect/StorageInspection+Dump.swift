// Single files as tables for people: write-ahead logs, tables, manifests and data files of the hash log. A damaged file
// is shown up to the damage.
public import FileIO

extension StorageInspection {
    /// The records of a write-ahead log, one row for each operation.
    public static func dumpWAL(
        _ path: String, fileSystem: any FileSystem, limit: Int
    ) throws(StorageError) -> StorageDump {
        guard let number = WriteAheadLog.number(name(of: path)) else { throw foreign(path, "wal-NNNNNN.log") }
        let bytes = try read(path, fileSystem)
        var dump = StorageDump(["index", "operation", "key", "value bytes"])
        let scan: WALScan
        do throws(StorageError) {
            scan = try WALScan(bytes, number: number, path: path) { (index, payload) throws(StorageError) in
                for operation in try WriteBatch(validating: [UInt8](payload)) {
                    dump.add(
                        [
                            String(index), "\(operation.kind)", text(operation.key),
                            operation.kind == .put ? String(operation.value.count) : "-",
                        ], limit: limit)
                }
            }
        } catch {
            dump.fault = error.description
            return dump
        }
        if let preamble = scan.preamble {
            dump.header = [
                ("log", String(preamble.number)), ("first index", String(preamble.firstIndex)),
                (
                    "follows log",
                    "\(preamble.previousNumber), ending at byte \(preamble.previousEnd)"
                        + (preamble.isPreviousSynced ? "" : ", not synced")
                ),
                ("records", String(scan.records)), ("frames", String(scan.frames)),
                ("ends at byte", String(scan.end)), ("promised durable to", String(scan.syncedOffset)),
            ]
        } else {
            dump.header = [("log", "\(number), never begun")]
        }
        return dump
    }

    /// The tables that a manifest names.
    public static func dumpManifest(
        _ path: String, fileSystem: any FileSystem, limit: Int
    ) throws(StorageError) -> StorageDump {
        guard case .manifest(let number)? = StoreFile(name(of: path)) else { throw foreign(path, "MANIFEST-NNNNNN") }
        let state = try Manifest.load(read(path, fileSystem), number: number, path: path)
        var dump = StorageDump(["table", "level", "bytes", "entries", "deletes", "sequences", "smallest", "largest"])
        dump.header = [
            ("store", String(state.store, radix: 16)), ("next number", String(state.nextNumber)),
            ("applied", "index \(state.applied.index), term \(state.applied.term)"),
            ("last sequence", String(state.lastSequence)), ("tables", String(state.tables.count)),
        ]
        for table in state.tables {
            dump.add(
                [
                    String(table.number), String(table.level), String(table.fileSize), String(table.entries),
                    String(table.deletes), "\(table.sequenceMin)-\(table.sequenceMax)", text(table.smallest),
                    text(table.largest),
                ], limit: limit)
        }
        return dump
    }

    /// The entries of a table; the manifest in its folder must name it.
    public static func dumpTable(
        _ path: String, fileSystem: any FileSystem, limit: Int
    ) throws(StorageError) -> StorageDump {
        guard case .table(let number)? = StoreFile(name(of: path)) else { throw foreign(path, "NNNNNN.sst") }
        let directory = fileSystem.directory(of: path)
        let state = try manifest(directory, fileSystem)
        guard let metadata = state.tables.first(where: { $0.number == number }) else {
            throw .missingFile(path: path + " (the manifest names no table \(number))")
        }
        let file = try disk { () throws(FileIOError) in try fileSystem.open(path, .read) }
        let table = try Table(file, metadata: metadata, store: state.store)
        var dump = StorageDump(["block", "key", "sequence", "operation", "value bytes"])
        dump.header = [
            ("table", String(number)), ("level", String(metadata.level)), ("bytes", String(metadata.fileSize)),
            ("blocks", String(table.blockCount)),
            ("index", table.indexParts == 0 ? "one block" : "\(table.indexParts) parts"),
            ("entries", String(metadata.entries)),
            ("deletes", String(metadata.deletes)),
        ]
        for block in 0..<table.blockCount {
            do throws(StorageError) {
                try forEachEntry(of: table, block: block) { key, sequence, isPut, value in
                    dump.add(
                        [
                            String(block), text(key), String(sequence), isPut ? "put" : "delete",
                            isPut ? String(value.count) : "-",
                        ], limit: limit)
                }
            } catch {
                dump.fault = error.description
                return dump
            }
        }
        return dump
    }

    /// The records of a data file of the hash log.
    public static func dumpDataFile(
        _ path: String, fileSystem: any FileSystem, limit: Int
    ) throws(StorageError) -> StorageDump {
        guard case .data(let number)? = HashLogFile(name(of: path)) else { throw foreign(path, "NNNNNN.data") }
        let directory = fileSystem.directory(of: path)
        let found = try HashLogCheckpoint.read(directory: directory, fileSystem: fileSystem)
        guard let checkpoint = found, let entry = checkpoint.files.first(where: { $0.number == number }) else {
            throw .missingFile(path: path + " (the checkpoint names no data file \(number))")
        }
        let file = try HashLogStore.openFile(entry, directory, fileSystem, store: checkpoint.store, cutting: false)
        var dump = StorageDump(["byte", "sequence", "operation", "key", "value bytes"])
        dump.header = [
            ("data file", String(number)), ("durable bytes", String(entry.bytes)),
            ("sealed", entry.isSealed ? "yes" : "no"), ("base sequence", String(file.data.baseSequence)),
        ]
        var scanner = RecordScanner(file.data, end: file.bytes)
        do throws(StorageError) {
            while try scanner.next({ (offset, header, record) in
                dump.add(
                    [
                        String(offset), String(file.data.sequence(header.timestamp)),
                        header.isTombstone ? "delete" : "put", text([UInt8](header.key(record))),
                        header.isTombstone ? "-" : String(header.valueBytes),
                    ], limit: limit)
            }) {}
        } catch {
            dump.fault = error.description
        }
        return dump
    }

    // MARK: shared with salvage

    static func manifest(
        _ directory: String, _ fileSystem: any FileSystem
    ) throws(StorageError) -> ManifestState {
        guard let number = try CurrentFile.read(directory: directory, fileSystem: fileSystem) else {
            throw .missingFile(path: directory + "/" + StoreFile.current.name)
        }
        let path = directory + "/" + StoreFile.manifest(number).name
        return try Manifest.load(read(path, fileSystem), number: number, path: path)
    }

    static func forEachEntry(
        of table: Table, block: Int,
        _ body: (_ key: [UInt8], _ sequence: UInt64, _ isPut: Bool, _ value: UnsafeRawBufferPointer)
            throws(StorageError) -> Void
    ) throws(StorageError) {
        var walk = TableWalk()
        let buffer = try table.readBlock(block, keeping: true, &walk)
        defer { extendLifetime(buffer) }
        let view = try table.view(buffer, block: block)
        for row in 0..<view.count {
            let trailer = view.trailer(row)
            let isPut = trailer & 0xff == UInt64(OperationKind.put.rawValue)
            try body([UInt8](view.prefix) + [UInt8](view.suffix(row)), trailer >> 8, isPut, view.value(row))
        }
    }

    static func read(_ path: String, _ fileSystem: any FileSystem) throws(StorageError) -> [UInt8] {
        let bytes = try disk { () throws(FileIOError) in try fileSystem.readFile(path) }
        guard let bytes else { throw .missingFile(path: path) }
        return bytes
    }

    private static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    private static func foreign(_ path: String, _ form: String) -> StorageError {
        .missingFile(path: "\(path) is not named \(form), which says what is in it; a file of that form")
    }

    /// A key as people read it: printable ASCII as it is, other bytes as \xNN.
    static func text(_ key: [UInt8]) -> String {
        var text = ""
        for byte in key {
            if 0x20 < byte, byte < 0x7f, byte != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                text += byte < 16 ? "\\x0" + String(byte, radix: 16) : "\\x" + String(byte, radix: 16)
            }
        }
        return text.isEmpty ? "\"\"" : text
    }
}
