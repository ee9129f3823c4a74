// `Server storage verify`: every byte of a node that is not running, its stores and its segmented logs alike. It reads only.
import ArgumentParser
import FileIO
import PosixIO
import SegmentedLog
import Storage

/// Reads every byte of every store and every log below a folder.
struct StorageVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Checks every checksum of every store and log below a folder.",
        discussion: """
            Ends with status 1 when something is damaged. The stores must not be open. The end of an interrupted write \
            and an index file that opening rebuilds are named, but are no damage.
            """)

    @Argument(help: "The folder; a node's data folder, a single store or a single log.")
    var directory: String

    func run() throws {
        let files = try StorageCommand.attempt { () throws(StorageError) in
            try StorageInspection.verify(directory, fileSystem: PosixFileSystem())
        }
        let logs: [SegmentedLog.Verification]
        do throws(SegmentedLogError) {
            logs = try SegmentedLog.verifyAll(below: directory, fileSystem: PosixFileSystem())
        } catch {
            throw CommandError.failed(error.description)
        }
        guard !files.isEmpty || !logs.isEmpty else {
            throw CommandError.failed("there is no store and no log in \(directory) or below it")
        }
        show(files, logs)
        for fault in files.compactMap(\.fault) { StandardOutput.write(fault) }
        for finding in logs.flatMap(\.findings) { StandardOutput.write(finding.description) }
        let damaged = files.count { $0.fault != nil } + logs.count { $0.isDamaged }
        let all = "\(files.count) files and \(logs.count) logs"
        guard damaged == 0 else { throw CommandError.failed("\(damaged) of \(all) are damaged") }
        StandardOutput.write("all \(all) are good")
    }

    private func show(_ files: [FileReport], _ logs: [SegmentedLog.Verification]) {
        var table = TextTable(["file", "what", "bytes", "entries", "verdict"], rightAligned: [2, 3])
        for report in files {
            table.add([
                report.path, report.role, String(report.bytes), String(report.entries),
                report.fault == nil ? "good" : "DAMAGED",
            ])
        }
        for log in logs {
            table.add([
                log.directory, "log, \(log.segments) segments", String(log.bytes), String(log.entries),
                log.isDamaged ? "DAMAGED" : "good",
            ])
        }
        table.print()
    }
}
