// The store's files as snapshots: a checkpoint by hard links on the way out, and on the way in the switch of the
// store's folder, made so that a crash at any step leaves either the old or the new. Blocks; runs on threads that may.
public import Cluster
public import FileIO
public import Raft
public import SegmentedLog
public import Storage

/// Folders below `directory`: `<engine>` the store, `<engine>.incoming` received files, `checkpoint-<n>` files on their
/// way out.
///
/// The switch: the manifest is written to `<engine>.install`, which decides it; then the old folder goes, the received
/// one takes its name, the members are noted, the log begins anew, and the manifest goes. Whoever finds it when a node
/// starts finishes the rest.
public final class KeyValueSnapshots: SnapshotStore {
    public let fileSystem: any FileSystem
    private let directory: String
    private let kind: StorageEngineKind
    private let options: StoreOptions
    private let store: SwitchableStore
    public let membershipFile: MembershipFile

    public init(
        store: SwitchableStore, membershipFile: MembershipFile, directory: String, kind: StorageEngineKind,
        options: StoreOptions, fileSystem: any FileSystem
    ) {
        self.store = store
        self.membershipFile = membershipFile
        self.directory = directory
        self.kind = kind
        self.options = options
        self.fileSystem = fileSystem
    }

    public var format: String { kind.rawValue }
    public var incomingFolder: String { Self.incoming(directory, kind) }
    public var flushed: SnapshotPoint {
        let flushed = store.flushed
        return SnapshotPoint(index: flushed.index, term: flushed.term)
    }

    private static func incoming(_ directory: String, _ kind: StorageEngineKind) -> String {
        "\(directory)/\(kind.rawValue).incoming"
    }

    private static func marker(_ directory: String, _ kind: StorageEngineKind) -> String {
        "\(directory)/\(kind.rawValue).install"
    }

    private static let checkpointPrefix = "checkpoint-"

    public func flush() throws(SnapshotFailure) {
        do throws(StorageError) {
            try store.flush()
        } catch {
            throw SnapshotFailure("\(error)")
        }
    }

    public func checkpoint(_ number: UInt64) throws(SnapshotFailure) -> SnapshotCheckpoint {
        let folder = "\(directory)/\(Self.checkpointPrefix)\(number)"
        do {
            try fileSystem.removeTree(folder)
            let export = try store.export(to: folder)
            var files: [SnapshotManifest.File] = []
            for name in try fileSystem.list(folder) {
                if let known = export.knownFiles.first(where: { $0.name == name }) {
                    files.append(.init(name: name, byteCount: known.byteCount, checksum: known.checksum))
                } else {
                    files.append(try SnapshotManifest.File(name, in: folder, fileSystem))
                }
            }
            return SnapshotCheckpoint(
                folder: folder, point: SnapshotPoint(index: export.position.index, term: export.position.term),
                files: files)
        } catch {
            try? fileSystem.removeTree(folder)
            throw SnapshotFailure("\(error)")
        }
    }

    public func sending(_ isUnderWay: Bool) { store.putOffCompaction(isUnderWay) }

    /// Opens the files in a folder of links, with little memory, and reads all of them.
    /// - Complexity: O(bytes) of the received files.
    public func check(_ manifest: SnapshotManifest) throws(SnapshotFailure) {
        // A start after a crash removes it as any other checkpoint.
        let scratch = "\(directory)/\(Self.checkpointPrefix)received"
        do throws(StorageError) {
            try ReceivedStore.check(
                manifest.files.map(\.name), in: incomingFolder, scratch: scratch, kind: kind, fileSystem: fileSystem,
                options: options
            ) { (store) throws(StorageError) in
                let flushed = store.flushed
                guard flushed == LogPosition(index: manifest.point.index, term: manifest.point.term) else {
                    throw .corruption(
                        path: incomingFolder, position: 0,
                        detail: "the store ends at entry \(flushed.index) of term \(flushed.term), the snapshot at "
                            + "\(manifest.point.index) of term \(manifest.point.term)")
                }
                _ = try SessionTable(limits: SessionLimits(), store: store)
            }
        } catch {
            // What this node's own disk refused to do says nothing about the files.
            if case .io = error {} else { try? fileSystem.removeTree(incomingFolder) }
            throw SnapshotFailure("the received files are refused: \(error)")
        }
    }

