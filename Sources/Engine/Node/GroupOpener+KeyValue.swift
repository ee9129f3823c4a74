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

    func openKeyValue() throws(NodeError) -> OpenedKeyValue {
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
        var group = try openLog()
        if let interrupted {
            do throws(SnapshotFailure) {
                try KeyValueSnapshots.finishRecovery(
                    interrupted, log: group.log, directory: directory, kind: kind, fileSystem: fileSystem)
            } catch {
                throw .snapshot(error)
            }
            group = try openLog()
        }
        let snapshots = KeyValueSnapshots(
            store: store, directory: directory, kind: kind, options: options.storage, fileSystem: fileSystem)
        return OpenedKeyValue(store: store, snapshots: snapshots, group: group)
    }

    private func openLog() throws(NodeError) -> OpenedGroup {
        let wanted = min(Self.segmentBytesMax, options.settings.snapshots.logRetainedBytes / 4)
        let segmentBytes = min(options.log.segmentBytes, max(wanted, Self.segmentBytesMin))
        return try open("keyvalue", folder: "node/keyvalue/log", indexed: true, segmentBytes: segmentBytes)
    }
}
