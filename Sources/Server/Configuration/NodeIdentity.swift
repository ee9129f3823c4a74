// Who this data folder is: `node/node.json`. Written once with a fresh incarnation when the folder is new, and once more when
// the cluster has formed. A folder is never silently adopted by a node of another name.
import Cluster
import FileIO
import Foundation
import Synchronization

/// The content of `node/node.json`.
struct NodeIdentity: Codable, Hashable {
    static let formatVersion = 1

    struct StoredMember: Codable, Hashable {
        var name: String
        var incarnation: String
        var address: String
    }

    var format = NodeIdentity.formatVersion
    var name: String
    /// Random; a wiped or replaced folder has another one.
    var incarnation: String
    /// Nil until the cluster has formed.
    var clusterID: String?
    var members: [StoredMember]?

    var cluster: FormedCluster? {
        guard let clusterID, let members else { return nil }
        return FormedCluster(
            id: clusterID,
            members: members.map { Member(name: $0.name, incarnation: $0.incarnation, address: $0.address) })
    }

    mutating func adopt(_ cluster: FormedCluster) {
        clusterID = cluster.id
        members = cluster.members.map {
            StoredMember(name: $0.name, incarnation: $0.incarnation, address: $0.address)
        }
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
        guard identity.format == NodeIdentity.formatVersion else {
            throw ServerError.dataFolder(
                path, "it was written by another version (format \(identity.format)); use that version's Server")
        }
        if let name, name != identity.name {
            throw ServerError.dataFolder(
                path,
                "it belongs to the node \(identity.name), not to \(name); give --id \(identity.name) or another --data")
        }
        stored = Mutex(identity)
    }

    func adopt(_ cluster: FormedCluster) throws {
        var identity = identity
        identity.adopt(cluster)
        try store(identity)
        stored.withLock { $0 = identity }
    }

    func release() { lock.release() }

    private func store(_ identity: NodeIdentity) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try fileSystem.replaceFile(path + "/node/node.json", with: Array(encoder.encode(identity)))
    }
}
