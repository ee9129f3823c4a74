// How many snapshots a node has sent and received; written by the host's thread, read by whoever shows metrics.
import Synchronization

/// Counts since the node was started.
public final class SnapshotCounters: Sendable {
    private let sentCount = Atomic<UInt64>(0)
    private let receivedCount = Atomic<UInt64>(0)
    private let failedCount = Atomic<UInt64>(0)
    private let sentByteCount = Atomic<UInt64>(0)
    private let receivedByteCount = Atomic<UInt64>(0)
    private let compactionCount = Atomic<UInt64>(0)

    public init() {}

    /// Snapshots that another member has installed.
    public var sent: UInt64 { sentCount.load(ordering: .relaxed) }
    /// Snapshots installed here.
    public var received: UInt64 { receivedCount.load(ordering: .relaxed) }
    /// Transfers that ended without an installed snapshot, in either direction.
    public var failed: UInt64 { failedCount.load(ordering: .relaxed) }
    /// Bytes of files handed to the network.
    public var bytesSent: UInt64 { sentByteCount.load(ordering: .relaxed) }
    /// Bytes of files written after they were received.
    public var bytesReceived: UInt64 { receivedByteCount.load(ordering: .relaxed) }
    /// Times that a log was cut at its beginning.
    public var compactions: UInt64 { compactionCount.load(ordering: .relaxed) }

    func noteSent() { sentCount.wrappingAdd(1, ordering: .relaxed) }
    func noteReceived() { receivedCount.wrappingAdd(1, ordering: .relaxed) }
    func noteFailed() { failedCount.wrappingAdd(1, ordering: .relaxed) }
    func note(sentBytes count: Int) { sentByteCount.wrappingAdd(UInt64(count), ordering: .relaxed) }
    func note(receivedBytes count: Int) { receivedByteCount.wrappingAdd(UInt64(count), ordering: .relaxed) }
    func noteCompaction() { compactionCount.wrappingAdd(1, ordering: .relaxed) }
}
