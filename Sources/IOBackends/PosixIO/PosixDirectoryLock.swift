// The advisory lock on a data folder: flock(2) on a file in it. The kernel drops it when the process ends, however it
// ends, so that a crash never leaves a stale lock behind.
import FileIO
import Glibc
import Synchronization

final class PosixDirectoryLock: DirectoryLock {
    /// nil once released.
    private let descriptor: Mutex<Int32?>

    init(folder: String) throws(FileIOError) {
        let path = folder + "/LOCK"
        let opened = try retrying(.lock, path) { open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644) }
        do throws(FileIOError) {
            try Self.acquire(opened, path)
        } catch {
            close(opened)
            throw error
        }
        descriptor = Mutex(opened)
    }

    deinit { release() }

    func release() {
        descriptor.withLock { held in
            // Closing alone is not enough: a child that is just being started has a copy of the descriptor.
            if let held {
                _ = flock(held, LOCK_UN)
                close(held)
            }
            held = nil
        }
    }

    private static func acquire(_ descriptor: Int32, _ path: String) throws(FileIOError) {
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            guard errno == EWOULDBLOCK else { throw FileIOError(operation: .lock, path: path, errno: errno) }
            var detail = "it is held by another process"
            if let owner = owner(descriptor) { detail = "it is held by process \(owner)" }
            throw FileIOError(operation: .lock, path: path, reason: .locked, errno: EWOULDBLOCK, detail: detail)
        }
        let content = Array("\(getpid())\n".utf8)
        guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, content, content.count, 0) == content.count else {
            throw FileIOError(operation: .lock, path: path, errno: errno)
        }
    }

    /// The process id in the lock file, when it holds one.
    private static func owner(_ descriptor: Int32) -> Int? {
        var content = [UInt8](repeating: 0, count: 32)
        let count = pread(descriptor, &content, content.count, 0)
        guard count > 0 else { return nil }
        return Int(String(decoding: content[..<count].prefix { $0 >= 0x30 && $0 <= 0x39 }, as: UTF8.self))
    }
}
