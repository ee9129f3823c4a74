// Who this data folder is: `node/node.json`. Written once with a fresh incarnation when the folder is new, and once
// more when the cluster has formed. A folder is never silently adopted by a node of another name, and no identity is
// ever made over files that another one left.
import Cluster
import FileIO
import Foundation
import Raft
import Synchronization

/// The content of `node/node.json`.
struct NodeIdentity: Codable, Hashable {
    static let formatVersion = 2
    /// Without ``keepsRegistry`` and ``checksum``.
    static let oldestFormatVersion = 1

    struct StoredMember: Codable, Hashable {
        var name: String
        var incarnation: String
        var address: String
        /// Nil for a founder, whose number comes from its name.
        var raftID: UInt64?
        /// Nil for a voter.
        var role: String?

        init(_ member: Member, role: MemberRole = .voter) {
            name = member.name
            incarnation = member.incarnation
            address = member.address
            raftID = member.id == Member.nodeID(for: member.name) ? nil : member.id.rawValue
            self.role = role == .voter ? nil : role.description
        }

        var member: Member {
            Member(
                id: raftID.map { NodeID($0) } ?? Member.nodeID(for: name), name: name, incarnation: incarnation,
                address: address)
        }

        var clusterMember: ClusterMember {
            ClusterMember(member, role: role.flatMap { MemberRole($0) } ?? .voter)
        }
    }

    var format = NodeIdentity.formatVersion
    var name: String
    /// Random; a wiped or replaced folder has another one.
    var incarnation: String
    /// Nil until the cluster has formed.
    var clusterID: String?
    var members: [StoredMember]?
    /// Nil when the members never changed.
    var founders: [StoredMember]?
    var removed: [StoredMember]?
    var membershipVersion: UInt64?
    /// `node/raft/registry` was made in this folder; nil before.
    var keepsRegistry: Bool?
    /// Of everything else, so that a damaged file is not another identity. Nil when an older version wrote the file.
    var checksum: String?

    /// FNV-1a over the other fields, as they are written.
    func expectedChecksum() throws -> String {
        var other = self
        other.checksum = nil
        return String(fnv1a(try other.encoded()), radix: 16)
    }

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return Array(try encoder.encode(self))
    }

    /// Whether the members can belong to one cluster: each name and each number once, no number 0.
    var isConsistent: Bool {
        [members ?? [], founders ?? []].allSatisfy { list in
            let ids = list.map(\.member.id)
            return Set(ids).count == list.count && Set(list.map(\.name)).count == list.count
                && !ids.contains { $0.rawValue == 0 }
        }
    }

    var cluster: FormedCluster? {
        guard let clusterID, let members else { return nil }
        return FormedCluster(
            id: clusterID, founders: (founders ?? members).map(\.member),
            membership: ClusterMembership(
                version: membershipVersion ?? 0, members: members.map(\.clusterMember),
                removed: (removed ?? []).map(\.member)))
    }

    mutating func adopt(_ cluster: FormedCluster) {
        clusterID = cluster.id
        let membership = cluster.membership
        members = membership.members.map { StoredMember($0.member, role: $0.role) }
        founders = cluster.founders.map { StoredMember($0) }
        removed = membership.removed.map { StoredMember($0) }
        membershipVersion = membership.version
    }
}

/// A locked data folder with its identity.
final class DataFolder: Sendable {
    let path: String
    private let stored: Mutex<NodeIdentity>
    private let fileSystem: any FileSystem
    private let lock: any DirectoryLock

    var identity: NodeIdentity { stored.withLock { $0 } }

    /// Opens or creates a data folder.
    /// - Parameter name: the name given with `--id`; nil takes the stored one, or makes one up.
    init(path: String, name: String?, fileSystem: any FileSystem) throws {
        self.path = path
        self.fileSystem = fileSystem
        do {
            try fileSystem.createDirectory(path + "/node")
            lock = try fileSystem.lock(path + "/node")
            try fileSystem.syncDirectory(path)
        } catch {
            throw ServerError.dataFolder(path, "\(error)")
        }
        guard let bytes = try fileSystem.readFile(path + "/node/node.json") else {
            if let left = try Self.traceOfAnotherIdentity(in: path, fileSystem) {
                lock.release()
                throw ServerError.dataFolder(
                    path,
                    "node/node.json, which says whose it is, is missing, yet \(left) is there; restore the file from a backup of "
                        + "this node, or start with an empty folder: no identity is ever made over old data")
            }
            let incarnation = UUID().uuidString.lowercased()
            let identity = NodeIdentity(name: name ?? "node-" + incarnation.prefix(8), incarnation: incarnation)
            stored = Mutex(identity)
            try store(identity)
            return
        }
        let identity: NodeIdentity
        do {
            identity = try JSONDecoder().decode(NodeIdentity.self, from: Data(bytes))
        } catch {
            throw ServerError.dataFolder(
                path, "node/node.json can't be read; restore it from a backup, or start with an empty folder")
        }
        let isKnown = NodeIdentity.oldestFormatVersion...NodeIdentity.formatVersion ~= identity.format
        if isKnown, identity.format > 1, try identity.checksum != identity.expectedChecksum() {
            throw ServerError.dataFolder(
                path, "the checksum of node/node.json does not hold; restore it from a backup of this node")
        }
        guard isKnown else {
            throw ServerError.dataFolder(
                path, "it was written by another version (format \(identity.format)); use that version's Server")
        }
        guard identity.isConsistent else {
            throw ServerError.dataFolder(
                path,
                "node/node.json names a member twice, or one with the number 0; restore it from a backup of this node")
        }
        if let name, name != identity.name {
            throw ServerError.dataFolder(
                path,
                "it belongs to the node \(identity.name), not to \(name); give --id \(identity.name) or another --data")
        }
        stored = Mutex(identity)
    }

