// What a node tells its operator about trouble that no request was waiting for: a damaged log, a failed checkpoint, a
// batch that can't be decoded. The engine has no clock and no log; it reports here, the total of each kind is counted,
// and the server behind the handler writes the log, rate-limited. Reporting must never block or fail.
import Synchronization

/// Counts diagnostics by kind and passes them on. Safe from every thread.
public final class Diagnostics: Sendable {
    /// How much a kind matters to an operator.
    public enum Severity: Sendable {
        case notice
        case warning
        case error
    }

    /// The kinds; the raw value is the label `kind` of `strata_diagnostics_total`.
    public enum Kind: String, CaseIterable, Sendable {
        /// Bytes of an interrupted write were cut off the end of a log.
        case tornTail = "torn_tail"
        /// A replica holds less than it should, or is damaged, and was refused or is rebuilt from its peers.
        case damagedReplica = "damaged_replica"
        /// A group can't be opened or applied on this node; the node serves the others.
        case groupUnavailable = "group_unavailable"
        /// A committed command can't be read and was answered as failed.
        case unreadableCommand = "unreadable_command"
        /// A checkpoint for a snapshot could not be made.
        case checkpointFailed = "checkpoint_failed"
        /// A piece of a snapshot could not be read, written or installed.
        case snapshotFailed = "snapshot_failed"
        /// Entries of a log could not be read back, for a follower or for the state machine.
        case logReadFailed = "log_read_failed"
        /// A log could not be cut at the front.
        case trimFailed = "trim_failed"
        /// A batch of a peer could not be decoded and was dropped.
        case undecodableBatch = "undecodable_batch"
        /// A message to a peer was dropped because its queue was full or there was no connection.
        case droppedPeerMessage = "dropped_peer_message"
        /// A connection could not be accepted, for example because no descriptor was left.
        case acceptFailed = "accept_failed"
        /// Background work of the store makes no progress.
        case maintenanceStalled = "maintenance_stalled"

        /// How much this kind matters.
        public var severity: Severity {
            switch self {
            case .droppedPeerMessage, .trimFailed: .notice
            case .tornTail, .unreadableCommand, .undecodableBatch, .checkpointFailed, .snapshotFailed, .logReadFailed,
                .acceptFailed:
                .warning
            case .damagedReplica, .groupUnavailable, .maintenanceStalled: .error
            }
        }
    }

    /// One counter of each kind, in the order of ``Kind/allCases``.
    private final class Counter: Sendable {
        let total = Atomic<UInt64>(0)
    }
    private let counters: [Counter]
    private let handler: @Sendable (Kind, () -> String) -> Void

    /// - Parameter handler: called from any thread with the kind and a closure that makes the sentence; it must not
    ///   block.
    public init(handler: @escaping @Sendable (Kind, () -> String) -> Void = { _, _ in }) {
        counters = Kind.allCases.map { _ in Counter() }
        self.handler = handler
    }

    /// Counts a diagnostic and passes it on. The sentence is only made when the handler wants it.
    public func report(_ kind: Kind, _ message: @autoclosure () -> String) {
        counter(of: kind).total.wrappingAdd(1, ordering: .relaxed)
        handler(kind, message)
    }

    /// How often a kind was reported since the start.
    public func total(of kind: Kind) -> UInt64 {
        counter(of: kind).total.load(ordering: .relaxed)
    }

    private func counter(of kind: Kind) -> Counter {
        guard let position = Kind.allCases.firstIndex(of: kind) else {
            preconditionFailure("every kind is among all cases")
        }
        return counters[position]
    }
}
