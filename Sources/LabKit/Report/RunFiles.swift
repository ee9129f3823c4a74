// Puts a report into its folder. Each file is written under a temporary name, made durable and renamed, so that a
// reader never sees half a report and an interrupted writer leaves the old one.
internal import Foundation
internal import Glibc

/// The files of a run, in `<results>/runs/<run-id>/`.
public enum RunFiles {
    /// Where the report's files go.
    public static func folder(of report: RunReport, results: String) -> String {
        "\(results)/runs/\(report.run)"
    }

    /// Writes `run.json` and `run.prom`, creating folders as needed.
    /// - Returns: the paths written.
    public static func write(_ report: RunReport, results: String) throws(LabError) -> [String] {
        let folder = folder(of: report, results: results)
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw LabError("can't create \(folder) (\(error)); choose another place with --results or use --no-write")
        }
        let files = [("run.json", try JSONReport.encode(report)), ("run.prom", PrometheusReport.render(report))]
        for (name, text) in files {
            try replace(folder + "/" + name, with: text)
        }
        return files.map { folder + "/" + $0.0 }
    }

    /// Writes `text` to a temporary name beside `path`, syncs it, and renames it into place.
    public static func replace(_ path: String, with text: String) throws(LabError) {
        let temporary = path + ".tmp"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw LabError("open", temporary, errno: errno) }
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let code = errno
                close(file)
                unlink(temporary)
                throw LabError("write", temporary, errno: code, remedy: "make room or choose another --results")
            }
            written += count
        }
        let synced = fsync(file)
        let code = errno
        close(file)
        guard synced == 0 else { throw LabError("fsync", temporary, errno: code) }
        guard rename(temporary, path) == 0 else { throw LabError("rename", temporary, errno: errno) }
    }
}
