// The broker service of one node: checks requests, finds the group, proposes batches, reads committed ones. Answers
// `notLeader` with the leader's address instead of forwarding data; topic creation is small and is forwarded.
public import Cluster
import Raft
import Records
import Synchronization

public final class ReplicatedBroker: BrokerService {
    private let inbox: HostInbox
    private let topics: TopicTable
    private let statuses: StatusTable
    private let clusterID: String
    private let members: MembershipTable
    private let member: Member
    private let blocking: any BlockingExecutor
    /// Nanoseconds on the clock that `expire` is called with.
    private let clock: @Sendable () -> UInt64

    public init(
        inbox: HostInbox, topics: TopicTable, statuses: StatusTable, clusterID: String, members: MembershipTable,
        member: Member, blocking: any BlockingExecutor, clock: @escaping @Sendable () -> UInt64
    ) {
        self.inbox = inbox
        self.topics = topics
        self.statuses = statuses
        self.clusterID = clusterID
        self.members = members
        self.member = member
        self.blocking = blocking
        self.clock = clock
    }

    public func createTopic(
        name: String, partitions: UInt32, ifNotExists: Bool,
        completion: @escaping @Sendable (Result<Void, RequestError>) -> Void
    ) {
        if let error = BrokerLimits.check(topic: name, partitions: partitions) { return completion(.failure(error)) }
        let command = ControllerCommand.createTopic(name: name, partitions: partitions)
        inbox.post(
            .propose(
                .controller,
                Proposal(payload: command.encoded) { result in
                    switch result {
                    case .success: completion(.success(()))
                    case .failure(.invalid(.topicExists, _)) where ifNotExists: completion(.success(()))
                    case .failure(let error): completion(.failure(error))
                    }
                }))
    }

    public func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void
    ) {
        let found: (group: GroupID, status: GroupStatus)
        let records: UInt32
        do throws(RequestError) {
            found = try leading(topic, partition)
            records = try check(batch)
        } catch {
            return completion(.failure(error))
        }
        let wait: Proposal.Wait = acks == .quorum ? .applied : .appended
        if acks == .none { completion(.success(ProduceReceipt(baseOffset: 0, recordCount: records))) }
        var proposal = Proposal(payload: batch, operations: records, wait: wait, mayForward: false) { result in
            guard acks != .none else { return }
            completion(result.map { ProduceReceipt(baseOffset: $0, recordCount: records) })
        }
        proposal.isChecked = true
        inbox.post(.propose(found.group, proposal))
    }

    public func fetch(
        topic: String, partition: UInt32, offset: UInt64, maxBytes: Int, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<FetchedBatches, RequestError>) -> Void
    ) {
        let local: Partition
        do throws(RequestError) {
            let found = try leading(topic, partition)
            guard let partition = topics.partition(found.group), partition.appliedTerm == found.status.term else {
                throw .unavailable("\(topic)-\(partition) has just changed its leader; try again in a moment")
            }
            local = partition
        } catch {
            return completion(.failure(error))
        }
        let bytes = min(max(maxBytes, 1), BrokerLimits.fetchBytesMax)
        let blocking = blocking
        let read: @Sendable () -> Void = {
            blocking.run {
                do throws(RequestError) {
                    completion(.success(try local.read(from: offset, maxBytes: bytes)))
                } catch {
                    completion(.failure(error))
                }
            }
        }
        if waitMilliseconds > 0, offset == local.highWatermark,
            local.wait(past: offset, deadline: clock() + UInt64(waitMilliseconds) * 1_000_000, read)
        {
            return
        }
        read()
    }

    public func describe() -> ClusterDescription {
        let topics = topics.records.map { record in
            TopicDescription(
                name: record.name,
                partitions: (0..<record.partitions).map { number in
                    describe(number, group: record.group(of: number))
                })
        }
        return ClusterDescription(
            clusterID: clusterID, members: members.current.members.map(\.member.memberAddress),
            controller: leader(of: .controller), topics: topics)
    }

    private func describe(_ number: UInt32, group: GroupID?) -> PartitionDescription {
        let local = group.flatMap { topics.partition($0) }
        return PartitionDescription(
            partition: number, leader: group.flatMap { leader(of: $0) },
            term: group.flatMap { statuses.status(of: $0)?.term } ?? 0,
            replicas: members.current.members.map(\.member.name), logStartOffset: local?.logStartOffset ?? 0,
            highWatermark: local?.highWatermark ?? 0,
            problem: group.flatMap { statuses.outage(of: $0)?.reason })
    }

    private func leader(of group: GroupID) -> MemberAddress? {
        members.address(of: statuses.status(of: group)?.leader)
    }

    /// The group of a partition that this node leads.
    private func leading(
        _ topic: String, _ partition: UInt32
    ) throws(RequestError) -> (group: GroupID, status: GroupStatus) {
        guard let record = topics.record(topic) else {
            if let outage = statuses.outage(of: .controller) { throw outage.error }
            throw .invalid(
                .unknownTopic, "there is no topic \(topic) on \(member.name); create it first, or list the topics")
        }
        guard let group = record.group(of: partition) else {
            throw .invalid(
                .unknownTopic,
                "topic \(topic) has partitions 0 to \(record.partitions - 1), there is no partition \(partition)")
        }
        guard let status = statuses.status(of: group) else {
            if let outage = statuses.outage(of: group) { throw outage.error }
            throw .unavailable("\(topic)-\(partition) is just being opened; try again in a moment")
        }
        guard status.role == .leader else { throw .notLeader(leader: leader(of: group)) }
        return (group, status)
    }

    private func check(_ batch: [UInt8]) throws(RequestError) -> UInt32 {
        guard batch.count <= BrokerLimits.batchBytesMax else {
            throw .invalid(
                .batchTooLarge,
                "the batch has \(batch.count) bytes; at most \(BrokerLimits.batchBytesMax) are allowed, send smaller ones"
            )
        }
        do throws(RecordsError) {
            return UInt32(try RecordBatchView(validating: batch).count)
        } catch {
            throw .invalid(.corruptBatch, "the record batch is malformed: \(error)")
        }
    }
}
