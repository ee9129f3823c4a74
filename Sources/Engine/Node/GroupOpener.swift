// Opens a group's files: its log and its hard state. Used when a node starts and whenever a topic appears. Blocks; never
// called on the host's thread.
import Broker
import Cluster
import FileIO
import Raft
import SegmentedLog

struct GroupOpener: Sendable {
    let options: Node.Options
    let fileSystem: any FileSystem

    private var raftFolder: String { options.directory + "/node/raft" }

    /// Makes the folders that hold groups.
    func prepare() throws(NodeError) {
        do throws(FileIOError) {
            for folder in [raftFolder, options.directory + "/node/keyvalue"] {
                try fileSystem.createDirectory(folder)
                try fileSystem.syncDirectory(fileSystem.directory(of: folder))
            }
            try fileSystem.syncDirectory(options.directory)
        } catch {
            throw .files(error)
        }
    }

    struct OpenedGroup: Sendable {
        var log: SegmentedLog
        var hardStateFile: HardStateFile
        var hardState: HardState
        var history: MembershipHistory

        func start(_ id: GroupID, on host: ClusterHost, machine: any StateMachine, durability: WriteDurability) {
            host.addGroup(
                id, log: log, hardStateFile: hardStateFile, hardState: hardState, history: history,
                machine: machine, durability: durability)
        }
    }

    /// - Parameter indexed: segments are named after Raft indexes, for groups whose entries hold no records.
    /// - Parameters:
    ///   - segmentBytes: size of segments, when not that of all logs.
    ///   - initial: the members that the group began with.
    func open(
        _ name: String, folder: String, indexed: Bool, initial: GroupMembership, segmentBytes: UInt64? = nil
    ) throws(NodeError) -> OpenedGroup {
        do throws(SegmentedLogError) {
            var logOptions = options.log
            logOptions.naming = indexed ? .index : .offset
            if let segmentBytes { logOptions.segmentBytes = segmentBytes }
            let log = try SegmentedLog.open(
                directory: options.directory + "/" + folder, fileSystem: fileSystem, options: logOptions)
            let file = try HardStateFile.open(path: "\(raftFolder)/\(name).state", fileSystem: fileSystem)
            let stored = file.load()
            let hardState = HardState(
                term: stored?.term ?? 0, vote: (stored?.vote).flatMap { $0 == 0 ? nil : NodeID($0) })
            let history = try membershipFile(of: name).open(initial: initial, log: log)
            return OpenedGroup(log: log, hardStateFile: file, hardState: hardState, history: history)
        } catch {
            throw .log(error)
        }
    }

    func membershipFile(of name: String) -> MembershipFile {
        MembershipFile(path: "\(raftFolder)/\(name).members", fileSystem: fileSystem)
    }

    /// Opens the partitions of a topic in the background and adds their groups to the host. One that can't be opened is out
    /// of service on this node, with a reason, and the others are served; what may pass is tried again.
    func openPartitions(
        of record: TopicRecord, topics: TopicTable, inbox: HostInbox, blocking: any BlockingExecutor
    ) {
        blocking.run {
            for number in 0..<record.partitions {
                openPartition(number, of: record, topics: topics, inbox: inbox, blocking: blocking)
            }
        }
    }

    /// Blocks.
    func openPartition(
        _ number: UInt32, of record: TopicRecord, topics: TopicTable, inbox: HostInbox, blocking: any BlockingExecutor
    ) {
        guard let id = record.group(of: number) else { return }
        let name = "\(record.name)-\(number)"
        do throws(NodeError) {
            let opened = try open(name, folder: name, indexed: false, initial: record.initial)
            let partition = Partition(topic: record.name, number: number, group: id, log: opened.log)
            let durability = options.durability
            inbox.post(
                .run { host in
                    topics.insert(partition)
                    opened.start(id, on: host, machine: PartitionMachine(partition: partition), durability: durability)
                }, lane: .control)
        } catch {
            let reason = "it can't be opened: \(error)"
            let scope = error.openingScope
            inbox.post(
                .run { host in
                    guard case .group(let passes) = scope else { return host.stop(because: "topic \(name): \(reason)") }
                    let again: @Sendable () -> Void = {
                        blocking.run {
                            openPartition(number, of: record, topics: topics, inbox: inbox, blocking: blocking)
                        }
                    }
                    host.setUnavailable(id, named: name, because: reason, retry: passes ? again : nil)
                }, lane: .control)
        }
    }

    /// What opens a partition again whose group could not go on.
    func reopening(
        _ id: GroupID, topics: TopicTable, inbox: HostInbox, blocking: any BlockingExecutor
    ) -> (@Sendable () -> Void)? {
        guard let partition = topics.partition(id), let record = topics.record(partition.topic) else { return nil }
        let number = partition.number
        return {
            blocking.run { openPartition(number, of: record, topics: topics, inbox: inbox, blocking: blocking) }
        }
    }
}
