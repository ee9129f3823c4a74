// The services that front ends hold from the first moment on, while the node behind them is still forming or opening.
// Until it is there, every request gets a clear "not yet, nothing was written".
import Broker
import Cluster
import KeyValue
import Storage
import StrataNode
import Synchronization

final class ServiceGate: Sendable {
    private let services = Mutex<NodeRuntime.Services?>(nil)
    private let directory: PeerDirectory

    init(directory: PeerDirectory) {
        self.directory = directory
    }

    func open(_ services: NodeRuntime.Services) {
        self.services.withLock { $0 = services }
    }

    /// The node behind the gate has started.
    var isOpen: Bool { current != nil }

    fileprivate var current: NodeRuntime.Services? { services.withLock { $0 } }

    private var notYet: RequestError {
        .unavailable(directory.cluster == nil ? directory.formingSentence : "the node is starting")
    }
}

extension ServiceGate: KeyValueService {
    func write(
        _ write: KeyValueWrite, session: WriteSequence?,
        completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.keyValue.write(write, session: session, completion: completion)
    }

    func openSession(completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        guard let current else { return completion(.failure(notYet)) }
        current.keyValue.openSession(completion: completion)
    }

    func closeSession(_ client: UInt64, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        guard let current else { return completion(.failure(notYet)) }
        current.keyValue.closeSession(client, completion: completion)
    }

    func get(
        key: [UInt8], consistency: ReadConsistency,
        completion: @escaping @Sendable (Result<[UInt8]?, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.keyValue.get(key: key, consistency: consistency, completion: completion)
    }
}

extension ServiceGate: BrokerService {
    func createTopic(
        name: String, partitions: UInt32, ifNotExists: Bool,
        completion: @escaping @Sendable (Result<Void, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.broker.createTopic(
            name: name, partitions: partitions, ifNotExists: ifNotExists, completion: completion)
    }

    func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.broker.produce(
            topic: topic, partition: partition, batch: batch, acks: acks, completion: completion)
    }

    func fetch(
        topic: String, partition: UInt32, offset: UInt64, maxBytes: Int, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<FetchedBatches, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.broker.fetch(
            topic: topic, partition: partition, offset: offset, maxBytes: maxBytes,
            waitMilliseconds: waitMilliseconds, completion: completion)
    }

    func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.broker.produce(
            topic: topic, partition: partition, batch: batch, acks: acks, waitMilliseconds: waitMilliseconds,
            completion: completion)
    }

    func offsets(
        topic: String, partition: UInt32,
        completion: @escaping @Sendable (Result<PartitionOffsets, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.broker.offsets(topic: topic, partition: partition, completion: completion)
    }

    func describe(
        topics: [String], waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ClusterDescription, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.broker.describe(topics: topics, waitMilliseconds: waitMilliseconds, completion: completion)
    }

    func describe() -> ClusterDescription {
        if let current { return current.broker.describe() }
        return ClusterDescription(
            clusterID: directory.cluster?.id ?? "", members: directory.view.members.map(\.memberAddress),
            controller: nil, topics: [])
    }
}

extension ServiceGate: ClusterAdministration {
    func overview(completion: @escaping @Sendable (Result<ClusterOverview, RequestError>) -> Void) {
        guard let current else { return completion(.failure(notYet)) }
        current.administration.overview(completion: completion)
    }

    func change(_ command: MembershipCommand, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        guard let current else { return completion(.failure(notYet)) }
        current.administration.change(command, completion: completion)
    }

    func transfer(
        group: GroupID?, to name: String, completion: @escaping @Sendable (Result<Int, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.administration.transfer(group: group, to: name, completion: completion)
    }
}

extension ServiceGate: ClusterApplicants {
    var applicants: [Member] { directory.applicants }
}

extension ServiceGate: NodeStatusService {
    func status() -> NodeStatus {
        if let current { return current.status.status() }
        let isFormed = directory.cluster != nil
        return NodeStatus(
            nodeID: directory.member.name, clusterID: directory.cluster?.id ?? "",
            state: isFormed ? "starting" : "forming", term: 0, commitIndex: 0, logLength: 0, leader: nil,
            isLeader: false, isHealthy: false,
            problem: isFormed ? "the node is starting" : directory.formingSentence)
    }
}

extension ServiceGate: StateHashService {
    func stateHash(
        group: GroupID, index: UInt64?, from: UInt64?, unless isOver: @escaping @Sendable () -> Bool,
        completion: @escaping @Sendable (Result<GroupStateHash, RequestError>) -> Void
    ) {
        guard let current else { return completion(.failure(notYet)) }
        current.stateHash.stateHash(
            group: group, index: index, from: from, unless: isOver, completion: completion)
    }
}

extension ServiceGate {
    /// What the store's memory is used for, for metrics; nil before it is open.
    var storeMemory: StoreMemory? { current?.store.memory }

    /// The states of all groups, for metrics.
    var groups: [(group: GroupID, status: GroupStatus)] { current?.statuses.all ?? [] }

    /// Groups that are out of service on this node.
    var outages: [GroupOutage] { current?.statuses.outages ?? [] }

    /// Nil until the node is open.
    var snapshots: SnapshotCounters? { current?.snapshots }
}
