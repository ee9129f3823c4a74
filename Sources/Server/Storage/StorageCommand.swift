// `Server storage`: looks at the files of stores that are not running. Verification and dumps change nothing; salvage writes
// into a new folder only.
import ArgumentParser
import FileIO
import PosixIO
import SegmentedLog
import Storage

/// Checks, shows and saves storage files.
struct StorageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "storage", abstract: "Checks, shows and saves the files of a store that is not running.",
        subcommands: [StorageVerifyCommand.self, StorageDumpCommand.self, StorageRepairCommand.self])

    /// Runs an engine call, turning its error into a command's.
    static func attempt<Result>(_ call: () throws(StorageError) -> Result) throws(CommandError) -> Result {
        do throws(StorageError) {
            return try call()
        } catch {
            throw .failed(error.description)
        }
    }
}

/// Shows what one file holds.
struct StorageDumpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dump", abstract: "Prints what a storage file holds, as a table.",
        discussion: "A damaged file is shown up to the damage; the status is 1 then.")

    enum FileKind: String, ExpressibleByArgument, CaseIterable {
        case wal, sst, manifest, log
    }

    @Argument(help: "wal, sst, manifest, or log (a segment NNNN.log, or a NNNNNN.data of the hash log engine).")
    var kind: FileKind

    @Argument(help: "The file.")
    var path: String

    @Option(help: "Rows to print.")
    var limit = 1000

    func validate() throws {
        guard limit >= 0 else { throw ValidationError("--limit is 0 or more.") }
    }

    func run() throws {
        if kind == .log, path.hasSuffix(".log") { return try showSegment() }
        let dump = try StorageCommand.attempt { () throws(StorageError) in
            let disk = PosixFileSystem()
            return switch kind {
            case .wal: try StorageInspection.dumpWAL(path, fileSystem: disk, limit: limit)
            case .sst: try StorageInspection.dumpTable(path, fileSystem: disk, limit: limit)
            case .manifest: try StorageInspection.dumpManifest(path, fileSystem: disk, limit: limit)
            case .log: try StorageInspection.dumpDataFile(path, fileSystem: disk, limit: limit)
            }
        }
        var table = TextTable(dump.columns)
        for row in dump.rows { table.add(row) }
        try show(dump.header, table, omitted: dump.omitted, fault: dump.fault)
    }

    private func showSegment() throws {
        let dump: SegmentedLog.SegmentDump
        do throws(SegmentedLogError) {
            dump = try SegmentedLog.dump(segment: path, fileSystem: PosixFileSystem(), limit: limit)
        } catch {
            throw CommandError.failed(error.description)
        }
        var table = TextTable(
            ["byte", "frame", "index", "term", "offset", "records", "payload bytes"], rightAligned: [0, 2, 3, 4, 5, 6])
        for frame in dump.frames {
            let header = frame.header
            // A mark has its own position in place of a count.
            let records = header.kind == .mark ? "-" : String(header.recordCount)
            table.add([
                String(frame.position), "\(header.kind)", String(header.index), String(header.term),
                String(header.baseOffset), records, String(header.payloadCount),
            ])
        }
        let header = [
            ("frames end at byte", String(dump.end)), ("file has bytes", String(dump.fileBytes)),
            ("frames", String(dump.frames.count + dump.omitted)),
        ]
        try show(header, table, omitted: dump.omitted, fault: dump.fault)
    }

    private func show(
        _ header: [(name: String, value: String)], _ table: TextTable, omitted: Int, fault: String?
    ) throws {
        let width = header.map(\.name.count).max() ?? 0
        for (name, value) in header { StandardOutput.write(TextTable.pad(name, width) + "  " + value) }
        StandardOutput.write("")
        table.print()
        if omitted > 0 { StandardOutput.write("… and \(omitted) more; --limit shows them") }
        if let fault { throw CommandError.failed(fault) }
    }
}

/// Saves what is readable into a new folder.
struct StorageRepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Copies what is readable of a damaged store into a new one.",
        discussion: """
            The damaged folder is only read. The new store can lack writes that were acknowledged, so a node of a \
            cluster does better to start with an empty folder and catch up from its peers.
            """)

    @Option(help: "The damaged store's folder.")
    var salvage: String

    @Option(help: "The new store's folder; it must be empty or missing.")
    var to: String

    func run() throws {
        let report = try StorageCommand.attempt { () throws(StorageError) in
            try StorageSalvage.salvage(salvage, to: to, fileSystem: PosixFileSystem())
        }
        for loss in report.losses { StandardOutput.write("lost: \(loss)") }
        let losses = report.losses.isEmpty ? "nothing was unreadable" : "\(report.losses.count) places were unreadable"
        StandardOutput.write(
            "saved \(report.keys) keys (\(report.entries) versions read, engine \(report.engine)) to \(to); \(losses)")
    }
}
