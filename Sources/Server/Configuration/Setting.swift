// The settings of a node, in one table: name, what a value must look like, what it is for. Flags, environment and
// configuration file are checked against it, and Docs/Configuration.md is compared with it by a test. A value that it
// does not allow must never be skipped: a node that overlooks a wrong `peers` forms a cluster of its own.
import Logging
import Memory
import SimulatedIO
import Storage
import UringIO

/// One setting of a node.
struct Setting: Hashable, Sendable {
    /// What a value must be.
    enum Kind: Hashable, Sendable {
        case text
        /// A node's name.
        case name
        case address
        /// Addresses of other nodes, bare or as `name=host:port`.
        case peers
        case flag
        /// One of these.
        case word([String])
        case number(ClosedRange<UInt64>, unit: String)
        case faults
    }

    /// Nested names in the file, below `strata`.
    let path: [String]
    let kind: Kind
    /// When nothing is given.
    let standard: String
    let help: String

    private init(_ path: String..., kind: Kind, standard: String, help: String) {
        (self.path, self.kind, self.standard, self.help) = (path, kind, standard, help)
    }

    /// `strata.peer.port`.
    var key: String { "strata." + name }
    /// `peer.port`.
    var name: String { path.joined(separator: ".") }
    /// `STRATA_PEER_PORT`.
    var variable: String { "STRATA_" + path.joined(separator: "_").uppercased() }
    /// `--peer-port`.
    var flag: String { "--" + path.joined(separator: "-") }

    /// The option `--config` from the environment; the file can't name itself.
    static let fileVariable = "STRATA_CONFIG"

    static let id = Setting(
        "id", kind: .name, standard: "stored, or made up", help: "The node's name; made up and kept when not given.")
    static let address = Setting(
        "address", kind: .address, standard: "127.0.0.1:9092",
        help: "Where gRPC listens, for clients and peers: host:port, or :port for loopback.")
    static let port = Setting(
        "port", kind: .number(0...65_535, unit: "port"), standard: "9092", help: "Short for --address 127.0.0.1:<port>."
    )
    static let http = Setting(
        "http", kind: .address, standard: "127.0.0.1:8080; off with peers",
        help: "Where HTTP listens: host:port or :port.")
    static let resp = Setting(
        "resp", kind: .address, standard: "127.0.0.1:6379; off with peers",
        help: "Where the plain-text (RESP) listener is: host:port or :port.")
    static let peers = Setting(
        "peers", kind: .peers, standard: "none: a cluster of one",
        help: "gRPC addresses of the other nodes, separated by commas; id=host:port is the only way taken to that node."
    )
    static let peerPort = Setting(
        "peer", "port", kind: .number(0...65_535, unit: "port"), standard: "0: any free one",
        help: "Port on which framed TCP of peers arrives (default: any free one, told to them).")
    static let join = Setting(
        "join", kind: .flag, standard: "false",
        help: "Wait to be added to the cluster that --peers belong to, instead of forming one with them.")
    static let transport = Setting(
        "transport", kind: .words(PeerTransportKind.self), standard: "tcp",
        help: "How peers talk: tcp (framed, faster) or grpc.")
    static let engine = Setting(
        "engine", kind: .words(StorageEngineKind.self), standard: "lsm", help: "What keeps the keys: lsm or hashlog.")
    static let io = Setting(
        "io", kind: .words(IOBackendKind.self), standard: "posix", help: "Who does disk I/O: posix, uring or auto.")
    static let allocator = Setting(
        "allocator", kind: .words(AllocatorKind.self), standard: "arena",
        help: "Where the store takes its memory: arena, jemalloc or system.")
    static let leases = Setting(
        "leases", kind: .words(LeaseSwitch.self), standard: "off",
        help: "Leases for reads with consistency=lease: off or on; the same on all nodes.")
    static let stallLimit = Setting(
        "stall", "limit", kind: .number(50...60_000, unit: "milliseconds"), standard: "500",
        help:
            "Milliseconds after which a log write that is not done counts as a stuck disk, and the node stops leading.")
    static let heartbeatInterval = Setting(
        "heartbeat", "interval", kind: .number(10...10_000, unit: "milliseconds"), standard: "50",
        help: "Milliseconds between two heartbeats of a leader; the same on all nodes.")
    static let electionTimeout = Setting(
        "election", "timeout", kind: .number(50...60_000, unit: "milliseconds"), standard: "150",
        help: "Milliseconds without a leader before another is elected, at least 3 heartbeats; the same on all nodes. "
            + "Grows by itself where messages take longer.")
    static let logRetained = Setting(
        "log", "retained", kind: .number(1...UInt64(Int64.max), unit: "bytes"), standard: "268435456",
        help: "Bytes of the key-value group's log that stay for nodes that lag; 268435456 when not given.")
    static let snapshotRate = Setting(
        "snapshot", "rate", kind: .number(1...UInt64(Int64.max), unit: "bytes a second"), standard: "134217728",
        help: "Bytes a second at which a node that lags further is sent files; 134217728 when not given.")
    static let fault = Setting(
        "fault", kind: .faults, standard: "none",
        help: "For experiments: what the disk does wrong, such as power-loss (kill -9 forgets what was not synced).")
    static let data = Setting(
        "data", kind: .text, standard: "data, or data/<id>", help: "The data folder.")
    static let logLevel = Setting(
        "log", "level", kind: .word(Logger.Level.allCases.map(\.rawValue)), standard: "info",
        help: "trace, debug, info, notice, warning, error or critical.")

