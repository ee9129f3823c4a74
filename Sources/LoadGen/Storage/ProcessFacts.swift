// What /proc says of this process: bytes handed to the disk's cache, and the most memory it ever held. A fact that the
// system does not give is nil, never a guess.
import Glibc

enum ProcessFacts {
    /// Bytes that this process caused to be sent to storage, less those of files removed before they were sent
    /// (proc(5), `io`).
    static var writtenBytes: UInt64? {
        guard let written = field("write_bytes", in: "/proc/self/io") else { return nil }
        let cancelled = field("cancelled_write_bytes", in: "/proc/self/io") ?? 0
        return written - min(written, cancelled)
    }

    /// The highest resident size since the last `resetPeak`.
    static var peakResidentBytes: UInt64? {
        field("VmHWM", in: "/proc/self/status").map { $0 * 1024 }
    }

    /// The resident size now.
    static var residentBytes: UInt64? {
        field("VmRSS", in: "/proc/self/status").map { $0 * 1024 }
    }

    /// Makes the peak begin at today's size (proc(5), `clear_refs`); false where that is not allowed.
    static func resetPeak() -> Bool {
        let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        return write(file, "5", 1) == 1
    }

    private static func field(_ name: String, in path: String) -> UInt64? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard let value = value(of: name, line: text) else { continue }
            return value
        }
        return nil
    }

    /// `name: 123 kB` → 123; nil for other lines.
    static func value(of name: String, line: String) -> UInt64? {
        let parts = line.split(whereSeparator: { $0 == ":" || $0 == " " || $0 == "\t" || $0 == "\n" })
        guard parts.count >= 2, parts[0] == name else { return nil }
        return UInt64(parts[1])
    }
}
