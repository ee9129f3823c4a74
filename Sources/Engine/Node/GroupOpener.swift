// Opens a group's files: its log, its hard state, its members. What each of them says of the others is evidence: a
// replica that holds less than it should is damaged, not new. It is refused by name, or rebuilt from its peers without
// a vote; no term is ever invented. Used when a node starts and whenever a topic appears. Blocks; never called on the
// host's thread.
import Broker
import Cluster
import FileIO
import Raft
import SegmentedLog

struct GroupOpener: Sendable {
    let options: Node.Options
    let fileSystem: any FileSystem
    let registry: GroupRegistry
    /// Those of the cluster: a replica without peers can't be rebuilt.
    let members: MembershipTable
    let diagnostics: Diagnostics
    let budget: GroupBudget

    /// Partitions of a new topic whose files are made before their names are noted together.
    private static let partitionsPerNote = 64

    private var raftFolder: String { options.directory + "/node/raft" }

    /// Makes the folders that hold groups.
    static func prepare(_ directory: String, _ fileSystem: any FileSystem) throws(NodeError) {
        try onDisk { () throws(FileIOError) in
            for folder in [directory + "/node/raft", directory + "/node/keyvalue"] {
                try fileSystem.createDirectory(folder)
                try fileSystem.syncDirectory(fileSystem.directory(of: folder))
            }
            try fileSystem.syncDirectory(directory)
        }
    }

    /// Where a group's files are and what it begins with.
    struct GroupFiles: Sendable {
        /// Of the group; also the stem of its files below `node/raft`.
        var name: String
        /// Of its log, in the data folder.
        var folder: String
        /// Segments are named after Raft indexes, for groups whose entries hold no records.
        var isIndexed: Bool
        /// The members that the group began with.
        var initial: GroupMembership
        /// Size of segments, when not that of all logs.
        var segmentBytes: UInt64?
    }

    struct OpenedGroup: Sendable {
        var log: SegmentedLog
        var hardStateFile: HardStateFile
        var hardState: HardState { HardState(hardStateFile.record) }
        var history: MembershipHistory

        func start(_ id: GroupID, on host: ClusterHost, machine: any StateMachine, durability: WriteDurability) {
            host.addGroup(
                id, log: log, hardStateFile: hardStateFile, hardState: hardState, history: history,
                machine: machine, durability: durability)
        }
    }

    /// What opening found.
    enum Outcome {
        case whole(OpenedGroup)
        /// The files contradict each other, or some are gone; nothing was changed.
        case damaged(SegmentedLogError)
    }

    /// Opens a group whose log is all that it has.
    /// - Throws: ``NodeError/refused(replica:why:)`` when it is damaged and can't be rebuilt.
    func open(_ files: GroupFiles) throws(NodeError) -> OpenedGroup {
        let state = try openState(of: files)
        switch try openLog(of: files, state) {
        case .whole(let group):
            return group
        case .damaged(let damage):
            try beginRebuilding(files, state, because: "\(damage)")
            return try openAgain(files, state)
        }
    }

    // MARK: term and vote

    /// Opens the hard state, or makes the first one of a group that shows no sign of having been here.
    func openState(of files: GroupFiles) throws(NodeError) -> HardStateFile {
        let path = "\(raftFolder)/\(files.name).state"
        do throws(SegmentedLogError) {
            if try !HardStateFile.exists(path: path, fileSystem: fileSystem), let evidence = try evidence(of: files) {
                throw SegmentedLogError(.corruption, "term and vote are missing, yet \(evidence)", path: path)
            }
            return try HardStateFile.open(path: path, fileSystem: fileSystem)
        } catch {
            guard error.isDamage else { throw .log(error) }
            throw refusal(
                files,
                "\(error.path): \(error.message); it may have promised its vote, and no term is ever invented: restore the "
                    + "file from a backup" + stateRemedy(files))
        }
    }

    private func stateRemedy(_ files: GroupFiles) -> String {
        hasPeers
            ? ", or remove this member from the cluster and add it anew with an empty data folder"
            : ", or accept what is lost with: Server storage repair --accept-loss \(files.name) --data \(options.directory)"
    }

    /// What shows that a group was here before; nil for a new one.
    private func evidence(of files: GroupFiles) throws(SegmentedLogError) -> String? {
        if registry.contains(files.name) { return "this node has held the group before" }
        if try membershipFile(of: files.name).exists {
            return "the list of its members is there"
        }
        let folder = directory(of: files)
        return try SegmentedLog.holdsEntries(directory: folder, fileSystem: fileSystem)
            ? "its log \(folder) holds entries" : nil
    }

    // MARK: log and members

