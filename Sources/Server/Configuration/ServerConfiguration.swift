// What a node is started with, after the command line, the environment and the configuration file were put on top of each
// other, in that order of precedence.
import Cluster
import Configuration
import Foundation
import Logging
import Memory
import SimulatedIO
import Storage

/// Settings of one node.
///
/// | key (file, dots nest) | environment | flag | default |
/// |---|---|---|---|
/// | `strata.id` | `STRATA_ID` | `--id` | stored, or made up |
/// | `strata.address` | `STRATA_ADDRESS` | `--address`, `--port` | `127.0.0.1:9092` |
/// | `strata.http` | `STRATA_HTTP` | `--http` | `127.0.0.1:8080`; off with peers |
/// | `strata.resp` | `STRATA_RESP` | `--resp` | `127.0.0.1:6379`; off with peers |
/// | `strata.peers` | `STRATA_PEERS` | `--peers` | none: a cluster of one |
/// | `strata.peer.port` | `STRATA_PEER_PORT` | `--peer-port` | chosen by the kernel |
/// | `strata.join` | `STRATA_JOIN` | `--join` | no: the peers form a new cluster |
/// | `strata.transport` | `STRATA_TRANSPORT` | `--transport` | `tcp` |
/// | `strata.engine` | `STRATA_ENGINE` | `--engine` | `lsm` |
/// | `strata.io` | `STRATA_IO` | `--io` | `posix` |
/// | `strata.allocator` | `STRATA_ALLOCATOR` | `--allocator` | `arena` |
/// | `strata.leases` | `STRATA_LEASES` | `--leases` | `off` |
/// | `strata.stall.limit` | `STRATA_STALL_LIMIT` | `--stall-limit` | 500 ms |
/// | `strata.log.retained` | `STRATA_LOG_RETAINED` | `--log-retained` | 268435456 bytes |
/// | `strata.snapshot.rate` | `STRATA_SNAPSHOT_RATE` | `--snapshot-rate` | 134217728 bytes a second |
/// | `strata.fault` | `STRATA_FAULT` | `--fault` | none; for experiments |
/// | `strata.data` | `STRATA_DATA` | `--data` | `data`, or `data/<id>` |
/// | `strata.log.level` | `STRATA_LOG_LEVEL` | `--log-level` | `info` |
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
    /// Milliseconds after which a log write that is not done counts as a stuck disk.
    var stallLimit: Int
    var snapshots = SnapshotSettings()
    /// What the disk does wrong; the last one is nearest to the node.
    var faults: [DiskFault]
    var data: String
    var logLevel: Logger.Level

    init(config: ConfigReader) throws {
        let config = config.scoped(to: "strata")
        let id = config.string(forKey: "id")
        if let id { try Self.check(id: id) }
        self.id = id
        let address = try config.string(forKey: "address").map { try ListenAddress(parsing: $0) }
        var peers: [ListenAddress] = []
        var peerNames: [String: ListenAddress] = [:]
        for entry in (config.string(forKey: "peers") ?? "").split(separator: ",") {
            let parts = entry.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
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
        isJoining = config.bool(forKey: "join", default: false)
        if isJoining, peers.isEmpty {
            throw ServerError.configuration("--join needs --peers: some members of the cluster to join")
        }
        // Flags and environment variables are text.
        let port = config.string(forKey: "peer.port") ?? "0"
        peerPort = Int(port) ?? -1
        guard (0...65_535).contains(peerPort) else {
            throw ServerError.configuration("--peer-port must be between 0 (any free port) and 65535")
        }
        // A member of a cluster opens only the listeners that it was given, so that three fit on one host.
        let alone = peers.isEmpty
        http =
            try config.string(forKey: "http").map { try ListenAddress(parsing: $0) }
            ?? (alone ? ListenAddress(host: ListenAddress.loopback, port: 8080) : nil)
        resp =
            try config.string(forKey: "resp").map { try ListenAddress(parsing: $0) }
            ?? (alone ? ListenAddress(host: ListenAddress.loopback, port: 6379) : nil)
        switches.transport = try Self.position(of: "transport", config, switches.transport)
        switches.engine = try Self.position(of: "engine", config, switches.engine)
        switches.io = try Self.position(of: "io", config, switches.io)
        switches.allocator = try Self.position(of: "allocator", config, switches.allocator)
        switches.leases = try Self.position(of: "leases", config, switches.leases)
        let stallLimit = config.string(forKey: "stall.limit") ?? "500"
        guard let milliseconds = Int(stallLimit), (50...60_000).contains(milliseconds) else {
            throw ServerError.configuration("'\(stallLimit)' is no --stall-limit; give 50 to 60000 milliseconds")
        }
        self.stallLimit = milliseconds
        if let bytes = try Self.count(of: "log.retained", config) { snapshots.logRetainedBytes = bytes }
        if let bytes = try Self.count(of: "snapshot.rate", config) { snapshots.bytesPerSecond = bytes }
        faults = try Self.faults(config.string(forKey: "fault") ?? "")
        data = config.string(forKey: "data") ?? (id.map { "data/\($0)" } ?? "data")
        let level = config.string(forKey: "log.level") ?? "info"
        guard let logLevel = Logger.Level(rawValue: level) else {
            let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw ServerError.configuration("'\(level)' is not a log level; take one of \(levels)")
        }
        self.logLevel = logLevel
    }

    /// Reads one switch; its words are the cases of its type.
    private static func position<Switch: RawRepresentable & CaseIterable>(
        of key: ConfigKey, _ config: ConfigReader, _ standard: Switch
    ) throws -> Switch where Switch.RawValue == String {
        guard let word = config.string(forKey: key) else { return standard }
        guard let position = Switch(rawValue: word) else {
            let words = Switch.allCases.map(\.rawValue).joined(separator: ", ")
            throw ServerError.configuration("'\(word)' is no position of --\(key); take one of \(words)")
        }
        return position
    }

    private static func faults(_ text: String) throws -> [DiskFault] {
        try text.split(separator: ",").map { word in
            if let fault = DiskFault(parsing: String(word)) { return fault }
            let words = DiskFault.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw ServerError.configuration(
                "'\(word)' is no --fault; take some of \(words), those that count also with =<number>")
        }
    }

    /// A number of bytes; above 0.
    private static func count(of key: ConfigKey, _ config: ConfigReader) throws -> UInt64? {
        guard let word = config.string(forKey: key) else { return nil }
        guard let count = UInt64(word), count > 0 else {
            throw ServerError.configuration("'\(word)' is no number of bytes for \(key); take a whole number above 0")
        }
        return count
    }

    private static func check(id: String) throws {
        let allowed = id.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard allowed, !id.isEmpty, id.utf8.count <= 64 else {
            throw ServerError.configuration(
                "'\(id)' is not usable as --id; take 1 to 64 letters, digits, '.', '_' or '-'")
        }
    }
}
