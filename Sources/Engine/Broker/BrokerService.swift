// The broker as its front ends see it: topics, partitions and record batches, no sockets, no Raft. Completions run on
// an engine thread: they must not block, and hop elsewhere before doing real work.
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
    /// How long a request waits for a leader, a partition that is being opened, or a node that has just started, before
    /// it is refused as "not ready". An election takes a tenth of it.
    public static let readyWaitMilliseconds: UInt32 = 2000
}

/// Which offsets of a partition can be read.
public struct PartitionOffsets: Hashable, Sendable {
    public var logStartOffset: UInt64
    /// First offset that is not committed.
    public var highWatermark: UInt64
    public init(logStartOffset: UInt64, highWatermark: UInt64) {
        self.logStartOffset = logStartOffset
        self.highWatermark = highWatermark
    }
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

    /// The node's current picture; immediate. A node that has just started knows no topic yet.
    func describe() -> ClusterDescription

    /// Appends one record batch as above, and waits while no leader of the partition is known.
    /// - Parameter waitMilliseconds: how long to wait for a leader, for the partition to be opened here, or for this
    ///   node to know whether the topic exists; then the answer is `unavailable`, and nothing was written.
    func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void)

    /// The node's picture, once it is known not to be older than this node's start; what it says of the topics that are
    /// named covers everything that was created before the call. `unavailable` when that can't be had in time.
    /// - Parameter topics: those that the answer is about; empty means all.
    func describe(
        topics: [String], waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ClusterDescription, RequestError>) -> Void)

    /// Which offsets of a partition can be read now; answers like
    /// ``fetch(topic:partition:offset:maxBytes:waitMilliseconds:completion:)`` on a node that does not lead.
    func offsets(
        topic: String, partition: UInt32,
        completion: @escaping @Sendable (Result<PartitionOffsets, RequestError>) -> Void)
}

/// What a broker does that is always ready.
extension BrokerService {
    public func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void
    ) {
        produce(topic: topic, partition: partition, batch: batch, acks: acks, completion: completion)
    }

    public func describe(
        topics: [String], waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ClusterDescription, RequestError>) -> Void
    ) {
        completion(.success(describe()))
    }

    public func offsets(
        topic: String, partition: UInt32,
        completion: @escaping @Sendable (Result<PartitionOffsets, RequestError>) -> Void
    ) {
        guard let found = describe().topics.first(where: { $0.name == topic }) else {
            return completion(.failure(.invalid(.unknownTopic, "there is no topic '\(topic)'; create it first")))
        }
        guard let partition = found.partitions.first(where: { $0.partition == partition }) else {
            return completion(
                .failure(
                    .invalid(
                        .unknownTopic,
                        "topic '\(topic)' has no partition \(partition); it has \(found.partitions.count)")))
        }
        completion(
            .success(
                PartitionOffsets(logStartOffset: partition.logStartOffset, highWatermark: partition.highWatermark)))
    }
}
