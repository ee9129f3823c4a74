// Opening of the key-value group: its store, its log, and what a crash left of a snapshot that was taking their place. Blocks.
import Cluster
import FileIO
import KeyValue
import SegmentedLog
import Storage

extension GroupOpener {
    struct OpenedKeyValue {
        var store: SwitchableStore
        var snapshots: KeyValueSnapshots
        var group: OpenedGroup
    }

    /// Largest segment of the group's log: whole segments are dropped when the log is cut.
    private static let segmentBytesMax: UInt64 = 64 * 1024 * 1024
    private static let segmentBytesMin: UInt64 = 16 * 1024
    private static let name = "keyvalue"

    /// - Parameter initial: the members that the group began with.
    func openKeyValue(initial: GroupMembership) throws(NodeError) -> OpenedKeyValue {
        let directory = options.directory + "/node/keyvalue"
        let kind = options.engine
        let interrupted: SnapshotManifest?
        let store: SwitchableStore
        do throws(SnapshotFailure) {
            interrupted = try KeyValueSnapshots.recover(directory: directory, kind: kind, fileSystem: fileSystem)
        } catch {
            throw .snapshot(error)
        }
        do throws(StorageError) {
            store = SwitchableStore(
                try openStore(
                    kind: kind, directory: "\(directory)/\(kind.rawValue)", fileSystem: fileSystem,
                    options: options.storage))
        } catch {
            throw .storage(error)
        }
        let membershipFile = membershipFile(of: Self.name)
        var group = try openLog(initial)
        if let interrupted {
            do throws(SnapshotFailure) {
                try KeyValueSnapshots.finishRecovery(
                    interrupted, log: group.log, membershipFile: membershipFile, directory: directory, kind: kind,
                    fileSystem: fileSystem)
            } catch {
                throw .snapshot(error)
            }
            group = try openLog(initial)
        }
        let snapshots = KeyValueSnapshots(
            store: store, membershipFile: membershipFile, directory: directory, kind: kind, options: options.storage,
            fileSystem: fileSystem)
        return OpenedKeyValue(store: store, snapshots: snapshots, group: group)
    }

    private func openLog(_ initial: GroupMembership) throws(NodeError) -> OpenedGroup {
        let wanted = min(Self.segmentBytesMax, options.settings.snapshots.logRetainedBytes / 4)
        let segmentBytes = min(options.log.segmentBytes, max(wanted, Self.segmentBytesMin))
        return try open(
            Self.name, folder: "node/keyvalue/log", indexed: true, initial: initial, segmentBytes: segmentBytes)
    }
}
