// How much log a node keeps behind its state's files, and how fast it sends those files to a member that needs more.

/// Tuning of log compaction and of snapshot transfer. Times in nanoseconds.
public struct SnapshotSettings: Sendable, Hashable {
    /// Bytes of log that stay for members that lag, whatever the state's files cover; whole segments are dropped.
    public var logRetainedBytes: UInt64 = 256 << 20
    /// Bytes of log that a leader keeps at most for a member that is alive and lags further.
    public var logRetainedForLiveBytes: UInt64 = 1 << 30
    /// How often the log is looked at.
    public var compactionInterval: UInt64 = 1_000_000_000
    /// Bytes of a file in one message. A piece wakes a dozen threads on its way; more of them would cost more than they
    /// carry.
    public var chunkBytes = 512 << 10
    /// Bytes that one write hands to the disk: a small sync waits for what is before it.
    public var writeBytes = 512 << 10
    /// Bytes sent and not yet acknowledged. Small, so that a piece is still near the processor at each of its stations
    /// and the disk never has many before a small sync; enough for ``bytesPerSecond`` over 20 ms there and back.
    public var windowBytes = 3 << 20
    /// Bytes of files sent in a second, to all members together.
    public var bytesPerSecond: UInt64 = 128 << 20
    /// Bytes received between two syncs of a file, so that the disk is never given a mountain at once.
    public var syncBytes: UInt64 = 8 << 20
    /// Silence after which the offer is repeated.
    public var retryInterval: UInt64 = 1_000_000_000
    /// Silence after which a transfer is given up.
    public var timeout: UInt64 = 10_000_000_000
    /// How long a checkpoint is kept for the next member that needs it, or for the next try; the same for received
    /// files.
    public var checkpointLifetime: UInt64 = 30_000_000_000
    public init() {}
}
