// The one error of the disk seam: which call failed on which path, the kernel's reason, and what a person can do.

/// A failed disk operation.
public struct FileIOError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Operation: String, Sendable, Hashable {
        case open, read, write, sync, truncate, zeroFill = "zero-fill", reserve, map, size, list, exists, rename, link,
            remove, lock
        case createDirectory = "create directory"
        case syncDirectory = "sync directory"
    }

    /// What went wrong, in terms that a caller can act on.
    public enum Reason: Sendable, Hashable {
        case notFound
        case alreadyExists
        case permissionDenied
        case noSpace
        case readOnly
        case tooManyOpenFiles
        /// Another process holds the lock.
        case locked
        /// The device failed (EIO). Final for this file.
        case device
        /// Any other errno.
        case other
    }

    public var operation: Operation
    public var path: String
    public var reason: Reason
    /// The errno of the failed call, 0 when the backend made the error itself.
    public var errno: Int32
    /// The kernel's sentence, such as "No space left on device".
    public var detail: String

    public init(operation: Operation, path: String, reason: Reason, errno: Int32 = 0, detail: String) {
        self.operation = operation
        self.path = path
        self.reason = reason
        self.errno = errno
        self.detail = detail
    }

    public var description: String {
        "cannot \(operation.rawValue) \(path): \(detail)\(remedy)"
    }

    private var remedy: String {
        switch reason {
        case .notFound: "; check the path"
        case .alreadyExists: "; choose another name or remove the old one"
        case .permissionDenied: "; run as a user who may write there, or choose another folder"
        case .noSpace: "; free some space, then restart"
        case .readOnly: "; the file system is mounted read-only"
        case .tooManyOpenFiles: "; raise the limit with ulimit -n"
        case .locked: "; another process uses this folder: stop it or choose another folder"
        case .device: "; the device reports a failure: replace it and let the node catch up from its peers"
        case .other: ""
        }
    }
}
