// The visible state of all groups of a node, written by the host's thread and read by front ends.
import Raft
import Synchronization

public final class StatusTable: Sendable {
    private let table = Mutex<[GroupID: GroupStatus]>([:])
    private let outageTable = Mutex<[GroupID: GroupOutage]>([:])

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

    /// A group is out of service on this node, or (nil) no longer so.
    public func set(_ outage: GroupOutage?, of group: GroupID) {
        outageTable.withLock { $0[group] = outage }
        if outage != nil { table.withLock { $0[group] = nil } }
    }

    /// Why a group is out of service on this node; nil when it is not.
    public func outage(of group: GroupID) -> GroupOutage? {
        outageTable.withLock { $0[group] }
    }

    /// All groups that are out of service on this node, sorted.
    public var outages: [GroupOutage] {
        outageTable.withLock { $0.values.sorted { $0.group < $1.group } }
    }
}
