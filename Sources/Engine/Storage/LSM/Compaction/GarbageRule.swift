// Decides, version by version in the order of a merge, what a flush or compaction leaves out. It must never drop what a
// living snapshot, or a reader of the present, can still see.

struct GarbageRule {
    /// Ascending.
    private let snapshots: [UInt64]
    private var key: [UInt8] = []
    private var hasKey = false
    /// The stripe of the last version of `key` that was seen.
    private var lastStripe: UInt64 = 0

    init(snapshots: [UInt64]) {
        self.snapshots = snapshots
    }

    /// The oldest reader that sees this sequence: versions in one stripe are seen by the same readers.
    func stripe(of sequence: UInt64) -> UInt64 {
        if snapshots.isEmpty { return .max }
        let place = snapshots.partitioningIndex { $0 >= sequence }
        return place < snapshots.count ? snapshots[place] : .max
    }

    /// True when no snapshot is older than this sequence.
    func isSeenByAll(_ sequence: UInt64) -> Bool {
        snapshots.first.map { sequence <= $0 } ?? true
    }

    /// True when the version must be kept.
    /// - Parameter isBottom: asked for deletes that all readers see: true when no deeper level can hold the key.
    mutating func keeps(
        _ newKey: UnsafeRawBufferPointer, trailer: UInt64, isBottom: (UnsafeRawBufferPointer) -> Bool
    ) -> Bool {
        let sequence = trailer >> 8
        let stripe = stripe(of: sequence)
        if hasKey, key.withUnsafeBytes({ compare($0, newKey) }) == 0 {
            if stripe == lastStripe { return false }
        } else {
            key.removeAll(keepingCapacity: true)
            key.append(contentsOf: newKey)
            hasKey = true
        }
        lastStripe = stripe
        let isDelete = trailer & 0xff == UInt64(OperationKind.delete.rawValue)
        return !(isDelete && isSeenByAll(sequence) && isBottom(newKey))
    }
}
