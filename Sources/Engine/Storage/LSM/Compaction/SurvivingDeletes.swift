// The range deletes that take part in a flush or compaction: which entries they make garbage, and which of them have to
// live on in which output. A range delete may only go when nothing older can be left under it.

struct SurvivingDeletes {
    private let all: RangeTombstones
    private let stripes: SnapshotStripes
    /// True when no deeper level can hold a key from `start` to `end`.
    private let isBottom: ([UInt8], [UInt8]) -> Bool

    init(
        _ sources: [RangeTombstones], _ stripes: SnapshotStripes, isBottom: @escaping ([UInt8], [UInt8]) -> Bool
    ) {
        all = RangeTombstones(sources.flatMap { $0.tombstones })
        self.stripes = stripes
        self.isBottom = isBottom
    }

    var isEmpty: Bool { all.fragments.isEmpty }

    /// True when whoever sees this version of `key` sees it deleted.
    func cover(_ key: UnsafeRawBufferPointer, sequence: UInt64) -> Bool {
        guard let fragment = all.fragment(over: key) else { return false }
        let stripe = stripes.stripe(of: sequence)
        return fragment.sequences.contains { $0 > sequence && stripes.stripe(of: $0) == stripe }
    }

    /// What an output for keys from `start` (nil: the least) to `end` (excluded; nil: no end) has to carry.
    func output(from start: [UInt8]?, to end: [UInt8]?) -> [RangeTombstone] {
        var kept: [RangeTombstone] = []
        for fragment in all.fragments {
            var low = fragment.start
            var high = fragment.end
            if let start, low.lexicographicallyPrecedes(start) { low = start }
            if let end, end.lexicographicallyPrecedes(high) { high = end }
            guard low.lexicographicallyPrecedes(high) else { continue }
            var lastStripe: UInt64?
            for sequence in fragment.sequences {
                let stripe = stripes.stripe(of: sequence)
                // The newest one that a reader sees hides the older ones from it.
                if stripe == lastStripe { continue }
                lastStripe = stripe
                if stripes.isSeenByAll(sequence), isBottom(low, high) { continue }
                kept.append(RangeTombstone(start: low, end: high, sequence: sequence))
            }
        }
        return kept
    }
}
