// `Server storage verify`: every byte of a node that is not running, its stores and its segmented logs alike. It reads
// only.
import ArgumentParser
import FileIO
import PosixIO
import SegmentedLog
import Storage
import StrataNode

/// Reads every byte of every store and every log below a folder.
struct StorageVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Checks every checksum of every store and log below a folder.",
        discussion: """
            Ends with status 1 when something is damaged, or when the files of a node contradict each other. Ends with \
            status 3 when a log ends with an interrupted write, which opening it would cut off: harmless after a crash, for \
            nothing of it was acknowledged. The stores must not be open. An index file that opening rebuilds is named, but \
            is no damage.
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
        let contradictions: [String]
        do throws(NodeError) {
            contradictions = try EvidenceCheck.contradictions(
                in: directory, logs: logs, fileSystem: PosixFileSystem())
        } catch {
            throw CommandError.failed(error.description)
        }
        for contradiction in contradictions { StandardOutput.write("contradiction: \(contradiction)") }
        let doubts = try DataFolder.doubts(in: directory, fileSystem: PosixFileSystem())
        for doubt in doubts { StandardOutput.write(doubt) }
        let damaged = files.count { $0.fault != nil } + logs.count { $0.isDamaged }
        let all = "\(files.count) files and \(logs.count) logs"
        guard damaged == 0 else { throw CommandError.failed("\(damaged) of \(all) are damaged") }
        guard contradictions.isEmpty else {
            throw CommandError.failed("\(contradictions.count) groups hold less than they should")
        }
        guard doubts.isEmpty else {
            throw CommandError.failed("what says who this node is, or which groups it holds, is missing or damaged")
        }
        let torn = logs.count(where: \.isTorn)
        guard torn == 0 else {
            throw CommandError.torn("\(torn) of \(all) end with an interrupted write, the others are good")
        }
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
                log.isDamaged ? "DAMAGED" : log.isTorn ? "TORN" : "good",
            ])
        }
        table.print()
    }
}
