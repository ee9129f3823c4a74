// One open descriptor. Every transfer is positional, so that threads share a file without a common cursor; interrupts
// and short transfers are retried here and nowhere else.
package import FileIO
import Glibc

/// Buffers per system call: `IOV_MAX` of Linux (limits.h).
private let vectorsMax = 1024
/// Zeros are written in pieces of this many bytes.
private let zeroPieceBytes = 1024 * 1024

package final class PosixFile: File {
    package let path: String
    /// Open until the object goes.
    package let descriptor: Int32
    private let isReadOnly: Bool
    private let kernel: PosixKernel

    init(descriptor: Int32, path: String, isReadOnly: Bool, kernel: PosixKernel) {
        self.descriptor = descriptor
        self.path = path
        self.isReadOnly = isReadOnly
        self.kernel = kernel
    }

    deinit {
        // Linux frees the descriptor even when close reports EINTR, so it is never called twice.
        if close(descriptor) != 0 && errno != EINTR && !isReadOnly {
            var failure = FileIOError(operation: .write, path: path, errno: errno)
            failure.detail += " (reported when the file was closed)"
            kernel.noteCloseFailure(failure)
        }
    }

    func status(for operation: FileIOError.Operation) throws(FileIOError) -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw FileIOError(operation: operation, path: path, errno: errno)
        }
        return status
    }

    package func size() throws(FileIOError) -> UInt64 {
        UInt64(try status(for: .size).st_size)
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        guard let base = buffer.baseAddress else { return 0 }
        var done = 0
        while done < buffer.count {
            let offset = try self.offset(position, plus: done, for: .read)
            let count = pread(descriptor, base + done, buffer.count - done, offset)
            if count == 0 { break }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                throw FileIOError(operation: .read, path: path, errno: errno)
            }
        }
        return done
    }

    package func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        var vectors: [iovec] = []
        vectors.reserveCapacity(buffers.count)
        for buffer in buffers where buffer.count > 0 {
            // iovec has no const; the kernel only reads through it in a write.
            vectors.append(
                iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count))
        }
        if vectors.isEmpty { return }
        // One durable call covers one batch only; with more batches a single sync at the end is cheaper.
        var isDurable = durability == .process
        if durability == .power && vectors.count <= vectorsMax {
            isDurable = try transfer(&vectors, at: position, durably: true)
        } else {
            _ = try transfer(&vectors, at: position, durably: false)
        }
        if !isDurable { try synchronize(.write) }
    }

    /// Writes everything that `vectors` describe; consumes them.
    /// - Returns: false when durability was asked for and at least a part went out without it.
    private func transfer(
        _ vectors: inout [iovec], at position: UInt64, durably: Bool
    ) throws(FileIOError) -> Bool {
        var first = 0
        var done = 0
        var isDurable = true
        while first < vectors.count {
            let offset = try self.offset(position, plus: done, for: .write)
            let count = Int32(min(vectors.count - first, vectorsMax))
            var written = -1
            vectors.withUnsafeBufferPointer { all in
                // The buffer is not empty, so it has a base.
                let next = all.baseAddress! + first
                if durably, isDurable, let result = kernel.durableWrite(descriptor, next, count, at: offset) {
                    written = result
                } else {
                    isDurable = !durably
                    written = pwritev(descriptor, next, count, offset)
                }
            }
            if written < 0 {
                if errno == EINTR { continue }
                throw FileIOError(operation: .write, path: path, errno: errno)
            }
            guard written > 0 else {
                throw FileIOError(
                    operation: .write, path: path, reason: .device, detail: "the kernel wrote 0 bytes without an error")
            }
            done += written
            Self.advance(&vectors, &first, by: written)
        }
        return isDurable
    }

    /// Skips `count` bytes: whole vectors by moving `first`, the rest by shortening the one that was cut.
    private static func advance(_ vectors: inout [iovec], _ first: inout Int, by count: Int) {
        var rest = count
        while rest > 0 {
            let length = vectors[first].iov_len
            guard rest < length else {
                rest -= length
                first += 1
                continue
            }
            vectors[first].iov_base += rest
            vectors[first].iov_len = length - rest
            rest = 0
        }
    }

    package func sync() throws(FileIOError) {
        try synchronize(.sync)
    }

    private func synchronize(_ operation: FileIOError.Operation) throws(FileIOError) {
        _ = try retrying(operation, path) { fdatasync(descriptor) }
    }

    package func truncate(to size: UInt64) throws(FileIOError) {
        let offset = try self.offset(size, plus: 0, for: .truncate)
        _ = try retrying(.truncate, path) { ftruncate(descriptor, offset) }
    }

    package func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        let zeros = [UInt8](repeating: 0, count: Int(min(count, UInt64(zeroPieceBytes))))
        var done: UInt64 = 0
        while done < count {
            let offset = try self.offset(position, plus: Int(done), for: .zeroFill)
            let piece = min(Int(count - done), zeros.count)
            let written = pwrite(descriptor, zeros, piece, offset)
            if written > 0 {
                done += UInt64(written)
            } else if written == 0 || errno != EINTR {
                throw FileIOError(operation: .zeroFill, path: path, errno: written == 0 ? EIO : errno)
            }
        }
    }

    package func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        guard count > 0 else { return }
        guard let length = off_t(exactly: count) else {
            throw FileIOError(operation: .reserve, path: path, errno: EFBIG)
        }
        let offset = try self.offset(position, plus: 0, for: .reserve)
        let outcome = retryingPosix { posix_fallocate(descriptor, offset, length) }
        guard outcome == 0 else { throw FileIOError(operation: .reserve, path: path, errno: outcome) }
    }

    package func map(
        at position: UInt64, count: Int, isFilledSoon: Bool
    ) throws(FileIOError) -> (any FileMapping)? {
        guard PosixMapping.isSafe(descriptor) else { return nil }
        let offset = try self.offset(position, plus: count, for: .map)
        guard UInt64(offset) <= (try size()) else { throw FileIOError(operation: .map, path: path, errno: EINVAL) }
        return try PosixMapping(descriptor, path, at: off_t(position), count: count, isFilledSoon: isFilledSoon)
    }

    /// Repeats a call that returns its errno while a signal interrupts it.
    private func retryingPosix(_ call: () -> Int32) -> Int32 {
        while true {
            let outcome = call()
            if outcome != EINTR { return outcome }
        }
    }

    private func offset(
        _ position: UInt64, plus count: Int, for operation: FileIOError.Operation
    ) throws(FileIOError) -> off_t {
        guard let start = off_t(exactly: position),
            case let (sum, overflow) = start.addingReportingOverflow(off_t(count)),
            !overflow
        else { throw FileIOError(operation: operation, path: path, errno: EFBIG) }
        return sum
    }
}
