// What a host counts of itself, for metrics: written by the host's thread, read by any. Totals only grow; the others
// are as of the last tick.
import Raft
public import Synchronization

public final class HostCounters: Sendable {
    /// Times that a group of this node stood for election, and times that it won.
    public let candidacies = Atomic<UInt64>(0)
    public let leaderships = Atomic<UInt64>(0)
    /// Gaps between turns that were longer than a few ticks.
    public let pauses = Atomic<UInt64>(0)
    /// Times that the log's disk was stuck.
    public let storageStalls = Atomic<UInt64>(0)
    /// The loss time in force: what was set, or more where the network needs it.
    public let lossMilliseconds = Atomic<UInt64>(0)
    /// 1 while the store's background work makes no progress although writers wait for it.
    public let maintenanceStalled = Atomic<UInt64>(0)
    /// Commands that clients were told are committed, by this node as leader.
    public let committedCommands = Atomic<UInt64>(0)
    public let reads = Atomic<UInt64>(0)
    public let leaseReads = Atomic<UInt64>(0)
    /// Bytes of messages handed to the transport since the start, by the peer's name.
    public let peerBytes = Mutex<[String: UInt64]>([:])
    /// Time for which proposals were held back because the store is behind.
    public let heldNanoseconds = Atomic<UInt64>(0)
    /// Requests that wait: for a leader, for a quorum, for the store.
    public let waitingRequests = Atomic<UInt64>(0)
    /// Bytes of entries that were sent to followers and not acknowledged.
    public let bytesInFlight = Atomic<UInt64>(0)
    public let groupsAwake = Atomic<UInt64>(0)

    public init() {}

    static func add(_ amount: UInt64 = 1, to counter: borrowing Atomic<UInt64>) {
        counter.add(amount, ordering: .relaxed)
    }
}

extension ClusterHost {
    /// Once a tick: what only the host's thread can sum up.
    func refreshCounters() {
        var waiting = parked.count + forwarded.count
        var bytes = 0
        for group in schedule.awake {
            waiting += group.proposals.count + group.pending.reduce(0) { $0 + $1.proposals.count }
            waiting += group.confirming.reduce(0) { $0 + $1.requests.count }
            if group.core.role == .leader { bytes += group.core.bytesInFlight }
        }
        inbox.counters.waitingRequests.store(UInt64(waiting), ordering: .relaxed)
        inbox.counters.bytesInFlight.store(UInt64(bytes), ordering: .relaxed)
        inbox.counters.groupsAwake.store(UInt64(schedule.awake.count), ordering: .relaxed)
        refreshPeerBytes()
    }

    private func refreshPeerBytes() {
        let members = members.current.members.map(\.member)
        let sent = outbox.bytesSent
        inbox.counters.peerBytes.withLock { counts in
            for (peer, bytes) in sent {
                guard let member = members.first(where: { $0.id == peer }) else { continue }
                counts[member.name] = bytes
            }
        }
    }
}
