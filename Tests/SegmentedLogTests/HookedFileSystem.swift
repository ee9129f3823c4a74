// A file system that lets a test do something in the middle of a read: reads are not atomic against writes on real
// disks either, but there it takes luck to hit the moment.
import FileIO
import Synchronization

final class HookedFileSystem: FileSystem {
    private let base: any FileSystem
    /// Taken and called once, by the next read of a `.log` file, between its two halves.
    private let hook = Mutex<(@Sendable () -> Void)?>(nil)

    init(_ base: any FileSystem) {
        self.base = base
    }

    func inTheMiddleOfTheNextRead(_ body: @escaping @Sendable () -> Void) {
        hook.withLock { $0 = body }
    }

    fileprivate func takeHook() -> (@Sendable () -> Void)? {
        hook.withLock { hook in
            defer { hook = nil }
            return hook
        }
    }

    func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
        HookedFile(try base.open(path, mode, caching), self)
    }

    func createDirectory(_ path: String) throws(FileIOError) { try base.createDirectory(path) }
    func list(_ path: String) throws(FileIOError) -> [String] { try base.list(path) }
    func exists(_ path: String) throws(FileIOError) -> Bool { try base.exists(path) }
    func rename(_ source: String, to destination: String) throws(FileIOError) {
        try base.rename(source, to: destination)
    }
    func link(_ source: String, to destination: String) throws(FileIOError) {
        try base.link(source, to: destination)
    }
    func remove(_ path: String) throws(FileIOError) { try base.remove(path) }
    func removeTree(_ path: String) throws(FileIOError) { try base.removeTree(path) }
    func syncDirectory(_ path: String) throws(FileIOError) { try base.syncDirectory(path) }
    func lock(_ path: String) throws(FileIOError) -> any DirectoryLock { try base.lock(path) }
}

private final class HookedFile: File {
    private let base: any File
    private let owner: HookedFileSystem

    init(_ base: any File, _ owner: HookedFileSystem) {
        self.base = base
        self.owner = owner
    }

    var path: String { base.path }
    func size() throws(FileIOError) -> UInt64 { try base.size() }

    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        guard let hook = owner.takeHook() else { return try base.read(into: buffer, at: position) }
        let half = buffer.count / 2
        let first = try base.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<half]), at: position)
        hook()
        let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[half...])
        return first + (first < half ? 0 : try base.read(into: rest, at: position + UInt64(half)))
    }

    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        try base.write(buffers, at: position, durability: durability)
    }
    func sync() throws(FileIOError) { try base.sync() }
    func truncate(to size: UInt64) throws(FileIOError) { try base.truncate(to: size) }
    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        try base.zeroFill(at: position, count: count)
    }
    func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        try base.reserve(at: position, count: count)
    }
}
