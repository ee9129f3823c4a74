// A folder for one benchmark, and the kernel's count of this process's reads.
import Glibc

enum TemporaryFolder {
    enum Failure: Error { case noFolder }

    static func make() throws -> String {
        var template = Array("/tmp/strata-benchmark-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure.noFolder }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// With what is in it, one level deep of folders included.
    static func remove(_ folder: String) {
        guard let names = opendir(folder) else { return }
        while let entry = readdir(names) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            let path = folder + "/" + name
            if unlink(path) != 0 { remove(path) }
        }
        closedir(names)
        rmdir(folder)
    }
}

enum ReadCalls {
    enum Failure: Error { case noCount }

    /// Read system calls so far (proc(5), `io`, `syscr`).
    static func made() throws -> Int {
        guard let file = fopen("/proc/self/io", "r") else { throw Failure.noCount }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("syscr: "), let count = Int(text.dropFirst(7).prefix { $0.isNumber }) { return count }
        }
        throw Failure.noCount
    }
}
