// The only way into a host from other threads. Events queue here until the host's next turn; control traffic is kept
// apart so that a turn can look at it first. Bounded: proposals beyond the bound are refused at once, with a clear
// error.
public import Raft
import SegmentedLog
public import Synchronization

/// Something that happened outside the host's thread.
public enum HostEvent: Sendable {
    /// Messages of one peer, decoded by whoever received them.
    case received(from: NodeID, ReceivedMessages)
    /// One piece of a snapshot's file, received to where it stays.
    case receivedPiece(from: NodeID, ReceivedPiece)
    /// The connection to a peer came up or broke. A broken one is a hint that the peer may be dead.
    case connected(NodeID)
    case disconnected(NodeID)
    case propose(GroupID, Proposal)
    case read(GroupID, ReadRequest)
    case stored(StorageReceipt)
    case fetched(LogFetchResult)
    case snapshot(GroupID, SnapshotOutcome)
    /// The answer to a proposal that `to` forwarded to this node.
    case answer(to: NodeID, request: UInt64, result: Result<UInt64, RequestError>)
    /// Anything else that must run on the host's thread.
    case run(@Sendable (ClusterHost) -> Void)
}

extension HostEvent {
    /// Decodes a batch of one peer; see ``PeerCodec``. For the thread that received it.
    public static func received(from peer: NodeID, messages: [UInt8]) -> HostEvent {
        .received(from: peer, ReceivedMessages(decoding: messages))
    }

    /// What it holds, in bytes: a turn takes in a bounded amount.
    var byteCount: Int {
        switch self {
        case .received(_, let messages): messages.byteCount
        case .propose(_, let proposal): proposal.payload.count
        case .fetched(let result): result.frames.byteCount
        default: 0
        }
    }
}

/// A batch of a peer's messages, checked.
public struct ReceivedMessages: Sendable {
    /// Nil when anything in the batch is malformed.
    let messages: [PeerMessage]?
    let byteCount: Int

    init(decoding bytes: [UInt8]) {
        messages = PeerCodec.decode(bytes)
        byteCount = bytes.count
    }
}

/// A command that wants to be replicated.
public struct Proposal: Sendable {
    public enum Wait: Hashable, Sendable {
        /// Until the entry is applied here, having been durable on a majority.
        case applied
        /// Until the entry is in the leader's own log.
        case appended
    }
    public var payload: [UInt8]
    /// Commands in the payload; the answers of commands that were joined with others differ by it.
    public var operations: UInt32
    public var wait: Wait
    /// Whether a follower may hand it to the leader.
    public var mayForward: Bool
    /// Made by this node's own code out of checked values: the state machine needn't look at it again.
    public var isChecked = false
    /// What all members must be able to read before it may be proposed; see ``FeatureLevel``.
    public var requiredLevel: UInt32 = 0
    public var completion: @Sendable (Result<UInt64, RequestError>) -> Void
    /// Nanoseconds for which one that a follower may not hand over waits for a leader to be known; then it is refused.
    public var leaderPatience: UInt64
    /// Nanoseconds on the host's clock after which the answer is "unknown"; set when the host takes it.
    var deadline: UInt64 = 0
    /// Until when it may wait for a leader; set when the host takes it.
    var leaderDeadline: UInt64 = 0

    public init(
        payload: [UInt8], operations: UInt32 = 1, wait: Wait = .applied, mayForward: Bool = true,
        leaderPatience: UInt64 = 0,
        completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        self.payload = payload
        self.operations = operations
        self.wait = wait
        self.mayForward = mayForward
        self.leaderPatience = leaderPatience
        self.completion = completion
    }
}

/// A wish to read state that covers everything acknowledged before now.
public struct ReadRequest: Sendable {
    /// What has to be known before the read may be served.
    public enum Mode: Hashable, Sendable {
        /// A majority confirmed the leader after the read arrived (ReadIndex).
        case confirmed
        /// The leader's lease holds; where it does not, as ``confirmed``. Needs `RaftCore.Settings.leaseReads`.
        case lease
        /// The leader was heard at most so many nanoseconds ago. A leader asks for confirmation.
        case heard(within: UInt64)
    }
    public var mode: Mode
    /// Success: the state machine on this node is fresh enough, read it now (elsewhere, if reading may block).
    public var completion: @Sendable (Result<Void, RequestError>) -> Void
    /// Nanoseconds after which the read is given up; never more than the host's own limit.
    public var patience: UInt64
    var deadline: UInt64 = 0

