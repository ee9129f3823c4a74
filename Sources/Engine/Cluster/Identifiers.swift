// Names of things in a cluster: groups, members, and the lanes on which nodes talk.
public import Raft

/// A Raft group of the node. Fixed numbers for the two that always exist; topics' partitions count up from
/// `firstPartition`.
public struct GroupID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static func < (a: GroupID, b: GroupID) -> Bool { a.rawValue < b.rawValue }
    public var description: String {
        switch self {
        case .controller: "controller"
        case .keyValue: "keyvalue"
        default: "partition-\(rawValue)"
        }
    }

    /// The reverse of `description`.
    public init?(parsing text: String) {
        switch text {
        case "controller": self = .controller
        case "keyvalue": self = .keyValue
        default:
            guard text.hasPrefix("partition-"), let number = UInt64(text.dropFirst(10)) else { return nil }
            self.init(rawValue: number)
        }
    }

    /// Topics, placement, members.
    public static let controller = GroupID(rawValue: 0)
    /// The key-value store.
    public static let keyValue = GroupID(rawValue: 1)
    /// The first topic partition's group; the controller hands out the numbers.
    public static let firstPartition = GroupID(rawValue: 16)
    /// No group: nodes measure the way to each other under this number.
    static let echo = GroupID(rawValue: .max)
}

/// One node of the cluster, as the stored membership names it.
public struct Member: Hashable, Sendable {
    /// Of a founder: derived from `name`, see ``nodeID(for:)``. Of a later member: see
    /// ``joining(name:incarnation:address:)``.
    public var id: NodeID
    /// As given with `--id`.
    public var name: String
    /// Made when the data folder was; a wiped node has another one.
    public var incarnation: String
    /// host:port of the gRPC listener.
    public var address: String

    public init(name: String, incarnation: String, address: String) {
        self.id = Member.nodeID(for: name)
        self.name = name
        self.incarnation = incarnation
        self.address = address
    }

    public init(id: NodeID, name: String, incarnation: String, address: String) {
        self.id = id
        self.name = name
        self.incarnation = incarnation
        self.address = address
    }

    /// A node that asks to be added to a cluster that has formed. Its number comes from its data folder too: a wiped
    /// node that comes back under its name is another member to Raft, which must not take it for one that kept its
    /// votes.
    public static func joining(name: String, incarnation: String, address: String) -> Member {
        Member(
            id: nodeID(for: "\(name)\u{0}\(incarnation)"), name: name, incarnation: incarnation, address: address)
    }

    public var memberAddress: MemberAddress { MemberAddress(name: name, address: address) }

    /// The number by which Raft knows a name: FNV-1a, 64 bits, never 0. Two names of one cluster that collide are
    /// refused when the cluster forms.
    public static func nodeID(for name: String) -> NodeID {
        let hash = fnv1a(Array(name.utf8))
        return NodeID(hash == 0 ? 1 : hash)
    }
}

/// 64-bit FNV-1a: stable over processes and machines, unlike Swift's `Hasher`. Not for hostile input.
public func fnv1a(_ bytes: [UInt8], seed: UInt64 = 0xcbf2_9ce4_8422_2325) -> UInt64 {
    var hash = seed
    for byte in bytes {
        hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
    }
    return hash
}

/// Traffic that must not wait behind other traffic travels on a lane of its own.
public enum PeerLane: UInt8, Hashable, Sendable, CaseIterable {
    /// Votes, heartbeats, acknowledgements, read confirmations: small, first.
    case control
    /// Entries and forwarded proposals.
    case bulk
    /// Files of snapshots, and what is said about them.
    case snapshot
}
