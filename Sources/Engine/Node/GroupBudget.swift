// How many partitions a node may hold: each keeps files open, and a node that has used up its descriptors can neither
// accept a connection nor roll a log. A topic beyond the budget of the controller's leader is refused; a node with a
// smaller budget holds what fits and says of each other partition why it is out of service there.
public import Cluster
import Synchronization

/// Counts the partitions that are open. Safe from every thread.
public final class GroupBudget: Sendable {
    /// Descriptors that an open group keeps: the newest segment of its log, and its term and vote.
    public static let descriptorsPerGroup = 2

    /// Partitions that fit into a limit of descriptors; a quarter of them, at least 256, is kept for connections,
    /// tables of the store, and files that are read.
    public static func partitions(within descriptors: UInt64) -> Int {
        let kept = max(descriptors / 4, 256)
        return Int(clamping: (descriptors - min(kept, descriptors)) / UInt64(descriptorsPerGroup))
    }

    private let groupsMax: Int?
    private let open = Mutex<Set<GroupID>>([])

    init(groupsMax: Int?) {
        self.groupsMax = groupsMax
    }

    /// Takes a place for a group, once; false when none is left.
    func admit(_ group: GroupID) -> Bool {
        guard let groupsMax else { return true }
        return open.withLock { open in
            guard open.contains(group) || open.count < groupsMax else { return false }
            open.insert(group)
            return true
        }
    }

    func release(_ group: GroupID) {
        guard groupsMax != nil else { return }
        open.withLock { _ = $0.remove(group) }
    }

    /// Why a group is out of service that found no place.
    var refusal: String {
        "this node may hold \(groupsMax ?? 0) partitions by its limit of open files; raise it (ulimit -Hn, LimitNOFILE) and "
            + "restart the node"
    }
}
