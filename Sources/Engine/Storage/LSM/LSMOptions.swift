// The knobs of the LSM store. Each has one reader; defaults are those that the benchmarks are run with.
public import Memory

public struct LSMOptions: Sendable, Hashable {
    /// A memtable is sealed when a batch no longer fits into this many bytes.
    public var memtableBytes = 64 << 20
    /// Bytes that memtables, indexes, filters and cached blocks may take together: the block cache gets what the others
    /// leave. What is being read at the moment comes on top.
    public var memoryBudgetBytes = 512 << 20
    /// Keeps a hash index beside each memtable: point reads of what is in memory take one or two cache misses instead
    /// of a search. Costs about 13 to 45 bytes for each key on top of ``memtableBytes``, and a fifth of the rate of
    /// scattered puts.
    public var memtableHashIndex = false
    /// Sealed memtables waiting to be written out at which ``LSMStore/needsBackpressure`` turns true.
    public var sealedMemtablesMax = 2
    /// Bytes of a data block before its 8-byte trailer.
    public var blockBytes = 4096
    /// A table's index that would be larger is cut into parts of ``blockBytes``, which are read and cached like blocks.
    public var indexBytes = 128 << 10
    /// 10 bits let 1 in 100 absent keys through.
    public var bloomBitsPerKey = 10
    /// How data blocks are packed in new tables; old ones stay readable whatever it is.
    public var compression = BlockCompression.none
    /// Where memtables take their memory.
    public var allocator = AllocatorKind.arena
    /// Size of the first level below level 0 at which it is compacted further; deeper ones are ten times as large each.
    public var levelBaseBytes: UInt64 = 256 << 20
    /// Size at which a compaction begins the next table.
    public var tableBytes: UInt64 = 64 << 20
    /// Tables in level 0 that make a compaction due.
    public var level0Trigger = 4
    /// Tables in level 0 from which on writers are delayed.
    public var level0Slow = 20
    /// Tables in level 0 at which ``LSMStore/needsBackpressure`` turns true.
    public var level0Stop = 36
    /// Draws a new store's own number and the skip lists' heights. The same seed and writes give the same files; give
    /// each real store another one, so that a block of one is never taken for a block of another.
    public var seed: UInt64 = 0x5354_5241_5441

    /// Smallest ``memtableBytes`` that makes sense.
    public static let memtableBytesMin = 16 << 10

    public init() {}

    /// What the budget leaves for cached blocks beside full memtables and `pinned` bytes of indexes and filters, those
    /// of memtables included.
    func cacheBytes(pinned: Int) -> Int {
        max(0, memoryBudgetBytes - (sealedMemtablesMax + 1) * memtableBytes - pinned)
    }
}
