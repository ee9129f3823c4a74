// The broker as its front ends see it: topics, partitions and record batches, no sockets, no Raft. Completions run on an
// engine thread: they must not block, and hop elsewhere before doing real work.
public import Cluster

/// What a producer waits for.
public enum Acks: Hashable, Sendable {
    /// Nothing: the batch may be lost.
    case none
    /// In the leader's log; lost if the leader's machine is.
    case leader
    /// Durable on a majority.
    case quorum
}

/// Bounds of the broker.
public enum BrokerLimits {
    public static let topicNameBytesMax = 249
    public static let partitionsPerTopicMax = 256
    /// One record batch, which is one Raft entry.
    public static let batchBytesMax = 8 * 1024 * 1024
    public static let fetchBytesMax = 8 * 1024 * 1024
}

/// Where a batch landed.
public struct ProduceReceipt: Hashable, Sendable {
    /// Offset of its first record; 0 for `Acks.none`, which waits for nothing.
    public var baseOffset: UInt64
    public var recordCount: UInt32
    public init(baseOffset: UInt64, recordCount: UInt32) {
        self.baseOffset = baseOffset
        self.recordCount = recordCount
    }
}

/// What a fetch found: whole record batches (Kafka v2), back to back. The first may begin below the asked offset.
public struct FetchedBatches: Sendable {
    public var bytes: [UInt8]
    /// Offset to ask for next.
    public var nextOffset: UInt64
    /// First offset that is not committed yet; nothing at or above it is ever returned.
    public var highWatermark: UInt64
    public var logStartOffset: UInt64
    public init(bytes: [UInt8], nextOffset: UInt64, highWatermark: UInt64, logStartOffset: UInt64) {
        self.bytes = bytes
        self.nextOffset = nextOffset
        self.highWatermark = highWatermark
        self.logStartOffset = logStartOffset
    }
}

public struct PartitionDescription: Hashable, Sendable {
    public var partition: UInt32
    public var leader: MemberAddress?
    public var term: UInt64
    public var replicas: [String]
    public var logStartOffset: UInt64
    public var highWatermark: UInt64
    /// Why the node that answers can't serve its replica; nil when it can.
    public var problem: String?
    public init(
        partition: UInt32, leader: MemberAddress?, term: UInt64, replicas: [String], logStartOffset: UInt64,
        highWatermark: UInt64, problem: String? = nil
    ) {
        self.problem = problem
        self.partition = partition
        self.leader = leader
        self.term = term
        self.replicas = replicas
        self.logStartOffset = logStartOffset
        self.highWatermark = highWatermark
    }
}

public struct TopicDescription: Hashable, Sendable {
    public var name: String
    public var partitions: [PartitionDescription]
    public init(name: String, partitions: [PartitionDescription]) {
        self.name = name
        self.partitions = partitions
    }
}

/// Everything a client needs to find its way.
public struct ClusterDescription: Hashable, Sendable {
    public var clusterID: String
    public var members: [MemberAddress]
    public var controller: MemberAddress?
    public var topics: [TopicDescription]
    public init(clusterID: String, members: [MemberAddress], controller: MemberAddress?, topics: [TopicDescription]) {
        self.clusterID = clusterID
        self.members = members
        self.controller = controller
        self.topics = topics
    }
}

/// The replicated log broker. `createTopic` is forwarded to the controller's leader; `produce` and `fetch` answer
/// `notLeader` on a follower, naming the leader.
public protocol BrokerService: AnyObject, Sendable {
    /// Creates a topic. With `ifNotExists`, an existing topic is a success whatever its partition count.
    func createTopic(
        name: String, partitions: UInt32, ifNotExists: Bool,
        completion: @escaping @Sendable (Result<Void, RequestError>) -> Void)

    /// Appends one record batch (Kafka v2; checked here). Its base offset and leader epoch are stamped by the leader.
    func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void)

    /// Reads committed batches from an offset. At the end of the log it waits up to `waitMilliseconds` for more, then
    /// answers empty. `offset` above the high watermark or below the log start is `offsetOutOfRange`.
    func fetch(
        topic: String, partition: UInt32, offset: UInt64, maxBytes: Int, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<FetchedBatches, RequestError>) -> Void)

    /// The node's current picture; immediate.
    func describe() -> ClusterDescription
}
