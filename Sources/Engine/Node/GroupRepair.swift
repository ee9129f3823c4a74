// What an operator can order for a replica that stays closed: to go on with what is left of it. Only where nobody else
// holds its data, only by name, and never by itself. The damaged log is kept. Blocks; the node must not be running.
import Cluster
public import FileIO
import SegmentedLog
public import Storage

/// Acceptance of a loss.
public enum GroupRepair {
    /// What was left.
    public struct Report: Sendable {
        /// Entries up to here are there.
        public var lastIndex: UInt64
        /// Entries up to here were recorded as durable.
        public var recordedIndex: UInt64
        /// Entries that neither a store nor a log holds any more; nil when there are none such.
        public internal(set) var lostFront: ClosedRange<UInt64>?
        /// Where damaged folders are kept.
        public internal(set) var kept: [String] = []
    }

    /// Lets a group's log begin anew with the good frames at its front.
    ///
    /// A missing term and vote are made from the log: right for a lone voter only, which has nobody to contradict.
    /// - Parameter engine: of the key-value group's store, where that can't be seen from its folder.
    public static func acceptLoss(
        of name: String, in directory: String, engine: StorageEngineKind? = nil, fileSystem: any FileSystem
    ) throws(NodeError) -> Report {
        if name == "keyvalue" {
            return try acceptLossOfKeyValue(in: directory, engine: engine, fileSystem: fileSystem)
        }
        let folder = "\(directory)/\(EvidenceCheck.folder(of: name))"
        var options = SegmentedLog.Options()
        options.naming = name == "controller" ? .index : .offset
        let exists = try onDisk { () throws(FileIOError) in try fileSystem.exists(folder) }
        do throws(SegmentedLogError) {
            let kept = exists ? try DamagedFolder.keep(folder, fileSystem: fileSystem) : nil
            let log =
                if let kept {
                    try SegmentedLog.salvage(kept, to: folder, fileSystem: fileSystem, options: options)
                } else {
                    try SegmentedLog.open(directory: folder, fileSystem: fileSystem, options: options, floor: nil)
                }
            var report = try settle(name, in: directory, on: log, fileSystem: fileSystem)
            if let kept { report.kept = [kept] }
            return report
        } catch {
            throw .log(error)
        }
    }

    /// Records that the group's log is what `log` holds. A missing term and vote are made from it.
    static func settle(
        _ name: String, in directory: String, on log: SegmentedLog, fileSystem: any FileSystem
    ) throws(SegmentedLogError) -> Report {
        let statePath = "\(directory)/node/raft/\(name).state"
        var record = (try? HardStateFile.read(path: statePath, fileSystem: fileSystem)) ?? HardStateRecord()
        record.term = max(record.term, log.lastTerm)
        record.commit = min(record.commit, log.lastIndex)
        record.isRecovering = false
        let recorded = record.floor.index
        record.floor = log.durableEnd
        try HardStateFile.replace(path: statePath, with: record, fileSystem: fileSystem)
        return Report(lastIndex: log.lastIndex, recordedIndex: recorded)
    }
}
