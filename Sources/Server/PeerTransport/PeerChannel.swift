// The seam between the network of peers, which knows who is connected, and the transports, which carry bytes. Both
// transports keep control traffic and bulk traffic apart, are bounded, and drop rather than wait.
import Cluster

/// How peers talk once they have shaken hands.
enum PeerTransportKind: String, Sendable, CaseIterable {
    /// Client-streaming gRPC calls.
    case grpc
    /// Length-prefixed frames over plain TCP connections.
    case tcp
}

/// One way to one connected peer.
protocol PeerChannel: AnyObject, Sendable {
    /// Queues a batch; must not block, may drop. Called from the host's thread.
    func push(_ batch: PeerBatch, lane: PeerLane)

    /// Batches that were dropped because too many bytes waited.
    var dropped: UInt64 { get }

    /// What was sent was not acknowledged by the other end's kernel for several retransmissions: the way is broken, or
    /// was until a moment ago, and TCP waits longer and longer before it tries again. False where that can't be seen.
    func isStuck() async -> Bool

    /// Carries what is pushed until the connection breaks or the task is cancelled.
    func run() async throws
}

/// Bounds of a peer's queues.
enum PeerLimits {
    /// Bytes that may wait for one peer; a slow peer loses what exceeds it and catches up later.
    static func waitingBytesMax(_ lane: PeerLane) -> Int {
        switch lane {
        case .control: 4 * 1024 * 1024
        case .bulk: 64 * 1024 * 1024
        // More than the window of a transfer; what exceeds it is asked for again.
        case .snapshot: 32 * 1024 * 1024
        }
    }
    /// Bytes joined into one gRPC message.
    static let batchBytesMax = 4 * 1024 * 1024
    /// One frame on a TCP connection of a peer that is known.
    static let frameBytesMax = 128 * 1024 * 1024
    /// Bytes reserved for a frame before its own have come: a length alone is no reason to believe in more. A piece of
    /// a snapshot that is longer is received as any other frame, with one more copy.
    static let frameReservedBytes = 4 * 1024 * 1024
    /// The first frame of a TCP connection, which says who calls: a stranger gets no more memory than this.
    static let helloBytesMax = 64 * 1024
    /// How long a TCP connection may take to say who calls.
    static let helloSecondsMax: Int64 = 10
    /// Nodes that one handshake may name, and the bytes of each of their texts.
    static let handshakeMembersMax = 1024
    static let handshakeTextBytesMax = 1024
}
