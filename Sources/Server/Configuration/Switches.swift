// The position of every switch of this node, in the words that metrics, logs and results use. A figure without them means
// nothing.
import Memory

struct Switches: Sendable {
    /// Who does disk I/O.
    var backend = "posix"
    var allocator = AllocatorKind.arena
    var engine = "lsm"
    /// How peers talk.
    var transport = "grpc"
    /// What an acknowledged write has been through.
    var durability = "quorum-fsync"

    var labels: [(name: String, value: String)] {
        [
            ("backend", backend), ("allocator", allocator.rawValue), ("engine", engine), ("transport", transport),
            ("durability", durability),
        ]
    }
}
