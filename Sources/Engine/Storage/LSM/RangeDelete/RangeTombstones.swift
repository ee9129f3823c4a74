// Deletes of whole key ranges. A source keeps its own apart from its entries, cut into fragments that don't overlap, so
// that "which is the newest delete over this key" is one binary search. Immutable; shared by readers.

/// The delete of all keys from `start` to `end` (excluded).
struct RangeTombstone: Hashable, Sendable {
    var start: [UInt8]
    var end: [UInt8]
    var sequence: UInt64
}

final class RangeTombstones: Sendable {
    struct Fragment: Hashable, Sendable {
        var start: [UInt8]
        var end: [UInt8]
        /// Newest first.
        var sequences: [UInt64]
    }

    /// Sorted and disjoint.
    let fragments: [Fragment]

    /// - Complexity: O(n log n) and the overlaps among them.
    init(_ tombstones: [RangeTombstone]) {
        let bounds = Self.sortedBounds(tombstones)
        var sequences = [[UInt64]](repeating: [], count: bounds.count)
        for tombstone in tombstones {
            let first = bounds.partitioningIndex { !$0.lexicographicallyPrecedes(tombstone.start) }
            let last = bounds.partitioningIndex { !$0.lexicographicallyPrecedes(tombstone.end) }
            for place in first..<max(first, last) { sequences[place].append(tombstone.sequence) }
        }
        fragments = bounds.indices.dropLast().compactMap { place in
            guard !sequences[place].isEmpty else { return nil }
            return Fragment(
                start: bounds[place], end: bounds[place + 1], sequences: sequences[place].sorted { $0 > $1 })
        }
    }

    private static func sortedBounds(_ tombstones: [RangeTombstone]) -> [[UInt8]] {
        var bounds: [[UInt8]] = []
        for bound in tombstones.flatMap({ [$0.start, $0.end] }).sorted(by: { $0.lexicographicallyPrecedes($1) })
        where bounds.last != bound { bounds.append(bound) }
        return bounds
    }

    /// Fragments that lie sorted and apart already.
    init(fragments: [Fragment]) {
        self.fragments = fragments
    }

    /// The fragment over `key`, if any.
    func fragment(over key: UnsafeRawBufferPointer) -> Fragment? {
        let next = fragments.partitioningIndex { $0.start.withUnsafeBytes { compare($0, key) } > 0 }
        guard next > 0, fragments[next - 1].end.withUnsafeBytes({ compare($0, key) }) > 0 else { return nil }
        return fragments[next - 1]
    }

    /// The newest delete over `key` that is not newer than `sequence`; 0 when there is none.
    func newest(over key: UnsafeRawBufferPointer, upTo sequence: UInt64) -> UInt64 {
        fragment(over: key)?.sequences.first { $0 <= sequence } ?? 0
    }

    /// One tombstone per fragment and sequence.
    var tombstones: [RangeTombstone] {
        fragments.flatMap { fragment in
            fragment.sequences.map { RangeTombstone(start: fragment.start, end: fragment.end, sequence: $0) }
        }
    }

    /// `u32 count`, then start and end with their lengths in front and `u64 sequence` for each.
    static func encode(_ tombstones: [RangeTombstone]) -> [UInt8] {
        var output: [UInt8] = []
        output.append(littleEndian: UInt32(tombstones.count))
        for tombstone in tombstones {
            output.append(lengthPrefixed: tombstone.start)
            output.append(lengthPrefixed: tombstone.end)
            output.append(littleEndian: tombstone.sequence)
        }
        return output
    }

    /// Nil for bytes that no writer makes.
    convenience init?(decoding buffer: UnsafeRawBufferPointer) {
        var reader = ByteReader(buffer)
        guard let count = reader.read(UInt32.self) else { return nil }
        var tombstones: [RangeTombstone] = []
        for _ in 0..<count {
            guard let start = reader.readLengthPrefixed(), let end = reader.readLengthPrefixed(),
                let sequence = reader.read(UInt64.self), compare(start, end) < 0
            else { return nil }
            tombstones.append(RangeTombstone(start: [UInt8](start), end: [UInt8](end), sequence: sequence))
        }
        guard reader.remaining == 0 else { return nil }
        self.init(tombstones)
    }
}