    /// Opens log and members and holds them against the hard state and against each other.
    func openLog(of files: GroupFiles, _ state: HardStateFile) throws(NodeError) -> Outcome {
        do throws(SegmentedLogError) {
            let record = state.record
            let isNew = !registry.contains(files.name) && state.load() == nil
            let log = try openLog(of: files, floor: isNew || record.isRecovering ? nil : record.floor)
            if let torn = log.recovery.tornTail { diagnostics.report(.tornTail, torn.description) }
            guard log.lastTerm <= record.term else {
                throw SegmentedLogError(
                    .corruption,
                    "its term is \(record.term), yet the log has entries of term \(log.lastTerm): an older copy was put in "
                        + "its place", path: state.path)
            }
            let history = try members(of: files, log)
            if !record.isRecovering {
                // From here on a damaged or shorter end can't look like an interrupted write. The mark and the other
                // slot follow once the log is idle.
                var reached = record
                reached.floor = log.durableEnd
                if reached != record { try state.store(reached) }
            }
            return .whole(OpenedGroup(log: log, hardStateFile: state, history: history))
        } catch {
            guard error.isDamage else { throw .log(error) }
            if error.path == state.path {
                throw refusal(files, "\(error); restore the file from a backup" + stateRemedy(files))
            }
            return .damaged(error)
        }
    }

    func openLog(of files: GroupFiles, floor: LogFloor?) throws(SegmentedLogError) -> SegmentedLog {
        var logOptions = options.log
        logOptions.naming = files.isIndexed ? .index : .offset
        if let segmentBytes = files.segmentBytes { logOptions.segmentBytes = segmentBytes }
        return try SegmentedLog.open(
            directory: directory(of: files), fileSystem: fileSystem, options: logOptions, floor: floor)
    }

    /// The members, from their file and the log. A file that is gone is written anew where the log, which then begins
    /// with the first entry, shows everything that can be in it.
    private func members(of files: GroupFiles, _ log: SegmentedLog) throws(SegmentedLogError) -> MembershipHistory {
        let file = membershipFile(of: files.name)
        do throws(SegmentedLogError) {
            let isMissing = try file.load() == nil
            if isMissing, log.firstIndex > 1 { throw SegmentedLogError(.incomplete, "it is missing", path: file.path) }
            if isMissing, registry.contains(files.name) {
                diagnostics.report(
                    .damagedReplica, "\(files.name): \(file.path) was missing and is written anew from the log")
            }
            return try file.open(initial: files.initial, log: log)
        } catch {
            guard error.isDamage, error.path == file.path, log.firstIndex == 1 else { throw error }
            diagnostics.report(
                .damagedReplica, "\(files.name): \(error); it is written anew from the log, which is complete")
            try file.store(index: 0, membership: files.initial)
            return try file.open(initial: files.initial, log: log)
        }
    }

    // MARK: rebuilding

    /// True when others have what this node may have lost.
    var hasPeers: Bool { members.current.voters.count > 1 }

    func refusal(_ files: GroupFiles, _ why: String) -> NodeError { .refused(replica: files.name, why: why) }

    /// Notes that the replica has no vote until it has caught up; durable before anything of its log is made anew.
    /// - Throws: ``NodeError/refused(replica:why:)`` when there are no peers.
    func beginRebuilding(_ files: GroupFiles, _ state: HardStateFile, because why: String) throws(NodeError) {
        guard hasPeers else {
            throw refusal(
                files,
                "\(why); there is no other replica to rebuild it from, so it stays closed: restore the files from a backup, "
                    + "or accept what is lost with: Server storage repair --accept-loss \(files.name) --data "
                    + options.directory)
        }
        diagnostics.report(
            .damagedReplica,
            "\(files.name): \(why); it is rebuilt from its peers and has no vote until it has caught up")
        var record = state.record
        record.isRecovering = true
        record.commit = 0
        record.floor = .none
        do throws(SegmentedLogError) {
            try state.store(record)
        } catch {
            throw .log(error)
        }
    }

    /// Opens what is left of a damaged log, or an empty one in its place.
    private func openAgain(_ files: GroupFiles, _ state: HardStateFile) throws(NodeError) -> OpenedGroup {
        if case .whole(let group) = try openLog(of: files, state) { return group }
        return try openEmpty(files, state)
    }

    /// Sets a damaged log aside and begins with an empty one.
    func openEmpty(_ files: GroupFiles, _ state: HardStateFile) throws(NodeError) -> OpenedGroup {
        try setAside(directory(of: files))
        do throws(SegmentedLogError) {
            try membershipFile(of: files.name).store(index: 0, membership: files.initial)
        } catch {
            throw .log(error)
        }
        switch try openLog(of: files, state) {
        case .whole(let group): return group
        case .damaged(let error): throw .log(error)
        }
    }

    /// Keeps a damaged folder under another name, which no topic can have.
    func setAside(_ folder: String) throws(NodeError) {
        do throws(SegmentedLogError) {
            let kept = try DamagedFolder.setAside(folder, fileSystem: fileSystem)
            if let kept { diagnostics.report(.damagedReplica, "what was left of \(folder) is kept as \(kept)") }
        } catch {
            throw .log(error)
        }
    }

