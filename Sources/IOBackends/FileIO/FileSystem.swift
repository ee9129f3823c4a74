// The disk as the engine sees it. Everything that touches a file goes through these two protocols, so that the real
// backends and the simulated disk are interchangeable. Each call states the durability it gives; nothing here may
// promise more than POSIX does, and no call may hide an error. All calls block: never call them on a cooperative
// thread.

/// One directory tree on one disk.
///
/// Paths are plain strings, absolute or relative to the process's directory, with `/` between components.
/// Names become durable only through ``syncDirectory(_:)``: a created, renamed or removed name may be undone by a
/// power cut until the directory that holds it was synced.
public protocol FileSystem: AnyObject, Sendable {
    /// Opens a file. The descriptor is closed when the last reference to the result goes away.
    func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File

    /// Performs all operations of a batch, in any order and at the same time as far as the backend can, and returns
    /// when every one has its outcome. Operations on overlapping ranges must not meet in one batch.
    func perform(_ operations: inout [FileOperation])

    /// True when a batch costs less than its operations one after another: the backend has them in flight together.
    var batchesGain: Bool { get }

    /// Creates a directory and its missing parents. An existing directory is not an error.
    func createDirectory(_ path: String) throws(FileIOError)

    /// Names in a directory, sorted bytewise, without `.` and `..`.
    func list(_ path: String) throws(FileIOError) -> [String]

    func exists(_ path: String) throws(FileIOError) -> Bool

    /// Atomically replaces `destination`. Durable after the destination's directory was synced.
    func rename(_ source: String, to destination: String) throws(FileIOError)

    /// Hard link; fails if `destination` exists.
    func link(_ source: String, to destination: String) throws(FileIOError)

    /// Removes a file name. Open descriptors keep the content alive.
    func remove(_ path: String) throws(FileIOError)

    /// Removes a directory with everything in it. A missing one is not an error.
    func removeTree(_ path: String) throws(FileIOError)

    /// Makes every name created, renamed or removed in this directory durable.
    func syncDirectory(_ path: String) throws(FileIOError)

    /// Takes the advisory lock that keeps a second process out of a data folder. Held until the result is released.
    func lock(_ path: String) throws(FileIOError) -> any DirectoryLock
}

/// A lock on a data folder, released by ``release()`` or by the end of the process, whichever comes first.
public protocol DirectoryLock: AnyObject, Sendable {
    func release()
}

/// How a file is opened.
public enum OpenMode: Sendable, Hashable {
    /// Must exist; only reads.
    case read
    /// Must exist; reads and writes.
    case readWrite
    /// Must not exist yet; reads and writes.
    case create
    /// Created when missing, kept when present; reads and writes.
    case createOrOpen
}

/// Whether the page cache stands between a file and the device.
public enum FileCaching: Sendable, Hashable {
    case buffered
    /// Past the page cache (`O_DIRECT`): positions, lengths and addresses must be multiples of ``alignmentBytes``.
    /// Reads at the end of a file may be short. Refused (`other`) by file systems that have no such thing.
    case direct

    /// Safe for every device of today: the largest logical block size.
    public static let alignmentBytes = 4096
}

/// How far one write has to get before it returns.
public enum WriteDurability: Sendable, Hashable {
    /// In the page cache: survives a crash of the process, not of the machine.
    case process
    /// On the device, with the metadata needed to read it back (the `RWF_DSYNC` of pwritev2(2)): survives a power cut.
    case power
}

/// One open file. Calls may come from several threads; writes to overlapping ranges must be ordered by the caller.
public protocol File: AnyObject, Sendable {
    var path: String { get }

    /// Size in bytes as the next reader sees it.
    func size() throws(FileIOError) -> UInt64

    /// Reads at an absolute position until the buffer is full or the file ends.
    /// - Returns: bytes read; fewer than the buffer's count only at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int

