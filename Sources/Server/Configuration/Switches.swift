// The position of every switch of this node, in the words that metrics, logs and results use. A figure without them
// means nothing.
import Memory
import Storage
import UringIO

struct Switches: Sendable {
    /// Who does disk I/O.
    var io = IOBackendKind.posix
    var allocator = AllocatorKind.arena
    var engine = StorageEngineKind.lsm
    /// How peers talk.
    var transport = PeerTransportKind.tcp
    /// What the disk is made to do wrong, when something is.
    var fault: String?
    /// Leases for `consistency=lease`; the same on all nodes of a cluster.
    var leases = LeaseSwitch.off
    /// What an acknowledged write has been through.
    var durability = "quorum-fsync"

    var labels: [(name: String, value: String)] {
        [
            ("backend", io.rawValue), ("allocator", allocator.rawValue), ("engine", engine.rawValue),
            ("transport", transport.rawValue),
            ("durability", durability), ("leases", leases.rawValue),
        ] + (fault.map { [("fault", $0)] } ?? [])
    }
}

/// Whether members promise their leader not to help another for a while, so that it may answer reads alone. Makes
/// failover slower by up to that while.
enum LeaseSwitch: String, Sendable, CaseIterable {
    case off, on
}
