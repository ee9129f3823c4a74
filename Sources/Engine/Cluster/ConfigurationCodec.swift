// The bytes of who belongs to a group: as a state (in the group's base file and in snapshots) and as a change (the
// payload of a membership frame). Docs/Formats/membership.md has them field by field. Decoding trusts nothing; it
// answers nil.
public import Raft

/// The members of one group as of one entry of its log.
public struct GroupMembership: Hashable, Sendable {
    public var configuration: Configuration
    /// The controller's entry whose members the newest change was made for; 0 for the founders. A leader that has seen
    /// less of the controller's log than that must not change anything: what it wants is history.
    public var version: UInt64

    public init(configuration: Configuration, version: UInt64) {
        self.configuration = configuration
        self.version = version
    }

    /// The members after a change. One that the configuration refuses has no effect, on any member.
    func applying(_ change: VersionedChange) -> GroupMembership {
        guard let next = try? configuration.applying(change.change) else { return self }
        return GroupMembership(configuration: next, version: max(version, change.version))
    }
}

/// A change of a group's members, with the ``GroupMembership/version`` that it leads to.
public struct VersionedChange: Hashable, Sendable {
    public var change: ConfigurationChange
    public var version: UInt64

    public init(_ change: ConfigurationChange, version: UInt64) {
        self.change = change
        self.version = version
    }
}

public enum ConfigurationCodec {
    private static let formatVersion: UInt8 = 1

    /// `u8 format | u8 leaves automatically | u64 version | voters | outgoing | learners | learners next`; a list is
    /// `u16 count | u64 id each`, ascending. Little endian.
    public static func encode(_ membership: GroupMembership) -> [UInt8] {
        var writer = ByteWriter()
        let configuration = membership.configuration
        writer.write(formatVersion)
        writer.write(UInt8(configuration.leavesAutomatically ? 1 : 0))
        writer.write(membership.version)
        for list in [
            configuration.voters, configuration.outgoing, configuration.learners, configuration.learnersNext,
        ] {
            writer.write(UInt16(list.count))
            for node in list { writer.write(node.rawValue) }
        }
        return writer.bytes
    }

    public static func decodeMembership(_ bytes: ArraySlice<UInt8>) -> GroupMembership? {
        var reader = ByteReader(bytes)
        guard reader.read(UInt8.self) == formatVersion, let flags = reader.read(UInt8.self), flags <= 1,
            let version = reader.read(UInt64.self), let voters = nodes(&reader), let outgoing = nodes(&reader),
            let learners = nodes(&reader), let learnersNext = nodes(&reader), reader.isAtEnd,
            let configuration = Configuration(
                voters: voters, outgoing: outgoing, learners: learners, learnersNext: learnersNext,
                leavesAutomatically: flags == 1)
        else { return nil }
        return GroupMembership(configuration: configuration, version: version)
    }

    private static func nodes(_ reader: inout ByteReader) -> [NodeID]? {
        guard let count = reader.read(UInt16.self) else { return nil }
        var nodes: [NodeID] = []
        for _ in 0..<count {
            guard let node = reader.read(UInt64.self) else { return nil }
            nodes.append(NodeID(node))
        }
        return nodes
    }

    /// `u8 format | u8 transition | u64 version | u16 count | (u8 operation | u64 id) each`; no bytes at all for the
    /// change that leaves a joint configuration, which leaders write by themselves.
    public static func encode(_ change: VersionedChange) -> [UInt8] {
        if change.change.isLeave { return [] }
        var writer = ByteWriter()
        writer.write(formatVersion)
        writer.write(change.change.transition.rawValue)
        writer.write(change.version)
        writer.write(UInt16(change.change.steps.count))
        for step in change.change.steps {
            writer.write(step.operation.rawValue)
            writer.write(step.node.rawValue)
        }
        return writer.bytes
    }

    public static func decodeChange(_ bytes: ArraySlice<UInt8>) -> VersionedChange? {
        if bytes.isEmpty { return VersionedChange(.leave, version: 0) }
        var reader = ByteReader(bytes)
        guard reader.read(UInt8.self) == formatVersion,
            let transition = reader.read(UInt8.self).flatMap(ConfigurationChange.Transition.init(rawValue:)),
            let version = reader.read(UInt64.self), let count = reader.read(UInt16.self), count > 0
        else { return nil }
        var steps: [ConfigurationChange.Step] = []
        for _ in 0..<count {
            guard let operation = reader.read(UInt8.self).flatMap(ConfigurationChange.Operation.init(rawValue:)),
                let node = reader.read(UInt64.self)
            else { return nil }
            steps.append(.init(operation, NodeID(node)))
        }
        guard reader.isAtEnd else { return nil }
        return VersionedChange(ConfigurationChange(steps, transition: transition), version: version)
    }
}
