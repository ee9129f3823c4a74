// Decides, version by version in the order of a merge, what a flush or compaction leaves out. It must never drop what a
// living snapshot, or a reader of the present, can still see.

struct GarbageRule: ~Copyable {
    private let stripes: SnapshotStripes
    private var key = KeyMemory()
    private var hasKey = false
    /// The stripe of the last version of `key` that was seen.
    private var lastStripe: UInt64 = 0

    init(_ stripes: SnapshotStripes) {
        self.stripes = stripes
    }

    /// True when no snapshot is older than this sequence.
    func isSeenByAll(_ sequence: UInt64) -> Bool { stripes.isSeenByAll(sequence) }

    /// True when the version must be kept.
    /// - Parameter isBottom: asked for deletes that all readers see: true when no deeper level can hold the key.
    mutating func keeps(
        _ newKey: UnsafeRawBufferPointer, trailer: UInt64, isBottom: (UnsafeRawBufferPointer) -> Bool
    ) -> Bool {
        let sequence = trailer >> 8
        let stripe = stripes.stripe(of: sequence)
        if hasKey, compare(key.bytes, newKey) == 0 {
            if stripe == lastStripe { return false }
        } else {
            key.set(newKey)
            hasKey = true
        }
        lastStripe = stripe
        let isDelete = trailer & 0xff == UInt64(OperationKind.delete.rawValue)
        return !(isDelete && stripes.isSeenByAll(sequence) && isBottom(newKey))
    }
}
