// The disk through the calls of POSIX.1-2017 and, where Linux has it, pwritev2(2). Its role is to turn each call of the
// seam into as few system calls as possible, with interrupts and short transfers hidden and nothing else: it must never
// report more durability than the kernel gave, and never swallow an error.
public import FileIO
import Glibc

/// `O_DIRECT` of asm-generic/fcntl.h, which the C library shows only to GNU sources.
#if arch(arm64)
private let directFlag: Int32 = 0o200000
#else
private let directFlag: Int32 = 0o40000
#endif

/// The real file system of the machine. One instance serves all threads.
public final class PosixFileSystem: FileSystem {
    private let kernel = PosixKernel()

    public init() {}

    /// Opens a file with `O_CLOEXEC`. A directory is refused (EISDIR): reading it would fail later and less clearly.
    public func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
        try openPosix(path, mode, caching)
    }

    /// As ``open(_:_:_:)`` for another backend that needs the descriptor.
    package func openPosix(
        _ path: String, _ mode: OpenMode, _ caching: FileCaching
    ) throws(FileIOError) -> PosixFile {
        try kernel.throwPendingCloseFailure()
        let access =
            switch mode {
            case .read: O_RDONLY
            case .readWrite: O_RDWR
            case .create: O_RDWR | O_CREAT | O_EXCL
            case .createOrOpen: O_RDWR | O_CREAT
            }
        let flags = access | O_CLOEXEC | (caching == .direct ? directFlag : 0)
        let descriptor = try retrying(.open, path) { Glibc.open(path, flags, 0o644) }
        let file = PosixFile(descriptor: descriptor, path: path, isReadOnly: mode == .read, kernel: kernel)
        let status = try file.status(for: .open)
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw FileIOError(operation: .open, path: path, errno: EISDIR)
        }
        return file
    }

    public func createDirectory(_ path: String) throws(FileIOError) {
        if mkdir(path, 0o755) == 0 { return }
        switch errno {
        case EEXIST where isDirectory(path):
            return
        case ENOENT where directory(of: path) != path:
            try createDirectory(directory(of: path))
            // Another thread may have made it meanwhile, which is as good.
            if mkdir(path, 0o755) == 0 || (errno == EEXIST && isDirectory(path)) { return }
            throw FileIOError(operation: .createDirectory, path: path, errno: errno)
        case let code:
            throw FileIOError(operation: .createDirectory, path: path, errno: code)
        }
    }

    public func list(_ path: String) throws(FileIOError) -> [String] {
        guard let stream = opendir(path) else { throw FileIOError(operation: .list, path: path, errno: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            // readdir tells its end from its failure only by errno.
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) {
                    String(validatingCString: $0)
                }
            }
            guard let name else {
                throw FileIOError(
                    operation: .list, path: path, reason: .other, errno: EILSEQ,
                    detail: "it holds a name that is not UTF-8; remove that file")
            }
            if name != "." && name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw FileIOError(operation: .list, path: path, errno: errno) }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    public func exists(_ path: String) throws(FileIOError) -> Bool {
        if access(path, F_OK) == 0 { return true }
        guard errno == ENOENT || errno == ENOTDIR else {
            throw FileIOError(operation: .exists, path: path, errno: errno)
        }
        return false
    }

    public func rename(_ source: String, to destination: String) throws(FileIOError) {
        guard Glibc.rename(source, destination) == 0 else {
            throw FileIOError(operation: .rename, path: "\(source) to \(destination)", errno: errno)
        }
    }

    public func link(_ source: String, to destination: String) throws(FileIOError) {
        guard Glibc.link(source, destination) == 0 else {
            throw FileIOError(operation: .link, path: "\(source) to \(destination)", errno: errno)
        }
    }

    public func remove(_ path: String) throws(FileIOError) {
        guard unlink(path) == 0 else { throw FileIOError(operation: .remove, path: path, errno: errno) }
    }

    /// Removes depth first; symbolic links are removed, never followed.
    public func removeTree(_ path: String) throws(FileIOError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw FileIOError(operation: .remove, path: path, errno: errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return try remove(path) }
        for name in try list(path) { try removeTree(path + "/" + name) }
        guard rmdir(path) == 0 else { throw FileIOError(operation: .remove, path: path, errno: errno) }
    }

    public func syncDirectory(_ path: String) throws(FileIOError) {
        try kernel.throwPendingCloseFailure()
        let descriptor = try retrying(.syncDirectory, path) {
            Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        }
        defer { close(descriptor) }
        _ = try retrying(.syncDirectory, path) { fsync(descriptor) }
    }

    /// Locks the folder `path` through a file `LOCK` in it that holds the owner's process id. The file stays when
    /// the lock is released: removing it would let two processes lock two files of the same name.
    public func lock(_ path: String) throws(FileIOError) -> any DirectoryLock {
        try PosixDirectoryLock(folder: path)
    }

    private func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}

/// Repeats a call that a signal interrupted (EINTR) and turns its failure into an error.
func retrying(
    _ operation: FileIOError.Operation, _ path: String, _ call: () -> Int32
) throws(FileIOError) -> Int32 {
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw FileIOError(operation: operation, path: path, errno: code) }
    }
}