    /// What an earlier node left; nil when the folder is new.
    private static func traceOfAnotherIdentity(
        in path: String, _ fileSystem: any FileSystem
    ) throws(FileIOError) -> String? {
        for name in ["raft", "controller", "keyvalue"] where try fileSystem.exists("\(path)/node/\(name)") {
            return "node/\(name)"
        }
        for name in try fileSystem.list(path) where name != "node" {
            // Only folders can be listed.
            guard let files = try? fileSystem.list("\(path)/\(name)") else { continue }
            if files.contains(where: { $0.utf8.count == 24 && $0.hasSuffix(".log") }) { return name }
        }
        return nil
    }

    /// Voters of the cluster that a folder belongs to, as far as it knows; 1 when it belongs to none.
    ///
    /// Throws ``ServerError`` when the identity is missing or damaged: nothing else says that a node is alone.
    static func storedVoters(in path: String, fileSystem: any FileSystem) throws -> Int {
        try storedIdentity(in: path, fileSystem).cluster?.membership.voters.count ?? 1
    }

    /// What is missing or damaged of the files that say who a node is and which groups it holds, one sentence each;
    /// empty for a folder that is no node's.
    static func doubts(in path: String, fileSystem: any FileSystem) throws -> [String] {
        guard try fileSystem.exists(path + "/node/raft") else { return [] }
        let identity: NodeIdentity
        do {
            identity = try storedIdentity(in: path, fileSystem)
        } catch let error as ServerError {
            return [error.description]
        }
        let hasRegistry = try fileSystem.exists(path + "/node/raft/registry")
        guard identity.keepsRegistry == true, !hasRegistry else { return [] }
        return ["node/raft/registry is missing, yet it was made in this folder"]
    }

    /// Reads `node/node.json`, without a lock and without making one.
    private static func storedIdentity(in path: String, _ fileSystem: any FileSystem) throws -> NodeIdentity {
        guard let bytes = try fileSystem.readFile(path + "/node/node.json") else {
            throw ServerError.dataFolder(
                path,
                "node/node.json is missing, so nothing says whether this node is alone; restore it from a backup")
        }
        guard let identity = try? JSONDecoder().decode(NodeIdentity.self, from: Data(bytes)),
            try identity.format < 2 || identity.checksum == identity.expectedChecksum()
        else {
            throw ServerError.dataFolder(
                path,
                "node/node.json is damaged, so nothing says whether this node is alone; restore it from a backup")
        }
        return identity
    }

    /// Notes that the registry of groups is there from now on.
    func noteRegistry() throws {
        try stored.withLock { stored in
            guard stored.keepsRegistry != true else { return }
            var identity = stored
            identity.keepsRegistry = true
            try store(identity)
            stored = identity
        }
    }

    /// Stores the cluster's identity and members, unless newer members are stored already.
    func adopt(_ cluster: FormedCluster) throws {
        try stored.withLock { stored in
            if stored.clusterID == cluster.id, stored.membershipVersion ?? 0 > cluster.membership.version { return }
            var identity = stored
            identity.adopt(cluster)
            try store(identity)
            stored = identity
        }
    }

    /// The node that this folder makes.
    /// - Parameter isJoining: it asks to be added to a cluster that has formed, or did when the folder was new.
    func member(address: String, isJoining: Bool) -> Member {
        let identity = identity
        if let known = identity.cluster?.members.first(where: { $0.incarnation == identity.incarnation }) {
            return Member(id: known.id, name: known.name, incarnation: known.incarnation, address: address)
        }
        return isJoining
            ? .joining(name: identity.name, incarnation: identity.incarnation, address: address)
            : Member(name: identity.name, incarnation: identity.incarnation, address: address)
    }

    func release() { lock.release() }

    private func store(_ identity: NodeIdentity) throws {
        var identity = identity
        identity.format = NodeIdentity.formatVersion
        identity.checksum = try identity.expectedChecksum()
        try fileSystem.replaceFile(path + "/node/node.json", with: identity.encoded())
    }
}