    public func install(_ manifest: SnapshotManifest, log: SegmentedLog) throws(SnapshotFailure) {
        do {
            try fileSystem.replaceFile(Self.marker(directory, kind), with: manifest.fileBytes)
            try store.replace { () throws(StorageError) in
                do throws(FileIOError) {
                    try Self.switchFolders(directory, kind, fileSystem)
                } catch {
                    throw .io(error)
                }
                return try openStore(
                    kind: kind, directory: "\(directory)/\(kind.rawValue)", fileSystem: fileSystem, options: options)
            }
            let flushed = store.flushed
            guard flushed == LogPosition(index: manifest.point.index, term: manifest.point.term) else {
                throw SnapshotFailure(
                    "the received files end at entry \(flushed.index), the snapshot at \(manifest.point.index); "
                        + "restore this node's data folder")
            }
            try Self.finish(manifest, log, membershipFile, directory, kind, fileSystem)
        } catch {
            throw SnapshotFailure("\(error)")
        }
    }

    /// Puts the received folder in the place of the store's. Does nothing when that was done before.
    private static func switchFolders(
        _ directory: String, _ kind: StorageEngineKind, _ fileSystem: any FileSystem
    ) throws(FileIOError) {
        let (folder, received) = ("\(directory)/\(kind.rawValue)", incoming(directory, kind))
        guard try fileSystem.exists(received) else { return }
        try fileSystem.removeTree(folder)
        try fileSystem.syncDirectory(directory)
        try fileSystem.rename(received, to: folder)
        try fileSystem.syncDirectory(directory)
    }

    private static func finish(
        _ manifest: SnapshotManifest, _ log: SegmentedLog, _ membershipFile: MembershipFile, _ directory: String,
        _ kind: StorageEngineKind, _ fileSystem: any FileSystem
    ) throws {
        let point = manifest.point
        try membershipFile.store(index: point.index, membership: manifest.membership)
        // Done before a crash, perhaps: nothing was appended since, for the manifest goes first.
        if log.firstIndex != point.index + 1 || log.term(at: point.index) != point.term {
            try log.reset(to: point.index, term: point.term, nextOffset: manifest.nextOffset)
        }
        try fileSystem.remove(marker(directory, kind))
        try fileSystem.syncDirectory(directory)
    }

    // MARK: when a node starts

    /// Finishes an interrupted switch of folders and removes old checkpoints; comes before the store is opened. Returns
    /// the snapshot for ``finishRecovery(_:log:membershipFile:directory:kind:fileSystem:)``, nil when there was none.
    public static func recover(
        directory: String, kind: StorageEngineKind, fileSystem: any FileSystem
    ) throws(SnapshotFailure) -> SnapshotManifest? {
        do throws(FileIOError) {
            for name in try fileSystem.list(directory) where name.hasPrefix(checkpointPrefix) {
                try fileSystem.removeTree("\(directory)/\(name)")
            }
            let path = marker(directory, kind)
            guard let bytes = try fileSystem.readFile(path) else { return nil }
            guard let manifest = SnapshotManifest(fileBytes: bytes) else {
                throw FileIOError(
                    operation: .read, path: path, reason: .other,
                    detail: "it is no whole manifest; restore this node's data folder")
            }
            // A killed process may have renamed it without making the name durable.
            try fileSystem.syncDirectory(directory)
            try switchFolders(directory, kind, fileSystem)
            return manifest
        } catch {
            throw SnapshotFailure("\(error)")
        }
    }

    /// Lets the log begin behind the snapshot. What the opening of `log` found is history then: open it again.
    public static func finishRecovery(
        _ manifest: SnapshotManifest, log: SegmentedLog, membershipFile: MembershipFile, directory: String,
        kind: StorageEngineKind, fileSystem: any FileSystem
    ) throws(SnapshotFailure) {
        do {
            try finish(manifest, log, membershipFile, directory, kind, fileSystem)
        } catch {
            throw SnapshotFailure("\(error)")
        }
    }
}
