// What the backend learns about the running kernel and shares between its files: whether pwritev2(2) is there, and a
// close that failed after its file object was gone. Holds no descriptors.
package import FileIO
import Glibc
import Synchronization

/// `RWF_DSYNC` of linux/fs.h: this one write returns when data and the metadata to read it back are on the device.
private let writeFlagDataSync: Int32 = 0x2

final class PosixKernel: Sendable {
    private typealias VectorWrite =
        @convention(c) (Int32, UnsafePointer<iovec>?, Int32, off_t, Int32) -> Int

    /// pwritev2 of the C library. Looked up by name because Swift's Glibc module does not import it, and because an
    /// older library may not have it.
    private let vectorWrite: VectorWrite?
    /// Cleared for good when the kernel or the file system refuses the flag.
    private let dataSyncWorks: Atomic<Bool>
    private let closeFailure = Mutex<FileIOError?>(nil)

    init() {
        let symbol = dlsym(nil, "pwritev2")
        // The C prototype in sys/uio.h is exactly this type.
        vectorWrite = symbol.map { unsafeBitCast($0, to: VectorWrite.self) }
        dataSyncWorks = Atomic(symbol != nil)
    }

    /// Writes with `RWF_DSYNC`.
    /// - Returns: bytes written, -1 with errno set, or nil when this system can't: write plainly and sync instead.
    func durableWrite(_ descriptor: Int32, _ vectors: UnsafePointer<iovec>, _ count: Int32, at offset: off_t) -> Int? {
        guard let vectorWrite, dataSyncWorks.load(ordering: .relaxed) else { return nil }
        let written = vectorWrite(descriptor, vectors, count, offset, writeFlagDataSync)
        if written < 0 && (errno == EOPNOTSUPP || errno == ENOSYS) {
            dataSyncWorks.store(false, ordering: .relaxed)
            return nil
        }
        return written
    }

    /// A file that was written to failed to close; its owner is gone, so the next open or directory sync reports it.
    func noteCloseFailure(_ failure: FileIOError) {
        closeFailure.withLock { $0 = $0 ?? failure }
    }

    func throwPendingCloseFailure() throws(FileIOError) {
        let failure = closeFailure.withLock { pending in
            defer { pending = nil }
            return pending
        }
        if let failure { throw failure }
    }
}

extension FileIOError {
    /// The error of a failed system call.
    package init(operation: Operation, path: String, errno code: Int32) {
        let reason: Reason =
            switch code {
            case ENOENT, ENOTDIR: .notFound
            case EEXIST: .alreadyExists
            case EACCES, EPERM: .permissionDenied
            case ENOSPC, EDQUOT: .noSpace
            case EROFS: .readOnly
            case EMFILE, ENFILE: .tooManyOpenFiles
            case EIO: .device
            default: .other
            }
        self.init(
            operation: operation, path: path, reason: reason, errno: code, detail: String(cString: strerror(code)))
    }
}
