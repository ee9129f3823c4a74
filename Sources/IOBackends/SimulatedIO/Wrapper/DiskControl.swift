// A disk that is told what to do wrong while its process runs: by a word in a file beside the data. The file is read
// with plain system calls, past every backend and wrapper, because what it does to them is the point.
import Glibc

/// The control file of one disk.
struct DiskControl: Sendable {
    enum Order: Hashable, Sendable {
        case none
        case full
    }

    /// In the data folder.
    static let fileName = "disk-control"
    private static let pollNanoseconds = 2_000_000

    let path: String

    /// Waits while the file says `stall`; then says what else it says. Without the file: one failing open(2).
    func obey() -> Order {
        while true {
            switch word() {
            case "stall":
                var rest = timespec(tv_sec: 0, tv_nsec: Self.pollNanoseconds)
                nanosleep(&rest, nil)
            case "full": return .full
            default: return .none
            }
        }
    }

    private func word() -> String {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
    }
}
