// What the ingest workload was promised, per partition: which batch was acknowledged at which offset, and which batches
// have no known fate. 16 bytes a batch, bounded by the number of batches that a run sends.

/// The acknowledged batches of one partition.
struct IngestLedger: Sendable {
    struct Entry: Hashable, Sendable {
        var baseOffset: UInt64
        var batch: UInt64
    }

    private(set) var acknowledged: [Entry] = []
    private(set) var unknown: Set<UInt64> = []
    private(set) var refused: Set<UInt64> = []

    /// About 64 MiB of entries: 4 billion records of batches of a thousand.
    static let batchesMax = 4_000_000

    mutating func acknowledge(batch: UInt64, baseOffset: UInt64) {
        acknowledged.append(Entry(baseOffset: baseOffset, batch: batch))
    }

    /// The batch may or may not be in the log.
    mutating func markUnknown(batch: UInt64) {
        unknown.insert(batch)
    }

    /// The broker said that the batch is not in the log.
    mutating func markRefused(batch: UInt64) {
        refused.insert(batch)
    }

    var count: Int { acknowledged.count + unknown.count + refused.count }

    /// What reading a partition from its start found, compared with what was promised.
    struct Verdict: Hashable, Sendable {
        var checked: UInt64 = 0
        /// Acknowledged batches that were not at their offset.
        var lost: [Entry] = []
        /// Batches at offsets where they don't belong, or that were refused and are there all the same.
        var misplaced: [Entry] = []
        /// Batches that appear more than once.
        var duplicated: [Entry] = []
        var unknownFound: UInt64 = 0
    }

    /// - Parameter found: every batch read back, in the order of the log.
    /// - Complexity: O(n log n).
    func judge(found: [Entry]) -> Verdict {
        var verdict = Verdict()
        var at: [UInt64: UInt64] = [:]
        at.reserveCapacity(found.count)
        var promised: [UInt64: UInt64] = [:]
        promised.reserveCapacity(acknowledged.count)
        for entry in acknowledged {
            promised[entry.batch] = entry.baseOffset
        }
        for entry in found {
            if at.updateValue(entry.baseOffset, forKey: entry.batch) != nil {
                verdict.duplicated.append(entry)
            } else if let offset = promised[entry.batch] {
                if offset != entry.baseOffset { verdict.misplaced.append(entry) }
            } else if unknown.contains(entry.batch) {
                verdict.unknownFound += 1
            } else {
                verdict.misplaced.append(entry)
            }
        }
        for entry in acknowledged {
            verdict.checked += 1
            if at[entry.batch] == nil { verdict.lost.append(entry) }
        }
        return verdict
    }
}
