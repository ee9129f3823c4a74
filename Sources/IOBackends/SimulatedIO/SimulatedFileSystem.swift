// A disk in memory that forgets what was not synced, tears what was being written, fails, fills up and loses power, all
// from one seed. It stands behind the same seam as the real backends, so that the engine's own code is what is tested.
// The same seed and the same calls give the same outcome.
public import FileIO
import Synchronization

/// The state behind one simulated file system, shared with its handles.
final class SharedDisk: Sendable {
    let state: Mutex<SimulatedDisk>

    init(seed: UInt64) {
        state = Mutex(SimulatedDisk(seed: seed))
    }

    func use<Result: Sendable>(
        _ body: (inout SimulatedDisk) throws(FileIOError) -> Result
    ) throws(FileIOError) -> Result {
        var outcome: Swift.Result<Result, FileIOError>?
        state.withLock { disk in
            do throws(FileIOError) {
                outcome = .success(try body(&disk))
            } catch {
                outcome = .failure(error)
            }
        }
        guard let outcome else { preconditionFailure("the body above always leaves an outcome") }
        return try outcome.get()
    }
}

/// A simulated file system. Relative and absolute paths name the same tree.
public final class SimulatedFileSystem: FileSystem {
    private let disk: SharedDisk

    public init(seed: UInt64) {
        disk = SharedDisk(seed: seed)
    }

    // MARK: what a test can do

    /// Cuts the power and starts the machine again. Of each file an arbitrary seeded part of the unsynced sectors
    /// survives, some torn; each unsynced change of names is kept or undone. All handles and locks are dead, planned
    /// faults are forgotten.
    public func crash() {
        disk.state.withLock { $0.crash() }
    }

    /// Lets one call fail. A failed write leaves a part of itself behind; a failed sync drops the unsynced data for
    /// good while readers still see it.
    /// - Parameters:
    ///   - after: calls of that operation to let pass first.
    ///   - pathSuffix: only calls on paths that end so.
    public func failNext(
        operation: FileIOError.Operation, reason: FileIOError.Reason, after: Int = 0, pathSuffix: String = ""
    ) {
        disk.state.withLock {
            $0.faults.planned.append(
                .init(operation: operation, reason: reason, after: after, pathSuffix: pathSuffix))
        }
    }

    /// Every call from the moment that this is set to an empty array, for a test that wants to fail each of them; nil
    /// again after a crash.
    public var calls: [SimulatedCall]? {
        get { disk.state.withLock { $0.faults.calls } }
        set { disk.state.withLock { $0.faults.calls = newValue } }
    }

    /// Lets the power go at the n-th change of the disk from now (a write, sync, truncation or change of names): that
    /// one does not succeed, and nothing after it until ``crash()``.
    public func cutPower(afterChanges count: Int) {
        disk.state.withLock { $0.faults.changesLeft = count }
    }

    /// Syncs report success and do nothing, as drives with a volatile cache that lie.
    public var ignoresSyncs: Bool {
        get { disk.state.withLock { $0.faults.ignoresSyncs } }
        set { disk.state.withLock { $0.faults.ignoresSyncs = newValue } }
    }

    /// Bytes that all files together may have before writes fail with `noSpace`; nil for no limit.
    public var capacityBytes: Int? {
        get { disk.state.withLock { $0.faults.capacityBytes } }
        set { disk.state.withLock { $0.faults.capacityBytes = newValue } }
    }

    /// Flips bits of a stored byte, as a failing medium does.
    public func damage(_ path: String, at position: UInt64, mask: UInt8) throws(FileIOError) {
        try disk.use { disk throws(FileIOError) in
            guard let node = disk.find(path), position < UInt64(disk.nodes[node].content.count) else {
                throw disk.failure(.write, path, .notFound, "there is no such byte")
            }
            disk.nodes[node].damage(at: Int(position), mask: mask)
        }
    }

