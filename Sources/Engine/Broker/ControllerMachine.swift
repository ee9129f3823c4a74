// The controller group's state machine: the members of the cluster, and the record of topics and of the group numbers
// of their partitions. Its whole log is replayed at start; it is small. Every replica hands out the same numbers
// because it sees the same entries.
public import Cluster
public import SegmentedLog

/// A topic as the controller knows it.
public struct TopicRecord: Hashable, Sendable {
    public var name: String
    public var partitions: UInt32
    /// Group of partition 0; the others follow.
    public var firstGroup: GroupID
    /// The members with which the partitions' groups began.
    public var initial: GroupMembership

    public func group(of partition: UInt32) -> GroupID? {
        partition < partitions ? GroupID(rawValue: firstGroup.rawValue + UInt64(partition)) : nil
    }
}

/// A command to the controller.
public enum ControllerCommand: Hashable, Sendable {
    case createTopic(name: String, partitions: UInt32)
    case membership(MembershipCommand)
    /// All members can read commands up to this level; see ``FeatureLevel``.
    case featureLevel(UInt32)

    private static let createTopicTag: UInt8 = 1

    /// `u8 tag | u32 partitions | name in UTF-8`, little endian.
    public var encoded: [UInt8] {
        switch self {
        case .createTopic(let name, let partitions):
            var bytes: [UInt8] = [Self.createTopicTag]
            withUnsafeBytes(of: partitions.littleEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: Array(name.utf8))
            return bytes
        case .membership(let command):
            return command.encoded
        case .featureLevel(let level):
            return FeatureLevel.command(raisingTo: level)
        }
    }

    public init?(_ bytes: ArraySlice<UInt8>) {
        if let tag = bytes.first, MembershipCommand.tags.contains(tag) {
            guard let command = MembershipCommand(bytes) else { return nil }
            self = .membership(command)
            return
        }
        if let level = FeatureLevel.level(in: bytes) {
            self = .featureLevel(level)
            return
        }
        guard bytes.count > 5, bytes.first == Self.createTopicTag else { return nil }
        let start = bytes.startIndex
        var partitions: UInt32 = 0
        for i in 0..<4 { partitions |= UInt32(bytes[start + 1 + i]) << UInt32(8 * i) }
        guard let name = String(validating: bytes[(start + 5)...], as: UTF8.self) else { return nil }
        self = .createTopic(name: name, partitions: partitions)
    }
}

public final class ControllerMachine: StateMachine {
    private var nextGroup = GroupID.firstPartition.rawValue
    private let topics: TopicTable
    private var membership: ClusterMembership
    /// Called on the host's thread for every change of the members, old ones included.
    private let declared: (ClusterMembership) -> Void
    /// Called on the host's thread for every topic, old ones included, as the log is applied.
    private let created: (TopicRecord) -> Void
    /// Called on the host's thread when the members can all read more.
    private let raised: (UInt32) -> Void
    /// Partitions that this node may hold; a topic beyond that is not proposed. nil: no bound.
    public var partitionsMax: Int?
    /// Where commands that can't be read are reported.
    public var diagnostics = Diagnostics()

    /// - Parameter founders: the members before any command.
    public init(
        topics: TopicTable, founders: [Member], declared: @escaping (ClusterMembership) -> Void,
        created: @escaping (TopicRecord) -> Void, raised: @escaping (UInt32) -> Void = { _ in }
    ) {
        self.raised = raised
        self.topics = topics
        membership = ClusterMembership(founders: founders)
        self.declared = declared
        self.created = created
    }

    public var frameKind: FrameKind { .command }
    public var appliedAtStart: UInt64 { 0 }

    public func validate(_ payload: [UInt8]) -> RequestError? {
        switch ControllerCommand(payload[...]) {
        case nil: Self.unreadable("the command")
        case .createTopic(let name, let partitions)?:
            BrokerLimits.check(topic: name, partitions: partitions) ?? checkBudget(name, partitions)
        case .membership?: nil
        case .featureLevel(let level)?:
            level <= FeatureLevel.supported ? nil : Self.unreadable("a feature level of \(level)")
        }
    }

    private func checkBudget(_ name: String, _ partitions: UInt32) -> RequestError? {
        let held = nextGroup - GroupID.firstPartition.rawValue
        guard let partitionsMax, topics.record(name) == nil, held + UInt64(partitions) > UInt64(partitionsMax) else {
            return nil
        }
        return .invalid(
            .tooManyPartitions,
            "a node may hold \(partitionsMax) partitions by its limit of open files, and there are \(held); topic \(name) "
                + "with \(partitions) is too much: raise the limit (ulimit -Hn, LimitNOFILE) on every node and restart it, or "
                + "take fewer partitions")
    }

    private static func unreadable(_ what: String) -> RequestError {
        .invalid(.corruptBatch, "\(what) is malformed, or of a kind that this version does not know; it did nothing")
    }

    public func apply(_ entry: CommittedEntry) throws(StateMachineFailure) -> Result<UInt64, RequestError> {
        guard let command = ControllerCommand(entry.payload) else {
            let error = Self.unreadable("entry \(entry.index) of the controller")
            diagnostics.report(.unreadableCommand, "\(error)")
            return .failure(error)
        }
        switch command {
        case .featureLevel(let level):
            raised(level)
            return .success(entry.index)
        case .createTopic(let name, let partitions):
            // Not every proposer is this version; a name that is no file name must never become a topic.
            if let error = BrokerLimits.check(topic: name, partitions: partitions) { return .failure(error) }
            if topics.record(name) != nil {
                return .failure(.invalid(.topicExists, "topic \(name) exists already"))
            }
            let record = TopicRecord(
                name: name, partitions: partitions, firstGroup: GroupID(rawValue: nextGroup),
                initial: membership.initial)
            nextGroup += UInt64(partitions)
            topics.insert(record)
            created(record)
            return .success(entry.index)
        case .membership(let command):
            if let error = membership.apply(command, at: entry.index) { return .failure(error) }
            declared(membership)
            return .success(entry.index)
        }
    }
}

extension BrokerLimits {
    /// What is wrong with a new topic, if anything. Names become folder names: letters, digits, `.`, `_` and `-`.
    public static func check(topic name: String, partitions: UInt32) -> RequestError? {
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard allowed, !name.isEmpty, name.utf8.count <= topicNameBytesMax, name != ".", name != ".." else {
            return .invalid(
                .invalidTopicName,
                "topic name \"\(name)\" is not usable; take 1 to \(topicNameBytesMax) letters, digits, '.', '_' or '-'")
        }
        guard partitions >= 1, partitions <= partitionsPerTopicMax else {
            return .invalid(
                .invalidPartitions, "a topic has 1 to \(partitionsPerTopicMax) partitions, not \(partitions)")
        }
        return nil
    }
}
