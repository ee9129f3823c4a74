// The living snapshots cut the sequences into stripes: all versions of one stripe are seen by the same readers, so that
// only the newest of them matters. A copy of the registry at one moment; it never sees snapshots that are taken later.

struct SnapshotStripes {
    /// Ascending.
    private let snapshots: [UInt64]

    init(_ snapshots: [UInt64]) {
        self.snapshots = snapshots
    }

    /// The oldest reader that sees this sequence: the name of its stripe.
    func stripe(of sequence: UInt64) -> UInt64 {
        if snapshots.isEmpty { return .max }
        let place = snapshots.partitioningIndex { $0 >= sequence }
        return place < snapshots.count ? snapshots[place] : .max
    }

    /// True when no snapshot is older than this sequence.
    func isSeenByAll(_ sequence: UInt64) -> Bool {
        snapshots.first.map { sequence <= $0 } ?? true
    }
}