    static let all: [Setting] = [
        id, address, port, http, resp, peers, peerPort, join, transport, engine, io, allocator, leases, stallLimit,
        heartbeatInterval, electionTimeout, logRetained, snapshotRate, fault, data, logLevel,
    ]
}

extension Setting.Kind {
    fileprivate static func words<Word: RawRepresentable & CaseIterable>(_ type: Word.Type) -> Setting.Kind
    where Word.RawValue == String {
        .word(type.allCases.map(\.rawValue))
    }
}

// MARK: - Values

extension Setting {
    /// What a value must be, in words.
    var expectation: String {
        switch kind {
        case .text: "a text that is not empty"
        case .name: "1 to 64 letters, digits, '.', '_' or '-'"
        case .address: "an address: host:port, or :port for loopback"
        case .peers:
            "addresses of other nodes, each host:port or id=host:port: a list of texts, or one text with commas"
        case .flag: "true or false"
        case .word(let words): "one of " + words.joined(separator: ", ")
        case .number(let range, let unit):
            "a whole number from \(range.lowerBound) to \(range.upperBound)" + (unit == "port" ? "" : " (\(unit))")
        case .faults:
            "some of " + DiskFault.Kind.allCases.map(\.rawValue).joined(separator: ", ")
                + ", those that count also with =<number>: a list of texts, or one text with commas"
        }
    }

    /// What is wrong with a value, as one sentence that begins with the value; nil when it is usable.
    func problem(with text: String) -> String? {
        isUsable(text) ? nil : "'\(text)' is not usable as \(flag); \(expectation) is expected"
    }

    private func isUsable(_ text: String) -> Bool {
        switch kind {
        case .text: !text.isEmpty && !text.utf8.contains(0)
        case .name: Self.isName(text)
        case .address: (try? ListenAddress(parsing: text)) != nil
        case .peers: Self.items(text).allSatisfy(Self.isPeer)
        case .flag: text == "true" || text == "false"
        case .word(let words): words.contains(text)
        case .number(let range, _):
            text.utf8.allSatisfy { (0x30...0x39).contains($0) } && UInt64(text).map { range.contains($0) } ?? false
        case .faults: Self.items(text).allSatisfy { DiskFault(parsing: $0) != nil }
        }
    }

    /// The items of a text with commas, without blanks around them; of a blank text none.
    static func items(_ text: String) -> [String] {
        let items = text.split(separator: ",", omittingEmptySubsequences: false).map { item in
            String(item.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        return items == [""] ? [] : items
    }

    private static func isPeer(_ item: String) -> Bool {
        let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.last, (try? ListenAddress(parsing: String(address))) != nil else { return false }
        return parts.count == 1 || isName(String(parts[0]))
    }

    private static func isName(_ text: String) -> Bool {
        let allowed = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return allowed && (1...64).contains(text.utf8.count)
    }
}
