// What a node is started with, after the command line, the environment and the configuration file were put on top of
// each other, in that order of precedence.
import Cluster
import Configuration
import Foundation
import Logging
import Memory
import SimulatedIO
import Storage
import UringIO

/// Settings of one node. Which there are, what each may be and its default: ``Setting`` and Docs/Configuration.md.
struct ServerConfiguration: Sendable {
    var id: String?
    /// gRPC, for clients and for peers.
    var address: ListenAddress
    var http: ListenAddress?
    var resp: ListenAddress?
    var peers: [ListenAddress]
    /// Of `peers`, those that were given as `id=host:port`: that address, and no other, leads to the node of that name.
    var peerNames: [String: ListenAddress]
    /// Of the framed TCP transport's listener; 0 lets the kernel choose.
    var peerPort: Int
    /// Wait to be added to the cluster of `peers`.
    var isJoining: Bool
    var switches = Switches()
    /// Partitions that the node may hold by its limit of open files; nil: no bound. No setting: the process knows it.
    var partitionsMax: Int?
    /// Milliseconds after which a log write that is not done counts as a stuck disk.
    var stallLimit: Int
    var timing = PeerTiming()
    var snapshots = SnapshotSettings()
    /// What the disk does wrong; the last one is nearest to the node.
    var faults: [DiskFault]
    var data: String
    var logLevel: Logger.Level

    init(config: ConfigReader) throws {
        let config = config.scoped(to: "strata")
        func text(_ setting: Setting) throws(ServerError) -> String? {
            guard let text = config.string(forKey: ConfigKey(setting.path)) else { return nil }
            if let problem = setting.problem(with: text) { throw .configuration(problem) }
            return text
        }
        let id = try text(.id)
        self.id = id
        let address = try text(.address).map { try ListenAddress(parsing: $0) }
        var peers: [ListenAddress] = []
        var peerNames: [String: ListenAddress] = [:]
        for entry in Setting.items(try text(.peers) ?? "") {
            let parts = entry.split(separator: "=", maxSplits: 1).map(String.init)
            let peer = try ListenAddress(parsing: parts.last ?? "")
            peers.append(peer)
            if parts.count == 2 { peerNames[parts[0]] = peer }
        }
        if !peers.isEmpty, address == nil {
            throw ServerError.configuration("--peers needs --address: the address at which the others reach this node")
        }
        self.address = address ?? ListenAddress(host: ListenAddress.loopback, port: 9092)
        if peers.contains(self.address) {
            throw ServerError.configuration(
                "--peers names \(self.address), which is this node's own address; name only the others")
        }
        if Set(peers).count != peers.count {
            throw ServerError.configuration("--peers names an address twice; name each of the others once")
        }
        self.peers = peers
        self.peerNames = peerNames
        isJoining = try text(.join) == "true"
        if isJoining, peers.isEmpty {
            throw ServerError.configuration("--join needs --peers: some members of the cluster to join")
        }
        peerPort = try text(.peerPort).flatMap { Int($0) } ?? 0
        // A member of a cluster opens only the listeners that it was given, so that three fit on one host.
        let alone = peers.isEmpty
        http =
            try text(.http).map { try ListenAddress(parsing: $0) }
            ?? (alone ? ListenAddress(host: ListenAddress.loopback, port: 8080) : nil)
        resp =
            try text(.resp).map { try ListenAddress(parsing: $0) }
            ?? (alone ? ListenAddress(host: ListenAddress.loopback, port: 6379) : nil)
        // Of the words that the table allows.
        if let word = try text(.transport) { switches.transport = .init(rawValue: word) ?? switches.transport }
        if let word = try text(.engine) { switches.engine = .init(rawValue: word) ?? switches.engine }
        if let word = try text(.io) { switches.io = .init(rawValue: word) ?? switches.io }
        if let word = try text(.allocator) { switches.allocator = .init(rawValue: word) ?? switches.allocator }
        if let word = try text(.leases) { switches.leases = .init(rawValue: word) ?? switches.leases }
        stallLimit = try text(.stallLimit).flatMap { Int($0) } ?? 500
        if let number = try text(.heartbeatInterval).flatMap({ Int($0) }) { timing.heartbeatMilliseconds = number }
        if let number = try text(.electionTimeout).flatMap({ Int($0) }) { timing.electionMilliseconds = number }
        if let problem = timing.problem { throw ServerError.configuration(problem) }
        if let bytes = try text(.logRetained).flatMap({ UInt64($0) }) { snapshots.logRetainedBytes = bytes }
        if let bytes = try text(.snapshotRate).flatMap({ UInt64($0) }) { snapshots.bytesPerSecond = bytes }
        faults = Setting.items(try text(.fault) ?? "").compactMap { DiskFault(parsing: $0) }
        data = try text(.data) ?? id.map { "data/\($0)" } ?? "data"
        logLevel = try text(.logLevel).flatMap { Logger.Level(rawValue: $0) } ?? .info
    }
}
