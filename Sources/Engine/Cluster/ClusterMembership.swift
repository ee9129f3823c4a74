// The members of the cluster as the controller group's log declares them: what should be. Each group's leader brings
// its own configuration there step by step (ClusterHost+Membership.swift). A pure value; every replica that applied the
// same commands holds the same one.
public import Raft
import Synchronization

/// What a member is for.
public enum MemberRole: UInt8, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// Counts for majorities and may lead.
    case voter = 1
    /// Receives everything and counts for nothing.
    case learner = 2

    public init?(_ word: String) {
        guard let role = Self.allCases.first(where: { $0.description == word }) else { return nil }
        self = role
    }

    public var description: String {
        switch self {
        case .voter: "voter"
        case .learner: "learner"
        }
    }
}

public struct ClusterMember: Hashable, Sendable {
    public var member: Member
    public var role: MemberRole
    public init(_ member: Member, role: MemberRole = .voter) {
        self.member = member
        self.role = role
    }
}

/// A command to the controller that changes the members.
public enum MembershipCommand: Hashable, Sendable {
    case add(Member, MemberRole)
    case remove(name: String)
    case setRole(name: String, MemberRole)
    /// A member is reached at another address. It says so itself, with its incarnation, so that only the very data
    /// folder that is the member can move it.
    case move(name: String, incarnation: String, address: String)

    /// The first byte of an encoded command; the controller's other commands begin with others.
    public static let tags: ClosedRange<UInt8> = 2...5
    /// Bytes of an address; host names have at most 253.
    public static let addressBytesMax = 512

    /// `u8 tag | u8 role | u64 id | name | incarnation | address`, each text with a u32 length; little endian.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        func write(_ tag: UInt8, _ role: MemberRole, _ id: UInt64, _ texts: [String]) {
            writer.write(tag)
            writer.write(role.rawValue)
            writer.write(id)
            for text in texts { writer.write(counted: Array(text.utf8)) }
        }
        switch self {
        case .add(let member, let role):
            write(2, role, member.id.rawValue, [member.name, member.incarnation, member.address])
        case .remove(let name): write(3, .voter, 0, [name, "", ""])
        case .setRole(let name, let role): write(4, role, 0, [name, "", ""])
        case .move(let name, let incarnation, let address): write(5, .voter, 0, [name, incarnation, address])
        }
        return writer.bytes
    }

    public init?(_ bytes: ArraySlice<UInt8>) {
        var reader = ByteReader(bytes)
        guard let tag = reader.read(UInt8.self), let role = reader.read(UInt8.self).flatMap(MemberRole.init(rawValue:)),
            let id = reader.read(UInt64.self), let name = reader.readCounted(),
            let incarnation = reader.readCounted(), let address = reader.readCounted(), reader.isAtEnd
        else { return nil }
        func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }
        switch tag {
        case 2 where id != 0:
            let member = Member(
                id: NodeID(id), name: text(name), incarnation: text(incarnation), address: text(address))
            self = .add(member, role)
        case 3: self = .remove(name: text(name))
        case 4: self = .setRole(name: text(name), role)
        case 5: self = .move(name: text(name), incarnation: text(incarnation), address: text(address))
        default: return nil
        }
    }
}

public struct ClusterMembership: Hashable, Sendable {
    /// The controller's entry of the newest change; 0 for the founders.
    public private(set) var version: UInt64 = 0
    /// By name.
    public private(set) var members: [ClusterMember]
    /// Whoever was a member once, under an id that must never come back.
    public private(set) var removed: [Member] = []

    public init(founders: [Member]) {
        members = founders.sorted { $0.name < $1.name }.map { ClusterMember($0) }
    }

    /// As a node stored it.
    public init(version: UInt64, members: [ClusterMember], removed: [Member]) {
        self.version = version
        self.members = members.sorted { $0.member.name < $1.member.name }
        self.removed = removed
    }