    /// Writes all buffers one after another at an absolute position, growing the file when needed.
    ///
    /// On an error nothing is known about the range: treat the file as poisoned from `position` on.
    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError)

    /// Makes all completed writes of this file durable (fdatasync). An error is final: the kernel may have dropped the
    /// dirty pages, so a later success says nothing ("Can Applications Recover from fsync Failures?", ATC 2020).
    func sync() throws(FileIOError)

    /// Sets the size; a longer file reads zeros in the new part. Not durable before ``sync()``.
    func truncate(to size: UInt64) throws(FileIOError)

    /// Fills `[position, position + count)` with zeros that occupy real blocks, so that later writes there change no
    /// metadata. Durable only after ``sync()``.
    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError)

    /// Reserves blocks for `[position, position + count)` without writing them (fallocate), growing the file when it is
    /// shorter: writes there can't run out of space, but the first one to each block still changes metadata. What was
    /// not written reads as zeros. Durable only after ``sync()``.
    func reserve(at position: UInt64, count: UInt64) throws(FileIOError)

    /// Maps a part of the file, writable and shared, so that a write is a store to memory: it survives the process, not
    /// the machine, until ``sync()``. The part must lie inside the file, its blocks reserved, so that no store can meet
    /// a full disk.
    /// - Parameters:
    ///   - position: a multiple of ``FileCaching/alignmentBytes``.
    ///   - isFilledSoon: brings all its pages in at once, for writing.
    /// - Returns: nil when the backend or the file system can't do this safely: use writes.
    func map(at position: UInt64, count: Int, isFilledSoon: Bool) throws(FileIOError) -> (any FileMapping)?
}

/// A part of a file in memory, until the last reference goes.
public protocol FileMapping: AnyObject, Sendable {
    var base: UnsafeMutableRawPointer { get }
    var count: Int { get }
}

extension File {
    /// Most backends have none.
    public func map(at position: UInt64, count: Int, isFilledSoon: Bool) throws(FileIOError) -> (any FileMapping)? {
        nil
    }
}

extension File {
    /// Writes one buffer. See ``write(_:at:durability:)-(Array,_,_)``.
    public func write(
        _ buffer: UnsafeRawBufferPointer, at position: UInt64, durability: WriteDurability = .process
    ) throws(FileIOError) {
        try write([buffer], at: position, durability: durability)
    }

    /// Writes the bytes of an array.
    public func write(
        bytes: [UInt8], at position: UInt64, durability: WriteDurability = .process
    ) throws(FileIOError) {
        var failure: FileIOError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileIOError) {
                try write([buffer], at: position, durability: durability)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// Reads up to `count` bytes at `position` into a fresh array; shorter only at the end of the file.
    public func read(count: Int, at position: UInt64) throws(FileIOError) -> [UInt8] {
        var failure: FileIOError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(FileIOError) {
                initialized = try read(into: UnsafeMutableRawBufferPointer(buffer), at: position)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }
}

extension FileSystem {
    /// Opens a file through the page cache.
    public func open(_ path: String, _ mode: OpenMode) throws(FileIOError) -> any File {
        try open(path, mode, .buffered)
    }

    /// Reads a whole small file, or returns nil when it does not exist.
    public func readFile(_ path: String) throws(FileIOError) -> [UInt8]? {
        guard try exists(path) else { return nil }
        let file = try open(path, .read)
        return try file.read(count: Int(try file.size()), at: 0)
    }

    /// Replaces a small file atomically and durably: temporary name, sync, rename, directory sync.
    public func replaceFile(_ path: String, with bytes: [UInt8]) throws(FileIOError) {
        let temporary = path + ".tmp"
        if try exists(temporary) { try remove(temporary) }
        let file = try open(temporary, .create)
        try file.write(bytes: bytes, at: 0)
        try file.sync()
        try rename(temporary, to: path)
        try syncDirectory(directory(of: path))
    }

    /// The path of the directory that holds `path`.
    public func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