    /// The next write to a path that ends so reports success and lands that many sectors further on, or before. Power
    /// loss forgets the plan, as all faults.
    public func misdirectNextWrite(pathSuffix: String = "", bySectors sectors: Int) {
        disk.state.withLock { $0.faults.misdirected = (pathSuffix, sectors) }
    }

    /// Lets any call fail (EIO) with a chance of one in `calls`, by the seed; 0 ends it.
    public func failAnyCall(oneIn calls: Int) {
        disk.state.withLock { $0.faults.failsOneIn = calls }
    }

    /// Lets a bit under a read flip for good, with a chance of one in `reads`, by the seed; 0 ends it.
    public func flipBits(oneIn reads: Int) {
        disk.state.withLock { $0.faults.flipsOneIn = reads }
    }

    /// Simulated time that calls take, counted in ``SimulatedCounters/busyNanoseconds``; nil for none.
    public var latency: SimulatedLatency? {
        get { disk.state.withLock { $0.faults.latency } }
        set { disk.state.withLock { $0.faults.latency = newValue } }
    }

    public var counters: SimulatedCounters { disk.state.withLock { $0.counters } }

    // MARK: FileSystem

    /// Without a page cache there is no difference in speed: a direct file only insists on its alignment.
    public func open(_ path: String, _ mode: OpenMode, _ caching: FileCaching) throws(FileIOError) -> any File {
        let (node, epoch) = try disk.use { disk throws(FileIOError) in
            disk.counters.opens += 1
            try disk.check(.open, path)
            let node = try Self.node(path, mode, &disk)
            disk.nodes[node].handles += 1
            return (node, disk.epoch)
        }
        return SimulatedFile(
            path: path, node: node, epoch: epoch, isReadOnly: mode == .read, isDirect: caching == .direct, disk: disk)
    }

    private static func node(
        _ path: String, _ mode: OpenMode, _ disk: inout SimulatedDisk
    ) throws(FileIOError) -> Int {
        if let node = disk.find(path) {
            guard mode != .create else { throw disk.failure(.open, path, .alreadyExists, "File exists") }
            guard !disk.nodes[node].isDirectory else { throw disk.failure(.open, path, .other, "Is a directory") }
            return node
        }
        guard mode == .create || mode == .createOrOpen else {
            throw disk.failure(.open, path, .notFound, "No such file or directory")
        }
        let (parent, name) = try disk.parent(path, .open)
        try disk.checkPower(.open, path)
        let node = disk.makeNode(isDirectory: false)
        disk.set(name, in: parent, to: node)
        return node
    }

    public func createDirectory(_ path: String) throws(FileIOError) {
        try disk.use { disk throws(FileIOError) in
            try disk.check(.createDirectory, path)
            var made = ""
            for component in path.split(separator: "/") where component != "." {
                made += "/" + component
                if let node = disk.find(made) {
                    guard disk.nodes[node].isDirectory else {
                        throw disk.failure(.createDirectory, path, .alreadyExists, "File exists")
                    }
                    continue
                }
                let (parent, name) = try disk.parent(made, .createDirectory)
                try disk.checkPower(.createDirectory, path)
                let node = disk.makeNode(isDirectory: true)
                disk.set(name, in: parent, to: node)
            }
        }
    }

    public func list(_ path: String) throws(FileIOError) -> [String] {
        try disk.use { disk throws(FileIOError) in
            try disk.check(.list, path)
            guard let node = disk.find(path), disk.nodes[node].isDirectory else {
                throw disk.failure(.list, path, .notFound, "No such file or directory")
            }
            return disk.nodes[node].entries.map(\.name)
        }
    }

    public func exists(_ path: String) throws(FileIOError) -> Bool {
        try disk.use { disk throws(FileIOError) in
            try disk.check(.exists, path)
            return disk.find(path) != nil
        }
    }