    public init(
        _ mode: Mode = .confirmed, patience: UInt64 = .max,
        completion: @escaping @Sendable (Result<Void, RequestError>) -> Void
    ) {
        self.mode = mode
        self.patience = patience
        self.completion = completion
    }
}

/// Thread-safe queue in front of a ``ClusterHost``.
public final class HostInbox: Sendable {
    /// Bytes of proposals that may wait for a turn.
    public static let proposalBytesMax = 64 * 1024 * 1024
    /// Bytes of bulk traffic that one turn takes in, so that it is over in a few milliseconds and the next one sees
    /// what came in for control meanwhile.
    static let turnBytesMax = 4 * 1024 * 1024

    struct Content {
        var control: [HostEvent] = []
        var bulk: [HostEvent] = []
        var proposalBytes = 0
        var closed = false
        /// True while the host is known to be awake, which saves a wake-up call.
        var awake = false
    }

    /// What the host behind this inbox counts of itself.
    public let counters = HostCounters()
    /// What commands may be proposed; see ``FeatureLevel``.
    public let featureLevel = Atomic<UInt32>(0)
    /// Where the host and all that belongs to its node report trouble.
    public let diagnostics: Diagnostics
    private let content = Mutex(Content())
    private let wake: @Sendable () -> Void

    /// - Parameters:
    ///   - diagnostics: where the node reports trouble.
    ///   - wake: rouses the host's thread; called from any thread, at most once between two turns.
    public init(diagnostics: Diagnostics = Diagnostics(), wake: @escaping @Sendable () -> Void) {
        self.diagnostics = diagnostics
        self.wake = wake
    }

    /// Queues an event. Proposals and reads are answered at once when the host is gone or drowning.
    public func post(_ event: HostEvent, lane: PeerLane = .bulk) {
        enum Outcome { case queued(wake: Bool), closed, full }
        let outcome: Outcome = content.withLock { content in
            if content.closed { return .closed }
            if case .propose(_, let proposal) = event {
                guard content.proposalBytes + proposal.payload.count <= Self.proposalBytesMax else { return .full }
                content.proposalBytes += proposal.payload.count
            }
            if lane == .control { content.control.append(event) } else { content.bulk.append(event) }
            let mustWake = !content.awake
            content.awake = true
            return .queued(wake: mustWake)
        }
        switch outcome {
        case .queued(let mustWake): if mustWake { wake() }
        case .closed: refuse(event, .unavailable("the node is shutting down"))
        case .full: refuse(event, .unavailable("too many writes are waiting on this node; slow down"))
        }
    }

    /// Takes all control traffic that waits, and bulk traffic in order, as much as a turn may take in.
    func take() -> (control: [HostEvent], bulk: [HostEvent], isAll: Bool) {
        content.withLock { content in
            let control = content.control
            content.control = []
            var (bytes, count) = (0, 0)
            while count < content.bulk.count, bytes < Self.turnBytesMax {
                bytes += content.bulk[count].byteCount
                if case .propose(_, let proposal) = content.bulk[count] {
                    content.proposalBytes -= proposal.payload.count
                }
                count += 1
            }
            guard count < content.bulk.count else {
                let bulk = content.bulk
                content.bulk = []
                return (control, bulk, true)
            }
            let bulk = Array(content.bulk[..<count])
            content.bulk.removeFirst(count)
            return (control, bulk, false)
        }
    }

    /// Says that the host is about to sleep. Returns false when something arrived meanwhile: take another turn.
    public func prepareToSleep() -> Bool {
        content.withLock { content in
            guard content.control.isEmpty, content.bulk.isEmpty else { return false }
            content.awake = false
            return true
        }
    }

    /// Refuses everything that waits and everything that comes.
    func close() {
        let left = content.withLock { content in
            content.closed = true
            let left = content.control + content.bulk
            content.control = []
            content.bulk = []
            return left
        }
        for event in left { refuse(event, .unavailable("the node is shutting down")) }
    }

    private func refuse(_ event: HostEvent, _ error: RequestError) {
        switch event {
        case .propose(_, let proposal): proposal.completion(.failure(error))
        case .read(_, let request): request.completion(.failure(error))
        default: break
        }
    }
}
