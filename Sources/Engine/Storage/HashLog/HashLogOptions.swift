// The knobs of the hash log. Each has one reader; defaults are those that the benchmarks are run with.
public import Memory

public struct HashLogOptions: Sendable, Hashable {
    /// A data file is sealed once it holds this many bytes; the batch that crosses the border still goes into it.
    public var fileBytes = 128 << 20
    /// Bytes collected in memory before they are written to the data file.
    public var writeBufferBytes = 256 << 10
    /// Sealed files without a checkpoint at which ``HashLogStore/needsBackpressure`` turns true.
    public var sealedFilesMax = 2
    /// Share of dead bytes from which a file is merged.
    public var mergeDeadShare = 0.5
    /// Bytes of input that one call of ``HashLogStore/performMaintenance()`` merges.
    public var mergeStepBytes = 1 << 20
    /// Where the index takes its memory.
    public var allocator = AllocatorKind.arena
    /// Draws a new store's own number; give each real store another one.
    public var seed: UInt64 = 0x5354_5241_5441

    /// Offsets in a file are 32 bits; a batch may cross the border.
    public static let fileBytesMax = 1 << 30
    /// Encoded bytes of one batch: with a full file still below 32 bits.
    public static let batchBytesMax = 1 << 30

    public init() {}
}
