// A shared, writable mapping of a part of a file. A store to it can't report an error, so it is only made where
// reserved blocks are enough to keep one from happening; what the device fails to read ends the process (SIGBUS), which
// is what a failed read of the log would do anyway.
import FileIO
import Glibc

/// Brings pages in for writing; of linux/mman.h since Linux 5.14, an older kernel refuses it.
private let populateForWriting: Int32 = 23

final class PosixMapping: FileMapping, @unchecked Sendable {
    // @unchecked: the pointer never changes; what is behind it is its user's to guard.
    let base: UnsafeMutableRawPointer
    let count: Int

    init(
        _ descriptor: Int32, _ path: String, at position: off_t, count: Int, isFilledSoon: Bool
    ) throws(FileIOError) {
        precondition(count > 0 && position % off_t(FileCaching.alignmentBytes) == 0, "a mapping begins at a page")
        let mapped = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, position)
        guard let mapped, mapped != MAP_FAILED else { throw FileIOError(operation: .map, path: path, errno: errno) }
        base = mapped
        self.count = count
        // Only a matter of speed: without it each page is brought in by the first store to it.
        if isFilledSoon { madvise(base, count, populateForWriting) }
    }

    deinit { munmap(base, count) }

    /// Whether writes into reserved blocks can't run out of space: not so where data is copied on write.
    static func isSafe(_ descriptor: Int32) -> Bool {
        guard let ask = fileSystemStatus else { return false }
        return withUnsafeTemporaryAllocation(byteCount: statusBytes, alignment: 16) { status in
            guard let base = status.baseAddress, ask(descriptor, base) == 0 else { return false }
            // ext4, XFS and tmpfs, by the numbers of linux/magic.h.
            return [0xEF53, 0x5846_5342, 0x0102_1994].contains(base.load(as: Int.self))
        }
    }

    private typealias StatusCall = @convention(c) (Int32, UnsafeMutableRawPointer) -> Int32

    /// More than `struct statfs` has on any platform; the kind of file system is its first word.
    private static let statusBytes = 512

    /// fstatfs of the C library, looked up by name because Swift's Glibc module does not import sys/vfs.h.
    private static let fileSystemStatus: StatusCall? = dlsym(nil, "fstatfs").map {
        // The C prototype is exactly this type.
        unsafeBitCast($0, to: StatusCall.self)
    }
}
