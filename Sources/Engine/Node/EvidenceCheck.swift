// Holds the files of a node that is not running against each other, as opening them would: what state files and the
// registry say against what the logs hold. It reads only.
import Cluster
public import FileIO
public import SegmentedLog

/// What the files of a data folder say of each other.
public enum EvidenceCheck {
    /// What does not fit, one sentence each; empty for a folder that is no node's.
    /// - Parameters:
    ///   - directory: the data folder.
    ///   - logs: what ``SegmentedLog/verifyAll(below:fileSystem:)`` found there.
    public static func contradictions(
        in directory: String, logs: [SegmentedLog.Verification], fileSystem: any FileSystem
    ) throws(NodeError) -> [String] {
        let raft = directory + "/node/raft"
        guard try onDisk({ () throws(FileIOError) in try fileSystem.exists(raft) }) else { return [] }
        let files = try onDisk { () throws(FileIOError) in try fileSystem.list(raft) }
        var found: [String] = []
        var names = Set(files.filter { $0.hasSuffix(".state") }.map { String($0.dropLast(6)) })
        if files.contains("registry") {
            do throws(NodeError) {
                names.formUnion(
                    try GroupRegistry.open(directory: directory, mustExist: true, fileSystem: fileSystem).names)
            } catch {
                found.append("\(error)")
            }
        }
        for name in names.sorted() {
            let log = logs.first { $0.directory == "\(directory)/\(folder(of: name))" }
            if let problem = problem(of: name, raft, log, fileSystem) { found.append("\(name): \(problem)") }
        }
        return found
    }

    /// Where a group's log is, in the data folder.
    static func folder(of name: String) -> String {
        switch name {
        case "controller": "node/controller"
        case "keyvalue": "node/keyvalue/log"
        default: name
        }
    }

    private static func problem(
        of name: String, _ raft: String, _ log: SegmentedLog.Verification?, _ fileSystem: any FileSystem
    ) -> String? {
        let record: HardStateRecord
        do throws(SegmentedLogError) {
            guard let stored = try HardStateFile.read(path: "\(raft)/\(name).state", fileSystem: fileSystem) else {
                return "term and vote are missing"
            }
            record = stored
        } catch {
            return "\(error)"
        }
        // A long name's state file is named by the group's number, which only the controller's log can turn into a
        // folder.
        if record.isRecovering || name.hasPrefix("@") { return nil }
        guard let log else { return "the state says term \(record.term), the log is missing" }
        guard let last = log.lastIndex, log.newestHead >= record.floor.head, last >= record.floor.index else {
            return
                "the log ends at entry \(log.lastIndex ?? log.newestHead), yet entries up to \(record.floor.index) were "
                + "recorded as durable"
        }
        return membersProblem("\(raft)/\(name).members", term: record.term, lastIndex: last, fileSystem)
    }

    /// The list of a group's members is written before the group runs, so one that has had a term has it.
    private static func membersProblem(
        _ path: String, term: UInt64, lastIndex: UInt64, _ fileSystem: any FileSystem
    ) -> String? {
        do throws(SegmentedLogError) {
            guard let base = try MembershipFile(path: path, fileSystem: fileSystem).load() else {
                return term > 0 ? "the state says term \(term), the list of its members is missing" : nil
            }
            guard base.index <= lastIndex else {
                return "the members are known as of entry \(base.index), yet the log ends at entry \(lastIndex)"
            }
            return nil
        } catch {
            return "\(error)"
        }
    }
}
