// Acceptance of a loss of the key-value group, whose state is in two places: a store, and the log that goes on where
// the store's files end. What is good of either is kept, and the other is made to fit.
import Cluster
public import FileIO
import SegmentedLog
public import Storage

extension GroupRepair {
    /// Lets the key-value group go on with what is left of its store and of its log.
    ///
    /// A log that lost entries which the store has begins anew behind them. A store that is lost, or older than the
    /// beginning of its log, goes on there without what stood before. Damaged folders are kept.
    /// - Parameter engine: of the node; nil takes the one whose folder is there, and `lsm` when none is.
    static func acceptLossOfKeyValue(
        in directory: String, engine: StorageEngineKind?, fileSystem: any FileSystem
    ) throws(NodeError) -> Report {
        let parent = "\(directory)/node/keyvalue"
        let kind = try kindOfStore(in: parent, engine, fileSystem)
        var kept: [String] = []
        let log = try keyValueLog("\(parent)/log", &kept, fileSystem)
        let store = try keyValueStore(kind, "\(parent)/\(kind.rawValue)", &kept, fileSystem)
        defer { store.close() }
        let front = log.firstIndex - 1
        let flushed = store.flushed
        let lost: ClosedRange<UInt64>? = front > flushed.index ? flushed.index + 1...front : nil
        do throws(StorageError) {
            if lost != nil {
                _ = try store.apply(WriteBatch(), at: LogPosition(index: front, term: log.term(at: front) ?? 0))
                try store.flush()
            }
        } catch {
            throw .storage(error)
        }
        do throws(SegmentedLogError) {
            if log.lastIndex < flushed.index {
                try log.reset(to: flushed.index, term: flushed.term, nextOffset: 0)
            }
            let members = MembershipFile(path: "\(directory)/node/raft/keyvalue.members", fileSystem: fileSystem)
            // Who the members were must be known from where the log begins.
            let begin = log.firstIndex - 1
            if let base = try members.load(), base.index < begin || base.index > log.lastIndex {
                try members.store(index: begin, membership: base.membership)
            }
            var report = try settle("keyvalue", in: directory, on: log, fileSystem: fileSystem)
            report.kept = kept
            report.lostFront = lost
            return report
        } catch {
            throw .log(error)
        }
    }

    private static func kindOfStore(
        in parent: String, _ engine: StorageEngineKind?, _ fileSystem: any FileSystem
    ) throws(NodeError) -> StorageEngineKind {
        if let engine { return engine }
        let present = try onDisk { () throws(FileIOError) in
            var present: [StorageEngineKind] = []
            for kind in StorageEngineKind.allCases where try fileSystem.exists("\(parent)/\(kind.rawValue)") {
                present.append(kind)
            }
            return present
        }
        guard present.count <= 1 else {
            throw .inconsistent(
                "there are stores of \(present.map(\.rawValue).joined(separator: " and ")) in \(parent): say with --engine "
                    + "which one the node runs with")
        }
        return present.first ?? .lsm
    }

    /// The log, or the good frames at its front when it can't be opened.
    private static func keyValueLog(
        _ folder: String, _ kept: inout [String], _ fileSystem: any FileSystem
    ) throws(NodeError) -> SegmentedLog {
        var options = SegmentedLog.Options()
        options.naming = .index
        let exists = try onDisk { () throws(FileIOError) in try fileSystem.exists(folder) }
        do throws(SegmentedLogError) {
            return try SegmentedLog.open(
                directory: folder, fileSystem: fileSystem, options: options, floor: exists ? LogFloor.none : nil)
        } catch {
            guard error.isDamage else { throw .log(error) }
        }
        do throws(SegmentedLogError) {
            let damaged = try DamagedFolder.keep(folder, fileSystem: fileSystem)
            kept.append(damaged)
            return try SegmentedLog.salvage(damaged, to: folder, fileSystem: fileSystem, options: options)
        } catch {
            throw .log(error)
        }
    }

    /// The store, or an empty one when its files are damaged.
    private static func keyValueStore(
        _ kind: StorageEngineKind, _ folder: String, _ kept: inout [String], _ fileSystem: any FileSystem
    ) throws(NodeError) -> any KeyValueStore {
        do throws(StorageError) {
            return try openStore(kind: kind, directory: folder, fileSystem: fileSystem)
        } catch {
            switch error {
            case .corruption, .missingFile: break
            default: throw .storage(error)
            }
        }
        do throws(SegmentedLogError) {
            kept.append(try DamagedFolder.keep(folder, fileSystem: fileSystem))
        } catch {
            throw .log(error)
        }
        do throws(StorageError) {
            return try openStore(kind: kind, directory: folder, fileSystem: fileSystem)
        } catch {
            throw .storage(error)
        }
    }
}
