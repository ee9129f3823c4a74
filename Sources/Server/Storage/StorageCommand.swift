// `Server storage`: looks at the files of stores that are not running. Verification and dumps change nothing; salvage
// writes into a new folder only.
import ArgumentParser
import FileIO
import PosixIO
import SegmentedLog
import Storage
import StrataNode

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

/// Goes on with what is left: of a store, into a new folder; of a replica, in its place.
struct StorageRepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Copies what is readable of a damaged store, or accepts what a replica lost.",
        discussion: """
            With --salvage the damaged folder is only read. The new store can lack writes that were acknowledged, so a node \
            of a cluster does better to start with an empty folder and catch up from its peers. With --accept-loss a lone \
            replica that a node refuses goes on with the entries that are left at the front of its log, and the key-value \
            group with what is left of its store and its log; what is damaged is kept beside it. With --registry the list of the groups that a node holds is written anew.
            """)

    @Option(help: "The damaged store's folder.")
    var salvage: String?

    @Option(help: "The new store's folder; it must be empty or missing.")
    var to: String?

    @Option(name: .customLong("accept-loss"), help: "A refused replica, as the node names it: tt-0, or controller.")
    var acceptLoss: String?

    @Option(
        help: "The engine that the node runs with, lsm or hashlog; for --accept-loss keyvalue when its store is gone.")
    var engine: String?

    @Flag(help: "Write node/raft/registry anew from the state files that are there.")
    var registry = false

    @Option(help: "The node's data folder, for --accept-loss and --registry; the node must not be running.")
    var data: String?

    func validate() throws {
        let orders = (salvage == nil ? 0 : 1) + (acceptLoss == nil ? 0 : 1) + (registry ? 1 : 0)
        guard orders == 1 else { throw ValidationError("give one of --salvage, --accept-loss and --registry.") }
        guard (salvage == nil) == (to == nil) else { throw ValidationError("--salvage and --to belong together.") }
        guard (salvage == nil) == (data != nil) else {
            throw ValidationError("--data belongs to --accept-loss and --registry.")
        }
        guard engine == nil || acceptLoss == "keyvalue" else {
            throw ValidationError("--engine belongs to --accept-loss keyvalue.")
        }
        guard engine == nil || engine.flatMap(StorageEngineKind.init(rawValue:)) != nil else {
            throw ValidationError("--engine is lsm or hashlog.")
        }
    }

    func run() throws {
        if let salvage, let to { return try save(salvage, to) }
        guard let data else { return }
        let disk = PosixFileSystem()
        do {
            let lock = try disk.lock(data + "/node")
            defer { lock.release() }
            if let acceptLoss {
                try accept(acceptLoss, data, disk)
            } else {
                let names = try GroupRegistry.rebuild(directory: data, fileSystem: disk)
                StandardOutput.write("the registry names \(names.count) groups: " + names.joined(separator: ", "))
            }
        } catch let error as NodeError {
            throw CommandError.failed(error.description)
        } catch let error as FileIOError {
            throw CommandError.failed(error.description)
        } catch let error as ServerError {
            throw CommandError.failed(error.description)
        }
    }

    private func accept(_ name: String, _ data: String, _ disk: PosixFileSystem) throws {
        let voters = try DataFolder.storedVoters(in: data, fileSystem: disk)
        guard voters <= 1 else {
            throw CommandError.failed(
                "\(name) has \(voters) voters: start this node and it is rebuilt from the others; if they have lost it too, "
                    + "restore one of them from a backup")
        }
        let report = try GroupRepair.acceptLoss(
            of: name, in: data, engine: engine.flatMap(StorageEngineKind.init(rawValue:)), fileSystem: disk)
        if let lost = report.lostFront {
            StandardOutput.write(
                "LOST: entries \(lost.lowerBound) to \(lost.upperBound) of \(name), which its store had or should have had"
            )
        }
        if report.recordedIndex > report.lastIndex {
            StandardOutput.write(
                "LOST: entries \(report.lastIndex + 1) to \(report.recordedIndex) of \(name), which were durable")
        }
        for kept in report.kept { StandardOutput.write("what is damaged is kept as \(kept)") }
        StandardOutput.write("\(name) goes on behind entry \(report.lastIndex)")
    }

    private func save(_ salvage: String, _ to: String) throws {
        let report = try StorageCommand.attempt { () throws(StorageError) in
            try StorageSalvage.salvage(salvage, to: to, fileSystem: PosixFileSystem())
        }
        for loss in report.losses { StandardOutput.write("lost: \(loss)") }
        let losses = report.losses.isEmpty ? "nothing was unreadable" : "\(report.losses.count) places were unreadable"
        StandardOutput.write(
            "saved \(report.keys) keys (\(report.entries) versions read, engine \(report.engine)) to \(to); \(losses)")
    }
}
