// What an operator can order for a replica that stays closed: to go on with what is left of it. Only where nobody else holds its
// data, only by name, and never by itself. The damaged log is kept. Blocks; the node must not be running.
import Cluster
public import FileIO
import SegmentedLog

/// Acceptance of a loss.
public enum GroupRepair {
    /// What was left.
    public struct Report: Sendable {
        /// Entries up to here are there.
        public var lastIndex: UInt64
        /// Entries up to here were recorded as durable.
        public var recordedIndex: UInt64
        /// Where the damaged log is kept; nil when there was none.
        public var kept: String?
    }

    /// Lets a group's log begin anew with the good frames at its front.
    ///
    /// A missing term and vote are made from the log: right for a lone voter only, which has nobody to contradict.
    public static func acceptLoss(
        of name: String, in directory: String, fileSystem: any FileSystem
    ) throws(NodeError) -> Report {
        let folder = "\(directory)/\(EvidenceCheck.folder(of: name))"
        let statePath = "\(directory)/node/raft/\(name).state"
        var options = SegmentedLog.Options()
        options.naming = name == "controller" || name == "keyvalue" ? .index : .offset
        do throws(SegmentedLogError) {
            let stored = try? HardStateFile.read(path: statePath, fileSystem: fileSystem)
            // The store goes on from this very log, so its front can't be cut off: only term and vote are made anew.
            let kept = name == "keyvalue" ? nil : try DamagedFolder.setAside(folder, fileSystem: fileSystem)
            let log =
                if let kept {
                    try SegmentedLog.salvage(kept, to: folder, fileSystem: fileSystem, options: options)
                } else {
                    try SegmentedLog.open(
                        directory: folder, fileSystem: fileSystem, options: options,
                        floor: name == "keyvalue" ? LogFloor.none : nil)
                }
            var record = stored ?? HardStateRecord()
            record.term = max(record.term, log.lastTerm)
            record.commit = min(record.commit, log.lastIndex)
            record.isRecovering = false
            let recorded = record.floor.index
            record.floor = log.durableEnd
            try HardStateFile.replace(path: statePath, with: record, fileSystem: fileSystem)
            return Report(lastIndex: log.lastIndex, recordedIndex: recorded, kept: kept)
        } catch {
            throw .log(error)
        }
    }
}
