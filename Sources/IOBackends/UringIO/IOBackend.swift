// The switch between the disk backends, as people name them: `posix`, `uring`, or `auto`, which says what it picked and
// why. Nothing fails because io_uring is missing: the POSIX backend does everything too.
public import FileIO
internal import PosixIO

/// A position of the switch `--io`.
public enum IOBackendKind: String, Sendable, Hashable, CaseIterable {
    case posix
    case uring
    /// io_uring where the kernel grants it.
    case auto
}

/// The backend that a process uses.
public struct IOBackend: Sendable {
    public let fileSystem: any FileSystem
    /// What is in use: never ``IOBackendKind/auto``.
    public let kind: IOBackendKind
    /// One line for the log: what was picked and why.
    public let reason: String

    /// Picks and makes the backend. Asks the kernel unless `kind` is `posix`.
    public init(_ kind: IOBackendKind, _ options: UringOptions = UringOptions()) {
        guard kind != .posix else {
            self.init(PosixFileSystem(), .posix, "posix, as asked for")
            return
        }
        switch UringProbe.run() {
        case .available(let flags, _):
            let granted = flags.isEmpty ? "no setup flags" : flags.joined(separator: " ")
            let why = kind == .auto ? "the kernel grants it and batches gain from it" : "as asked for"
            self.init(UringFileSystem(options), .uring, "uring, \(why); rings with \(granted)")
        case .unavailable(let reason):
            self.init(PosixFileSystem(), .posix, "posix instead of \(kind.rawValue): \(reason)")
        }
    }

    private init(_ fileSystem: any FileSystem, _ kind: IOBackendKind, _ reason: String) {
        self.fileSystem = fileSystem
        self.kind = kind
        self.reason = reason
    }

    /// What the rings did; nil on another backend.
    public var uringStatistics: UringStatistics? {
        (fileSystem as? UringFileSystem)?.statistics
    }
}
