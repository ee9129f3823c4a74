// What the host does for groups whose machines have files of their own.
import Raft
import SegmentedLog

extension ClusterHost {
    /// Looks whether a new group's log can be cut and its files be sent.
    func prepareSnapshots(of group: Group) {
        guard let store = group.machine.snapshotStore else { return }
        group.snapshots = GroupSnapshots(
            store: store, settings: settings.snapshots, counters: snapshotCounters, seed: group.nextReadContext)
        snapshotGroups.append(group)
    }

    /// Hands the turn's background work over.
    func submitSnapshotWork() {
        for group in snapshotGroups {
            guard let snapshots = group.snapshots, !snapshots.works.isEmpty else { continue }
            for work in snapshots.works { environment.submit(work) }
            snapshots.works.removeAll(keepingCapacity: true)
        }
    }
}

extension SegmentedLog {
    /// The entry before the first one.
    var beginning: SnapshotPoint {
        SnapshotPoint(index: recovery.firstIndex - 1, term: recovery.previousTerm)
    }
}
