// What a state machine with files of its own offers, so that its log can be cut and its files sent to other members.
// Called on threads that may block, never on the host's.
public import FileIO
public import Raft
public import SegmentedLog

/// The files behind a state machine. Calls other than ``flushed`` block and come one at a time.
public protocol SnapshotStore: AnyObject, Sendable {
    var fileSystem: any FileSystem { get }
    /// Names what wrote the files; a member with another format can't use them.
    var format: String { get }
    /// Where received files gather. On the same file system as the state, so that they can take its place.
    var incomingFolder: String { get }
    /// The newest entry that the files cover. Any thread.
    var flushed: SnapshotPoint { get }
    /// Who the members were where the log begins.
    var membershipFile: MembershipFile { get }

    /// Writes everything applied so far to files.
    func flush() throws(SnapshotFailure)

    /// Makes a checkpoint in a folder of its own; `number` tells it from earlier ones.
    func checkpoint(_ number: UInt64) throws(SnapshotFailure) -> SnapshotCheckpoint

    /// Whether files are being sent: what else wants the disk, and can wait, should. Any thread; returns at once.
    func sending(_ isUnderWay: Bool)

    /// Reads the files in ``incomingFolder`` as what they are to become, to the last byte, and changes nothing of them
    /// or of the state. Files that can't take the state's place are removed: the same ones would come to nothing again.
    /// - Throws: what is wrong with them.
    func check(_ manifest: SnapshotManifest) throws(SnapshotFailure)

    /// Replaces the state by the files in ``incomingFolder``, which were checked, and lets `log` go on behind them.
    /// Durable on return; after a crash at any moment the node opens with either the old state and log or the new ones.
    func install(_ manifest: SnapshotManifest, log: SegmentedLog) throws(SnapshotFailure)
}

/// A checkpoint on disk.
public struct SnapshotCheckpoint: Hashable, Sendable {
    public var folder: String
    public var point: SnapshotPoint
    public var files: [SnapshotManifest.File]
    public init(folder: String, point: SnapshotPoint, files: [SnapshotManifest.File]) {
        self.folder = folder
        self.point = point
        self.files = files
    }
}

/// Why work for a snapshot failed; the sentence names file and cause.
public struct SnapshotFailure: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Background work of one group: reading, writing and checking snapshot files, and cutting its log.
public struct SnapshotWork: Sendable {
    /// So many independent works are worth running at once: the disk has a piece while a thread is on its way with the
    /// next.
    public static let independentMax = 2

    public let group: GroupID
    /// May run beside others and overtake them.
    public let isIndependent: Bool
    /// Sends an encoded message to a member on the snapshot lane. May drop it; must not block.
    public typealias Send = (_ message: [UInt8], _ peer: NodeID) -> Void
    private let body: @Sendable (Send) -> SnapshotOutcome

    init(group: GroupID, isIndependent: Bool = false, _ body: @escaping @Sendable () -> SnapshotOutcome) {
        self.init(group: group, isIndependent: isIndependent, sending: { _ in body() })
    }

    init(group: GroupID, isIndependent: Bool = false, sending body: @escaping @Sendable (Send) -> SnapshotOutcome) {
        self.group = group
        self.isIndependent = isIndependent
        self.body = body
    }

    /// Does the work. Blocks; call it on a thread that may, in the order in which works were submitted unless it is
    /// independent.
    /// - Parameter send: what was read for a member goes out at once, on the same thread: it is still near the
    ///   processor.
    public func perform(_ send: Send) -> SnapshotOutcome { body(send) }
}

/// How a ``SnapshotWork`` ended. Goes back to the group that asked for it.
public struct SnapshotOutcome: Sendable {
    enum Content: Sendable {
        case trimmed(SnapshotFailure?)
        case checkpointed(Result<SnapshotCheckpoint, SnapshotFailure>)
        /// A piece was read and sent; the bytes of its message.
        case sent(transfer: UInt64, attempt: Int, Result<Int, SnapshotFailure>)
        /// Of one try to receive; those of an earlier one are of no interest, though it may have been the same
        /// transfer.
        case prepared(IncomingFiles, Result<[UInt64], SnapshotFailure>)
        case written(IncomingFiles, Result<Int, SnapshotFailure>)
        case verified(IncomingFiles, SnapshotFailure?)
        case removed
    }
    let content: Content
}
