// What a node knows of a group that is out of service here, and whose trouble a failure is: the group's own, which
// leaves the other groups alone, or the disk's, which ends the node. A failed write or sync is never mistaken for the
// group's own.
public import FileIO
public import SegmentedLog

/// A group that this node can't serve, and why.
public struct GroupOutage: Hashable, Sendable {
    public var group: GroupID
    /// What people call it: `events-3`, `keyvalue`.
    public var name: String
    /// What happened and what to do.
    public var reason: String
    /// The node tries again by itself.
    public var isRetried: Bool

    public init(group: GroupID, name: String, reason: String, isRetried: Bool) {
        self.group = group
        self.name = name
        self.reason = reason
        self.isRetried = isRetried
    }
}

/// Whose trouble a failure is.
public enum FailureScope: Hashable, Sendable {
    /// The group's own: it goes out of service. With `passes` it may work later (no descriptor left, a full disk).
    case group(passes: Bool)
    /// The node's: its disk did not keep what it was given, so that the node must end.
    case node

    /// The scope of a failure that an operation on a group's files has met while the group was running.
    public init(running error: any Error) {
        guard let error = error as? SegmentedLogError else {
            self = .node
            return
        }
        switch error.code {
        case .corruption, .incomplete, .invalidFrames, .notContiguous, .tooLarge, .outOfRange, .unsupported:
            self = .group(passes: false)
        case .poisoned: self = .node
        case .disk:
            // A file that could not be opened was not written to: nothing is lost with it.
            guard let cause = error.cause else {
                self = .node
                return
            }
            self = cause.reason == .tooManyOpenFiles ? .group(passes: true) : .node
        }
    }

    /// The scope of a failure to read back what a group's log holds: never the node's. A damaged log is opened again,
    /// which rebuilds it from the peers, or refuses it.
    public init(reading error: SegmentedLogError) {
        self = .group(passes: error.code == .disk || error.isDamage)
    }

    /// The scope of a failure to open a group's files: nothing was acknowledged from them yet.
    public init(opening error: SegmentedLogError) {
        guard error.code == .disk else {
            self = .group(passes: false)
            return
        }
        self = error.cause.map { FailureScope(opening: $0) } ?? .group(passes: true)
    }

    /// As ``init(opening:)``, for a call of the disk.
    public init(opening error: FileIOError) {
        let isRead: Bool =
            switch error.operation {
            case .open, .read, .map, .size, .list, .exists: true
            default: false
            }
        self = error.reason == .device && !isRead ? .node : .group(passes: true)
    }
}
