// A real disk whose calls are late or fail, by count and by seed. Nothing but the fault differs: what passes is done by
// the wrapped backend, one operation after the other.
import FileIO
import Glibc
import Synchronization

/// Decides for each call whether the fault strikes it. One for a whole disk, shared by its files.
final class FaultClock: Sendable {
    private struct State {
        var random: SimulatedRandom
        var calls: UInt64 = 0
        var syncs: UInt64 = 0
        var writtenBytes: UInt64 = 0
    }

    private enum Strike {
        case delay(nanoseconds: UInt64)
        case failure(FileIOError.Reason)
    }

    private let fault: DiskFault
    private let state: Mutex<State>
    private let control: DiskControl?
    private static let stallOneIn = 256

    init(_ fault: DiskFault, folder: String, seed: UInt64) {
        self.fault = fault
        control = fault.kind == .control ? DiskControl(path: folder + "/" + DiskControl.fileName) : nil
        state = Mutex(State(random: SimulatedRandom(seed: seed)))
    }

    /// Before each call on a file; sleeps or throws when the fault strikes.
    /// - Parameters:
    ///   - bytes: that a write takes on the disk.
    ///   - isSync: whether the call promises durability.
    func pass(
        _ operation: FileIOError.Operation, _ path: String, bytes: UInt64 = 0, isSync: Bool = false
    ) throws(FileIOError) {
        let isChange = bytes > 0 || isSync
        if isChange, let control, control.obey() == .full, bytes > 0 {
            throw FileIOError(
                operation: operation, path: path, reason: .noSpace, detail: "\(DiskControl.fileName) says full")
        }
        let strike = state.withLock { state -> Strike? in
            state.calls += 1
            state.writtenBytes += bytes
            if isSync { state.syncs += 1 }
            switch fault.kind {
            case .stall where isChange && state.random.chance(1, in: Self.stallOneIn):
                return .delay(nanoseconds: fault.amount * 1_000_000)
            case .slow where isSync:
                return .delay(nanoseconds: UInt64(state.random.below(Int(fault.amount * 1_000_000))))
            case .full where bytes > 0 && state.writtenBytes > fault.amount << 20: return .failure(.noSpace)
            case .error where state.calls >= fault.amount: return .failure(.device)
            case .syncFailure where isSync && state.syncs == fault.amount: return .failure(.device)
            default: return nil
            }
        }
        switch strike {
        case nil: return
        case .delay(let nanoseconds): Self.sleep(nanoseconds)
        case .failure(let reason):
            throw FileIOError(
                operation: operation, path: path, reason: reason, detail: "the fault \(fault) that was asked for")
        }
    }

    private static func sleep(_ nanoseconds: UInt64) {
        var rest = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        var left = timespec()
        while nanosleep(&rest, &left) != 0, errno == EINTR { rest = left }
    }
}

final class FaultyFileSystem: FileSystem {
    private let base: any FileSystem
    private let clock: FaultClock

    init(_ base: any FileSystem, _ clock: FaultClock) {
        self.base = base
        self.clock = clock
    }

    func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
        try clock.pass(.open, path)
        return FaultyFile(try base.open(path, mode, caching), clock)
    }

    func createDirectory(_ path: String) throws(FileIOError) {
        try clock.pass(.createDirectory, path)
        try base.createDirectory(path)
    }

    func list(_ path: String) throws(FileIOError) -> [String] {
        try clock.pass(.list, path)
        return try base.list(path)
    }

    func exists(_ path: String) throws(FileIOError) -> Bool {
        try clock.pass(.exists, path)
        return try base.exists(path)
    }

    func rename(_ source: String, to destination: String) throws(FileIOError) {
        try clock.pass(.rename, source)
        try base.rename(source, to: destination)
    }

    func link(_ source: String, to destination: String) throws(FileIOError) {
        try clock.pass(.link, source)
        try base.link(source, to: destination)
    }

    func remove(_ path: String) throws(FileIOError) {
        try clock.pass(.remove, path)
        try base.remove(path)
    }

    func removeTree(_ path: String) throws(FileIOError) {
        try clock.pass(.remove, path)
        try base.removeTree(path)
    }

    func syncDirectory(_ path: String) throws(FileIOError) {
        try clock.pass(.syncDirectory, path, isSync: true)
        try base.syncDirectory(path)
    }

    func lock(_ path: String) throws(FileIOError) -> any DirectoryLock {
        try clock.pass(.lock, path)
        return try base.lock(path)
    }
}

/// Has no mapping: stores to memory could be neither late nor refused.
final class FaultyFile: File {
    private let base: any File
    private let clock: FaultClock

    init(_ base: any File, _ clock: FaultClock) {
        self.base = base
        self.clock = clock
    }

    var path: String { base.path }

    func size() throws(FileIOError) -> UInt64 {
        try clock.pass(.size, path)
        return try base.size()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) throws(FileIOError) -> Int {
        try clock.pass(.read, path)
        return try base.read(into: buffer, at: position)
    }

    func write(
        _ buffers: [UnsafeRawBufferPointer], at position: UInt64, durability: WriteDurability
    ) throws(FileIOError) {
        let bytes = buffers.reduce(0) { $0 + $1.count }
        try clock.pass(.write, path, bytes: UInt64(bytes), isSync: durability == .power)
        try base.write(buffers, at: position, durability: durability)
    }

    func sync() throws(FileIOError) {
        try clock.pass(.sync, path, isSync: true)
        try base.sync()
    }

    func truncate(to size: UInt64) throws(FileIOError) {
        try clock.pass(.truncate, path)
        try base.truncate(to: size)
    }

    func zeroFill(at position: UInt64, count: UInt64) throws(FileIOError) {
        try clock.pass(.zeroFill, path, bytes: count)
        try base.zeroFill(at: position, count: count)
    }

    func reserve(at position: UInt64, count: UInt64) throws(FileIOError) {
        try clock.pass(.reserve, path, bytes: count)
        try base.reserve(at: position, count: count)
    }
}