    public func rename(_ source: String, to destination: String) throws(FileIOError) {
        try disk.use { disk throws(FileIOError) in
            try disk.checkChange(.rename, source)
            guard let node = disk.find(source) else {
                throw disk.failure(.rename, source, .notFound, "No such file or directory")
            }
            let from = try disk.parent(source, .rename)
            let to = try disk.parent(destination, .rename)
            if disk.find(destination) != node {
                disk.rename(from: from.node, from.name, to: to.node, to.name, node: node)
            }
        }
    }

    public func link(_ source: String, to destination: String) throws(FileIOError) {
        try disk.use { disk throws(FileIOError) in
            try disk.checkChange(.link, source)
            guard let node = disk.find(source) else {
                throw disk.failure(.link, source, .notFound, "No such file or directory")
            }
            guard disk.find(destination) == nil else {
                throw disk.failure(.link, destination, .alreadyExists, "File exists")
            }
            let to = try disk.parent(destination, .link)
            disk.set(to.name, in: to.node, to: node)
        }
    }

    public func remove(_ path: String) throws(FileIOError) {
        try disk.use { disk throws(FileIOError) in
            try disk.checkChange(.remove, path)
            guard let node = disk.find(path) else {
                throw disk.failure(.remove, path, .notFound, "No such file or directory")
            }
            guard !disk.nodes[node].isDirectory else { throw disk.failure(.remove, path, .other, "Is a directory") }
            let (parent, name) = try disk.parent(path, .remove)
            disk.set(name, in: parent, to: nil)
        }
    }

    public func removeTree(_ path: String) throws(FileIOError) {
        try disk.use { disk throws(FileIOError) in
            guard let node = disk.find(path) else { return }
            try disk.checkChange(.remove, path)
            let (parent, name) = try disk.parent(path, .remove)
            Self.removeNames(below: node, &disk)
            disk.set(name, in: parent, to: nil)
        }
    }

    private static func removeNames(below node: Int, _ disk: inout SimulatedDisk) {
        for entry in disk.nodes[node].entries {
            removeNames(below: entry.node, &disk)
            disk.set(entry.name, in: node, to: nil)
        }
    }

    public func syncDirectory(_ path: String) throws(FileIOError) {
        try disk.use { disk throws(FileIOError) in
            disk.counters.directorySyncs += 1
            disk.spend(isSync: true)
            try disk.checkChange(.syncDirectory, path)
            guard let node = disk.find(path), disk.nodes[node].isDirectory else {
                throw disk.failure(.syncDirectory, path, .notFound, "No such file or directory")
            }
            disk.syncNames(of: node)
        }
    }

    /// Leaves a file `LOCK` in the folder, as the real backends do.
    public func lock(_ path: String) throws(FileIOError) -> any DirectoryLock {
        let file = try open(path + "/LOCK", .createOrOpen)
        let (node, epoch) = try disk.use { disk throws(FileIOError) in
            try disk.check(.lock, file.path)
            guard let node = disk.find(file.path) else {
                throw disk.failure(.lock, file.path, .notFound, "No such file or directory")
            }
            guard !disk.locks.contains(node) else {
                throw disk.failure(.lock, file.path, .locked, "it is held by another user of the simulated disk")
            }
            disk.locks.append(node)
            return (node, disk.epoch)
        }
        return SimulatedLock(file: file, node: node, epoch: epoch, disk: disk)
    }
}

/// Holds the lock file open, so that its node is not reused meanwhile.
private final class SimulatedLock: DirectoryLock {
    private let file: any File
    private let node: Int
    private let epoch: Int
    private let disk: SharedDisk

    init(file: any File, node: Int, epoch: Int, disk: SharedDisk) {
        self.file = file
        self.node = node
        self.epoch = epoch
        self.disk = disk
    }

    deinit { release() }

    func release() {
        disk.state.withLock { disk in
            if disk.epoch == epoch { disk.locks.removeAll { $0 == node } }
        }
    }
}
