// Opening of the key-value group: its store, its log, and what a crash left of a snapshot that was taking their place.
// Store and log are held against each other: the log must go on where the store's files end. A store that is lost is
// made anew from the log where that begins with the first entry; else both are rebuilt from the peers, or refused.
// Blocks.
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

    private var keyValueFolder: String { options.directory + "/node/keyvalue" }
    private var storeFolder: String { "\(keyValueFolder)/\(options.engine.rawValue)" }

    /// - Parameter initial: the members that the group began with.
    func openKeyValue(initial: GroupMembership) throws(NodeError) -> OpenedKeyValue {
        let wanted = min(Self.segmentBytesMax, options.settings.snapshots.logRetainedBytes / 4)
        let files = GroupFiles(
            name: "keyvalue", folder: "node/keyvalue/log", isIndexed: true, initial: initial,
            segmentBytes: min(options.log.segmentBytes, max(wanted, Self.segmentBytesMin)))
        // Before anything is changed: without term and vote nothing may be.
        let state = try openState(of: files)
        try finishInstall(files, state)
        let (store, storeDamage) = try openStoreIfWhole()
        let damage: String
        switch try openLog(of: files, state) {
        case .whole(let group):
            if let store {
                guard let gap = Self.gap(between: store, and: group.log) else { return opened(files, store, group) }
                damage = gap
                store.close()
            } else if group.log.firstIndex == 1 {
                diagnostics.report(
                    .damagedReplica, "keyvalue: \(storeDamage); the store is made anew from the log, which is complete")
                try setAside(storeFolder)
                return opened(files, try openStore(), group)
            } else {
                damage = storeDamage
            }
        case .damaged(let error):
            damage = "\(error)"
            store?.close()
        }
        try beginRebuilding(files, state, because: damage)
        try setAside(storeFolder)
        let group = try openEmpty(files, state)
        return opened(files, try openStore(), group)
    }

    private func opened(_ files: GroupFiles, _ store: SwitchableStore, _ group: OpenedGroup) -> OpenedKeyValue {
        let snapshots = KeyValueSnapshots(
            store: store, membershipFile: membershipFile(of: files.name), directory: keyValueFolder,
            kind: options.engine, options: options.storage, fileSystem: fileSystem)
        return OpenedKeyValue(store: store, snapshots: snapshots, group: group)
    }

    /// Brings a snapshot that a crash interrupted to its place; the log may be older, shorter or empty until then.
    private func finishInstall(_ files: GroupFiles, _ state: HardStateFile) throws(NodeError) {
        do {
            guard
                let manifest = try KeyValueSnapshots.recover(
                    directory: keyValueFolder, kind: options.engine, fileSystem: fileSystem)
            else { return }
            let log = try openLog(of: files, floor: nil)
            try KeyValueSnapshots.finishRecovery(
                manifest, log: log, membershipFile: membershipFile(of: files.name), directory: keyValueFolder,
                kind: options.engine, fileSystem: fileSystem)
            var record = state.record
            record.floor = log.durableEnd
            try state.store(record)
        } catch let failure as SnapshotFailure {
            throw .snapshot(failure)
        } catch let error as SegmentedLogError {
            throw .log(error)
        } catch {
            throw .inconsistent("\(error)")
        }
    }

    private func openStore() throws(NodeError) -> SwitchableStore {
        do throws(StorageError) {
            return SwitchableStore(
                try Storage.openStore(
                    kind: options.engine, directory: storeFolder, fileSystem: fileSystem, options: options.storage))
        } catch {
            throw .storage(error)
        }
    }

    /// The store, or what is wrong with its files.
    private func openStoreIfWhole() throws(NodeError) -> (store: SwitchableStore?, damage: String) {
        do throws(NodeError) {
            return (try openStore(), "")
        } catch {
            switch error {
            case .storage(.corruption), .storage(.missingFile): return (nil, "\(error)")
            default: throw error
            }
        }
    }

    /// What is missing between the store's files and the log; nil when the log goes on where they end.
    private static func gap(between store: any KeyValueStore, and log: SegmentedLog) -> String? {
        let flushed = store.flushed.index
        if log.firstIndex > flushed + 1 {
            return
                "the store ends at entry \(flushed) and its log begins at \(log.firstIndex): entries between them are "
                + "lost, or another engine wrote the store"
        }
        if log.lastIndex < flushed {
            return
                "the store holds entries up to \(flushed) and its log ends at \(log.lastIndex): the log was replaced or cut"
        }
        return nil
    }
}
