// A disk whose syncs of logs can be held back, so that a test can let writers gather behind one that is being served.
import FileIO
import Glibc
import Synchronization

func sleepMilliseconds(_ milliseconds: Int) { usleep(UInt32(milliseconds * 1000)) }

/// Hands every call to the disk below; while it is closed, whoever syncs a log waits.
final class GatedFileSystem: FileSystem {
    private let below: any FileSystem
    fileprivate let gate = Gate()

    fileprivate final class Gate: Sendable {
        let isClosed = Atomic<Bool>(false)
        let waiting = Atomic<Int>(0)

        func pass() {
            guard isClosed.load(ordering: .acquiring) else { return }
            waiting.add(1, ordering: .acquiringAndReleasing)
            while isClosed.load(ordering: .acquiring) { sleepMilliseconds(1) }
        }
    }

    init(_ below: any FileSystem) { self.below = below }

    func close() { gate.isClosed.store(true, ordering: .releasing) }
    func open() { gate.isClosed.store(false, ordering: .releasing) }
    func waitUntilSomebodyWaits() {
        while gate.waiting.load(ordering: .acquiring) == 0 { sleepMilliseconds(1) }
    }

    func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
        let file = try below.open(path, mode, caching)
        return path.hasSuffix(".log") ? GatedFile(file, gate) : file
    }

    func createDirectory(_ path: String) throws(FileIOError) { try below.createDirectory(path) }
    func list(_ path: String) throws(FileIOError) -> [String] { try below.list(path) }
    func exists(_ path: String) throws(FileIOError) -> Bool { try below.exists(path) }
    func rename(_ source: String, to destination: String) throws(FileIOError) {
        try below.rename(source, to: destination)
    }
    func link(_ source: String, to destination: String) throws(FileIOError) { try below.link(source, to: destination) }
    func remove(_ path: String) throws(FileIOError) { try below.remove(path) }
    func removeTree(_ path: String) throws(FileIOError) { try below.removeTree(path) }
    func syncDirectory(_ path: String) throws(FileIOError) { try below.syncDirectory(path) }
    func lock(_ path: String) throws(FileIOError) -> any DirectoryLock { try below.lock(path) }
}

private final class GatedFile: File {
    private let below: any File
    private let gate: GatedFileSystem.Gate

    init(_ below: any File, _ gate: GatedFileSystem.Gate) {
        self.below = below
        self.gate = gate
    }

    var path: String { below.path }
    func size() throws(FileIOError) -> UInt64 { try below.size() }
    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        try below.read(into: buffer, at: position)
    }
    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        if durability == .power { gate.pass() }
        try below.write(buffers, at: position, durability: durability)
    }
    func sync() throws(FileIOError) {
        gate.pass()
        try below.sync()
    }
    func truncate(to size: UInt64) throws(FileIOError) { try below.truncate(to: size) }
    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        try below.zeroFill(at: position, count: count)
    }
    func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        try below.reserve(at: position, count: count)
    }
}
