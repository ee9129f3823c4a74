// The disk through io_uring: batches go through the calling thread's ring in one system call, and single operations
// through plain system calls, because on a page cache a ring costs a lone operation more than it gives (research: one
// request at a time is about 12 microseconds slower on ext4, where buffered writes and syncs always take a kernel
// worker thread). Where a thread gets no ring, everything still works as on POSIX.
public import FileIO
import Glibc
import PosixIO
import Synchronization

/// How operations are divided between the ring and system calls.
public struct UringOptions: Sendable, Hashable {
    /// Batches of fewer operations go through system calls. 1 sends every read, write and sync through the ring.
    public var batchMin = 2
    /// Requests that one batch keeps in flight at a time, at most ``UringRing/entries``.
    public var inFlightMax = 128
    /// Requests that one system call hands over. All at once costs the least time of the processor; one at a time keeps
    /// a device busy that takes a burst as one piece.
    public var perEnterMax = 128

    public init() {}
}

/// The machine's file system with batched I/O. One instance serves all threads.
public final class UringFileSystem: FileSystem {
    private let posix = PosixFileSystem()
    private let options: UringOptions
    let counters = UringCounters()

    /// Makes no ring yet: see ``UringProbe`` for whether there are any.
    public init(_ options: UringOptions = UringOptions()) {
        precondition(
            options.inFlightMax > 0 && options.inFlightMax <= UringRing.entries && options.perEnterMax > 0,
            "a ring takes 1 to \(UringRing.entries) requests at a time")
        self.options = options
    }

    public var batchesGain: Bool { true }

    public var statistics: UringStatistics { counters.statistics }

    public func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
        UringFile(try posix.openPosix(path, mode, caching), options.batchMin <= 1 ? self : nil)
    }

    public func perform(_ operations: inout [FileOperation]) {
        guard operations.count >= options.batchMin else {
            for position in operations.indices { operations[position].performAlone() }
            return
        }
        UringRing.withCurrent { ring in
            guard let ring else {
                counters.fallbacks.add(1, ordering: .relaxed)
                for position in operations.indices { operations[position].performAlone() }
                return
            }
            UringBatch.perform(&operations, on: ring, options, counters)
        }
    }

    public func createDirectory(_ path: String) throws(FileIOError) { try posix.createDirectory(path) }
    public func list(_ path: String) throws(FileIOError) -> [String] { try posix.list(path) }
    public func exists(_ path: String) throws(FileIOError) -> Bool { try posix.exists(path) }
    public func rename(_ source: String, to destination: String) throws(FileIOError) {
        try posix.rename(source, to: destination)
    }
    public func link(_ source: String, to destination: String) throws(FileIOError) {
        try posix.link(source, to: destination)
    }
    public func remove(_ path: String) throws(FileIOError) { try posix.remove(path) }
    public func removeTree(_ path: String) throws(FileIOError) { try posix.removeTree(path) }
    public func syncDirectory(_ path: String) throws(FileIOError) { try posix.syncDirectory(path) }
    public func lock(_ path: String) throws(FileIOError) -> any DirectoryLock { try posix.lock(path) }
}

/// A file whose single operations are system calls, or rings of one when `single` is set.
final class UringFile: File {
    let base: PosixFile
    private let single: UringFileSystem?

    init(_ base: PosixFile, _ single: UringFileSystem?) {
        self.base = base
        self.single = single
    }

    var path: String { base.path }
    func size() throws(FileIOError) -> UInt64 { try base.size() }
    func truncate(to size: UInt64) throws(FileIOError) { try base.truncate(to: size) }
    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        try base.zeroFill(at: position, count: count)
    }

    func map(at position: UInt64, count: Int, isFilledSoon: Bool) throws(FileIOError) -> (any FileMapping)? {
        try base.map(at: position, count: count, isFilledSoon: isFilledSoon)
    }

    func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        try base.reserve(at: position, count: count)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        guard let single else { return try base.read(into: buffer, at: position) }
        return try perform(.read(into: buffer, at: position), single)
    }

    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        guard let single else { return try base.write(buffers, at: position, durability: durability) }
        _ = try perform(.write(buffers, at: position, durability: durability), single)
    }

    func sync() throws(FileIOError) {
        guard let single else { return try base.sync() }
        _ = try perform(.sync, single)
    }

    private func perform(_ kind: FileOperation.Kind, _ fileSystem: UringFileSystem) throws(FileIOError) -> Int {
        var operations = [FileOperation(base, kind)]
        fileSystem.perform(&operations)
        return try operations[0].get()
    }
}