    func directory(of files: GroupFiles) -> String { options.directory + "/" + files.folder }

    func membershipFile(of name: String) -> MembershipFile {
        MembershipFile(path: "\(raftFolder)/\(name).members", fileSystem: fileSystem)
    }

    // MARK: partitions

    /// The longest stem below `node/raft`: a file name has 255 bytes, and `.members.tmp` follows.
    private static let stemBytesMax = 255 - ".members.tmp".utf8.count

    /// The stem of a partition's files below `node/raft`, and its name in the registry: the partition's own, or the
    /// number of its group where that would be too long for a file's name. No topic has an `@` in its name, and the
    /// digits behind the last `-` of a partition's name are its number, so that no two are equal.
    static func fileKey(of name: String, group: GroupID) -> String {
        name.utf8.count <= stemBytesMax ? name : "@\(group.rawValue)"
    }

    /// Opens the partitions of a topic in the background and adds their groups to the host. One that can't be opened is
    /// out of service on this node, with a reason, and the others are served; what may pass is tried again.
    func openPartitions(
        of record: TopicRecord, topics: TopicTable, inbox: HostInbox, blocking: any BlockingExecutor
    ) {
        let numbers = 0..<record.partitions
        blocking.run { openPartitions(numbers, of: record, topics: topics, inbox: inbox, blocking: blocking) }
    }

    /// What opens a partition again whose group could not go on.
    func reopening(
        _ id: GroupID, topics: TopicTable, inbox: HostInbox, blocking: any BlockingExecutor
    ) -> (@Sendable () -> Void)? {
        guard let partition = topics.partition(id), let record = topics.record(partition.topic) else { return nil }
        let number = partition.number
        return {
            blocking.run {
                openPartitions(
                    number..<number + 1, of: record, topics: topics, inbox: inbox, blocking: blocking)
            }
        }
    }

    /// Blocks. Names are noted in the registry, many at a time, before any of the groups runs.
    private func openPartitions(
        _ numbers: Range<UInt32>, of record: TopicRecord, topics: TopicTable, inbox: HostInbox,
        blocking: any BlockingExecutor
    ) {
        for first in stride(from: numbers.lowerBound, to: numbers.upperBound, by: Self.partitionsPerNote) {
            let batch = first..<min(first + UInt32(Self.partitionsPerNote), numbers.upperBound)
            var opened: [(id: GroupID, partition: Partition, group: OpenedGroup)] = []
            var failed: [(number: UInt32, error: NodeError)] = []
            for number in batch {
                guard let id = record.group(of: number) else { continue }
                let name = "\(record.name)-\(number)"
                do throws(NodeError) {
                    guard budget.admit(id) else { throw .refused(replica: name, why: budget.refusal) }
                    let group = try open(
                        GroupFiles(
                            name: Self.fileKey(of: name, group: id), folder: name, isIndexed: false,
                            initial: record.initial))
                    opened.append((id, Partition(topic: record.name, number: number, group: id, log: group.log), group))
                } catch {
                    budget.release(id)
                    failed.append((number, error))
                }
            }
            do throws(NodeError) {
                try registry.note(
                    opened.map { Self.fileKey(of: "\(record.name)-\($0.partition.number)", group: $0.id) })
            } catch {
                for item in opened { budget.release(item.id) }
                failed += opened.map { ($0.partition.number, error) }
                opened = []
            }
            let durability = options.durability
            for (id, partition, group) in opened {
                inbox.post(
                    .run { host in
                        topics.insert(partition)
                        group.start(
                            id, on: host, machine: PartitionMachine(partition: partition), durability: durability)
                    }, lane: .control)
            }
            for (number, error) in failed {
                take(number, of: record, outOfService: error, topics: topics, inbox: inbox, blocking: blocking)
            }
        }
    }

    private func take(
        _ number: UInt32, of record: TopicRecord, outOfService error: NodeError, topics: TopicTable, inbox: HostInbox,
        blocking: any BlockingExecutor
    ) {
        guard let id = record.group(of: number) else { return }
        let name = "\(record.name)-\(number)"
        let reason = "it can't be opened: \(error)"
        let scope = error.openingScope
        inbox.post(
            .run { host in
                guard case .group(let passes) = scope else { return host.stop(because: "topic \(name): \(reason)") }
                let again: @Sendable () -> Void = {
                    blocking.run {
                        openPartitions(
                            number..<number + 1, of: record, topics: topics, inbox: inbox, blocking: blocking)
                    }
                }
                host.setUnavailable(id, named: name, because: reason, retry: passes ? again : nil)
            }, lane: .control)
    }
}

extension HardState {
    /// As a state file holds it.
    init(_ record: HardStateRecord) {
        self.init(
            term: record.term, vote: record.vote == 0 ? nil : NodeID(record.vote), commit: record.commit,
            isRecovering: record.isRecovering)
    }
}
