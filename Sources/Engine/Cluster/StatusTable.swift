// The visible state of all groups of a node, written by the host's thread and read by front ends.
import Raft
import Synchronization

public final class StatusTable: Sendable {
    private let table = Mutex<[GroupID: GroupStatus]>([:])

    public init() {}

    public func set(_ status: GroupStatus, of group: GroupID) {
        table.withLock { $0[group] = status }
    }

    public func status(of group: GroupID) -> GroupStatus? {
        table.withLock { $0[group] }
    }

    /// All groups, sorted.
    public var all: [(group: GroupID, status: GroupStatus)] {
        table.withLock { table in
            table.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 }
        }
    }
}
