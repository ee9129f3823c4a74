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
    private let budget: ProduceBudget
    /// This node has applied the controller's log up to something that was confirmed after its start, so its list of
    /// topics is no older than that.
    private let hasCaughtUp = Atomic<Bool>(false)

    /// How long a reader waits to learn whether a topic exists, in nanoseconds.
    private static let confirmationPatience = UInt64(BrokerLimits.readyWaitMilliseconds) * 1_000_000

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
        budget = ProduceBudget(clock: clock)
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
        produce(
            topic: topic, partition: partition, batch: batch, acks: acks, waitMilliseconds: 0, completion: completion)
    }

    public func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acks, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ProduceReceipt, RequestError>) -> Void
    ) {
        let records: UInt32
        do throws(RequestError) {
            records = try BrokerLimits.check(batch: batch)
        } catch {
            return completion(.failure(error))
        }
        let patience = UInt64(waitMilliseconds) * 1_000_000
        locate(topic, partition, patience: patience, completion) { [self] group in
            if let error = refusal(of: group, topic, partition, patience: patience) {
                return completion(.failure(error))
            }
            budget.enter(bytes: batch.count) { [self] in
                if acks == .none { completion(.success(ProduceReceipt(baseOffset: 0, recordCount: records))) }
                propose(batch, of: records, to: group, acks: acks, patience: patience) { result in
                    guard acks != .none else { return }
                    completion(result.map { ProduceReceipt(baseOffset: $0, recordCount: records) })
                }
            } refuse: {
                completion(.failure($0))
            }
        }
    }

    /// Proposes a batch that the budget has room for.
    private func propose(
        _ batch: [UInt8], of records: UInt32, to group: GroupID, acks: Acks, patience: UInt64,
        completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        let (budget, count) = (budget, batch.count)
        var proposal = Proposal(
            payload: batch, operations: records, wait: acks == .quorum ? .applied : .appended, mayForward: false,
            leaderPatience: patience
        ) { result in
            completion(result)
            budget.leave(bytes: count)
        }
        proposal.isChecked = true
        inbox.post(.propose(group, proposal))
    }

    /// Refuses batches that have waited for their turn for too long. Called every few milliseconds.
    public func expireWaiting(now: UInt64) { budget.expire(now: now) }

    /// Why a batch for this group need not be posted to the host; nil also when the host may still find a leader in
    /// time.
    private func refusal(
        of group: GroupID, _ topic: String, _ partition: UInt32, patience: UInt64
    ) -> RequestError? {
        guard let status = statuses.status(of: group) else {
            if let outage = statuses.outage(of: group) { return outage.error }
            return patience > 0 ? nil : Self.opening(topic, partition)
        }
        guard status.role != .leader, status.leader != nil || patience == 0 else { return nil }
        return .notLeader(leader: leader(of: group))
    }

    public func fetch(
        topic: String, partition: UInt32, offset: UInt64, maxBytes: Int, waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<FetchedBatches, RequestError>) -> Void
    ) {
        locate(topic, partition, patience: Self.confirmationPatience, completion) { [self] group in
            do throws(RequestError) {
                let local = try readable(group, topic, partition)
                fetch(local, offset, maxBytes, waitMilliseconds, completion)
            } catch {
                completion(.failure(error))
            }
        }
    }

    private func fetch(
        _ local: Partition, _ offset: UInt64, _ maxBytes: Int, _ waitMilliseconds: UInt32,
        _ completion: @escaping @Sendable (Result<FetchedBatches, RequestError>) -> Void
    ) {
        let bytes = min(max(maxBytes, 1), BrokerLimits.fetchBytesMax)
        let blocking = blocking
        let read: @Sendable () -> Void = {
            let isTaken = blocking.offer {
                do throws(RequestError) {
                    completion(.success(try local.read(from: offset, maxBytes: bytes)))
                } catch {
                    completion(.failure(error))
                }
            }
            if !isTaken { completion(.failure(.tooManyReads)) }
        }
        if waitMilliseconds > 0, offset == local.highWatermark,
            local.wait(past: offset, deadline: clock() + UInt64(waitMilliseconds) * 1_000_000, read)
        {
            return
        }
        read()
    }

    public func offsets(
        topic: String, partition: UInt32,
        completion: @escaping @Sendable (Result<PartitionOffsets, RequestError>) -> Void
    ) {
        locate(topic, partition, patience: Self.confirmationPatience, completion) { [self] group in
            do throws(RequestError) {
                let local = try readable(group, topic, partition)
                completion(
                    .success(
                        PartitionOffsets(logStartOffset: local.logStartOffset, highWatermark: local.highWatermark)))
            } catch {
                completion(.failure(error))
            }
        }
    }

    public func describe(
        topics names: [String], waitMilliseconds: UInt32,
        completion: @escaping @Sendable (Result<ClusterDescription, RequestError>) -> Void
    ) {
        let isKnown = names.allSatisfy { topics.record($0) != nil }
        if isKnown, !names.isEmpty || hasCaughtUp.load(ordering: .acquiring) { return completion(.success(describe())) }
        catchUp(patience: UInt64(waitMilliseconds) * 1_000_000) { [self] result in
            completion(result.map { describe() })
        }
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
        // A leader that can't serve yet is none: its high watermark is still that of a follower.
        let isNew = group.flatMap { statuses.status(of: $0) }.map {
            $0.role == .leader && local?.appliedTerm != $0.term
        }
        return PartitionDescription(
            partition: number, leader: isNew == true ? nil : group.flatMap { leader(of: $0) },
            term: group.flatMap { statuses.status(of: $0)?.term } ?? 0,
            replicas: members.current.members.map(\.member.name), logStartOffset: local?.logStartOffset ?? 0,
            highWatermark: local?.highWatermark ?? 0,
            problem: group.flatMap { statuses.outage(of: $0)?.reason })
    }

    private func leader(of group: GroupID) -> MemberAddress? {
        members.address(of: statuses.status(of: group)?.leader)
    }

    /// Finds the group of a partition and goes on with it. A topic that this node does not know is unknown only when
    /// the node has applied all that the controller had committed at this moment: it may have just started, or the
    /// topic may have been created on another node an instant ago.
    private func locate<Value: Sendable>(
        _ topic: String, _ partition: UInt32, patience: UInt64,
        _ completion: @escaping @Sendable (Result<Value, RequestError>) -> Void,
        _ found: @escaping @Sendable (GroupID) -> Void
    ) {
        if let record = topics.record(topic) { return locate(record, partition, completion, found) }
        catchUp(patience: patience) { [self] result in
            if case .failure(let error) = result { return completion(.failure(error)) }
            if let record = topics.record(topic) { return locate(record, partition, completion, found) }
            completion(
                .failure(
                    .invalid(
                        .unknownTopic,
                        "there is no topic \(topic) on \(member.name); create it first, or list the topics"
                    )))
        }
    }

    private func locate<Value: Sendable>(
        _ record: TopicRecord, _ partition: UInt32,
        _ completion: @Sendable (Result<Value, RequestError>) -> Void, _ found: @Sendable (GroupID) -> Void
    ) {
        if let group = record.group(of: partition) { return found(group) }
        let last = record.partitions - 1
        completion(
            .failure(
                .invalid(
                    .unknownTopic,
                    "topic \(record.name) has partitions 0 to \(last), there is no partition \(partition)")))
    }

    /// Waits until this node has applied everything that the controller had committed when it was asked.
    private func catchUp(patience: UInt64, _ completion: @escaping @Sendable (Result<Void, RequestError>) -> Void) {
        let read = ReadRequest(.confirmed, patience: patience) { [self] result in
            switch result {
            case .success:
                hasCaughtUp.store(true, ordering: .releasing)
                completion(.success(()))
            case .failure:
                if let outage = statuses.outage(of: .controller) { return completion(.failure(outage.error)) }
                completion(
                    .failure(
                        .unavailable(
                            "\(member.name) is not ready: it could not confirm in time which topics there are; try again"
                        )))
            }
        }
        inbox.post(.read(.controller, read))
    }

    /// A partition that this node leads and can answer for: it has applied an entry of its own leadership, so that its
    /// high watermark is the true one.
    private func readable(
        _ group: GroupID, _ topic: String, _ number: UInt32
    ) throws(RequestError) -> Partition {
        guard let status = statuses.status(of: group) else {
            throw statuses.outage(of: group)?.error ?? Self.opening(topic, number)
        }
        guard status.role == .leader else { throw .notLeader(leader: leader(of: group)) }
        guard let partition = topics.partition(group), partition.appliedTerm == status.term else {
            throw .unavailable("\(topic)-\(number) has just changed its leader; try again in a moment")
        }
        return partition
    }

    private static func opening(_ topic: String, _ partition: UInt32) -> RequestError {
        .unavailable("\(topic)-\(partition) is just being opened; try again in a moment")
    }
}

extension BrokerLimits {
    /// What every batch must pass before it is proposed, wherever it comes from.
    /// - Returns: its number of records.
    /// - Throws: `batchTooLarge`; `corruptBatch` when bytes were lost or changed on their way; `invalidRecord` when
    ///   they say what a producer must not say.
    public static func check(batch: [UInt8]) throws(RequestError) -> UInt32 {
        guard batch.count <= batchBytesMax else {
            throw .invalid(
                .batchTooLarge,
                "the batch has \(batch.count) bytes; at most \(batchBytesMax) are allowed, send smaller ones")
        }
        do throws(RecordsError) {
            return UInt32(try RecordBatchView.admitting(batch).count)
        } catch {
            throw error.code.isDamage
                ? .invalid(.corruptBatch, "the record batch is malformed: \(error)")
                : .invalid(.invalidRecord, "the record batch is refused: \(error)")
        }
    }
}