    public func member(named name: String) -> ClusterMember? { members.first { $0.member.name == name } }
    public func member(_ id: NodeID) -> ClusterMember? { members.first { $0.member.id == id } }
    public var voters: [NodeID] { members.filter { $0.role == .voter }.map(\.member.id) }
    public var learners: [NodeID] { members.filter { $0.role == .learner }.map(\.member.id) }

    /// The configuration of a group that begins now.
    public var initial: GroupMembership {
        GroupMembership(configuration: Configuration(voters: voters, learners: learners), version: version)
    }

    /// Carries out a command of the entry `index`, or says why not.
    public mutating func apply(_ command: MembershipCommand, at index: LogIndex) -> RequestError? {
        switch command {
        case .add(let member, let role):
            if let known = self.member(named: member.name) {
                if known.member == member, known.role == role { return nil }
                return .invalid(
                    .membership, "\(member.name) is a member already; remove it first, or change its role")
            }
            if removed.contains(where: { $0.id == member.id }) {
                return .invalid(
                    .membership,
                    "\(member.name) was removed with this very data folder; start it again with an empty one")
            }
            if self.member(member.id) != nil {
                return .invalid(.membership, "\(member.name) has the number of another member; rename it")
            }
            members.append(ClusterMember(member, role: role))
            members.sort { $0.member.name < $1.member.name }
        case .remove(let name):
            guard let known = self.member(named: name) else { return unknown(name) }
            if voters == [known.member.id] { return lastVoter(name) }
            members.removeAll { $0.member.name == name }
            removed.append(known.member)
        case .setRole(let name, let role):
            guard let known = self.member(named: name) else { return unknown(name) }
            if known.role == role { return nil }
            if role == .learner, voters == [known.member.id] { return lastVoter(name) }
            for position in members.indices where members[position].member.name == name {
                members[position].role = role
            }
        case .move(let name, let incarnation, let address):
            guard let position = members.firstIndex(where: { $0.member.name == name }) else { return unknown(name) }
            guard members[position].member.incarnation == incarnation else {
                return .invalid(
                    .membership, "\(name) is a member with another data folder; only that one may change its address")
            }
            guard (1...MembershipCommand.addressBytesMax).contains(address.utf8.count) else {
                return .invalid(
                    .membership,
                    "an address has 1 to \(MembershipCommand.addressBytesMax) bytes, not \(address.utf8.count)")
            }
            // Two members that swap their addresses have the same one for a moment: that is no fault.
            if members[position].member.address == address { return nil }
            members[position].member.address = address
        }
        version = index
        return nil
    }

    /// The same members, one of them at another address; the version stays. For what a node knows before the log says
    /// it.
    public func reaching(_ id: NodeID, at address: String) -> ClusterMembership {
        var membership = self
        for position in members.indices where members[position].member.id == id {
            membership.members[position].member.address = address
        }
        return membership
    }

    private func unknown(_ name: String) -> RequestError {
        .invalid(
            .membership,
            "\(name) is no member; the members are " + members.map(\.member.name).joined(separator: ", "))
    }

    private func lastVoter(_ name: String) -> RequestError {
        .invalid(.membership, "\(name) is the only voter; add another one first")
    }
}

/// The members as every thread of a node may read them; written on the host's thread only.
public final class MembershipTable: Sendable {
    private let content: Mutex<ClusterMembership>
    /// This node, which knows its own address better than the log does until the log has it.
    private let own: Member?

    public init(_ membership: ClusterMembership, own: Member? = nil) {
        self.own = own
        content = Mutex(own.map { membership.reaching($0.id, at: $0.address) } ?? membership)
    }

    public var current: ClusterMembership {
        content.withLock { $0 }
    }

    /// Takes what the controller's log says, unless that is older than what the node knew when it started.
    func take(_ membership: ClusterMembership) {
        let membership = own.map { membership.reaching($0.id, at: $0.address) } ?? membership
        content.withLock { if membership.version >= $0.version { $0 = membership } }
    }

    public func address(of node: NodeID?) -> MemberAddress? {
        guard let node else { return nil }
        let current = current
        return (current.member(node)?.member ?? current.removed.first { $0.id == node })?.memberAddress
    }
}
