// Topics: making them, listing them, finding who leads their partitions.
internal import GRPCCore
internal import StrataProtocol

/// A partition as a server described it.
public struct PartitionInfo: Hashable, Sendable {
    public var partition: UInt32
    /// host:port of the leader's gRPC listener; nil while there is none.
    public var leader: String?
    public var logStartOffset: UInt64
    /// First offset that is not committed yet.
    public var highWatermark: UInt64
    /// Why the node that was asked can't serve its replica, as one sentence; nil when it can.
    public var problem: String?
}

public struct TopicInfo: Hashable, Sendable {
    public var name: String
    public var partitions: [PartitionInfo]
}

extension StrataClient {
    /// Creates a topic; one that exists already is a success unless `failIfExists` is set.
    public func createTopic(
        _ name: String, partitions: UInt32, failIfExists: Bool = false
    ) async throws(ClientError) {
        var request = Strata_V1_CreateTopicRequest()
        request.name = name
        request.partitions = partitions
        request.ifNotExists = !failIfExists
        let message = request
        try await retrying(first: nil, until: newDeadline, isRepeatable: !failIfExists) {
            (address, options) async -> Attempt<Void> in
            let response: Strata_V1_CreateTopicResponse
            do {
                response = try await self.broker(address).createTopic(message, options: options)
            } catch {
                return self.judge(error, from: address, wasSent: true, isIdempotent: !failIfExists)
            }
            guard let error = ClientError(response.error, response.errorMessage) else {
                return .done(())
            }
            let leader = response.hasLeaderHint ? response.leaderHint.address : nil
            // A creation of unknown outcome may simply be asked for again when an existing topic is a success.
            let isRetryable = error.code == .unavailable || error.code == .unknown && !failIfExists
            return isRetryable ? .retry(error, leader: leader) : .failed(error)
        }
    }

    /// The topics with these names, or all.
    public func topics(_ names: [String] = []) async throws(ClientError) -> [TopicInfo] {
        try await topics(names, until: newDeadline)
    }

    private func topics(
        _ names: [String], until deadline: ContinuousClock.Instant
    ) async throws(ClientError) -> [TopicInfo] {
        var request = Strata_V1_FetchMetadataRequest()
        request.topics = names
        let message = request
        let response = try await retrying(first: nil, until: deadline) {
            (address, options) async -> Attempt<Strata_V1_FetchMetadataResponse> in
            do {
                return .done(try await self.broker(address).fetchMetadata(message, options: options))
            } catch {
                return self.judge(error, from: address, wasSent: true, isIdempotent: true)
            }
        }
        let topics = response.topics.map { topic in
            TopicInfo(
                name: topic.name,
                partitions: topic.partitions.map { partition in
                    PartitionInfo(
                        partition: partition.partition, leader: partition.hasLeader ? partition.leader.address : nil,
                        logStartOffset: partition.logStartOffset, highWatermark: partition.highWatermark,
                        problem: partition.problem.isEmpty ? nil : partition.problem)
                })
        }
        for topic in topics {
            for partition in topic.partitions { routing.learn(topic.name, partition.partition, partition.leader) }
        }
        return topics
    }

    /// Where the leader of a partition is believed to be; asks the cluster when nothing is known.
    /// - Returns: nil when the topic exists but the partition has no leader now.
    func leader(
        _ topic: String, _ partition: UInt32, until deadline: ContinuousClock.Instant
    ) async throws(ClientError) -> String? {
        if let known = routing.leader(topic, partition) { return known }
        guard let info = try await topics([topic], until: deadline).first(where: { $0.name == topic }) else {
            throw ClientError(.unknownTopic, "there is no topic '\(topic)'; create it first")
        }
        guard let found = info.partitions.first(where: { $0.partition == partition }) else {
            throw ClientError(.unknownTopic, "topic '\(topic)' has no partition \(partition)")
        }
        return found.leader
    }

    /// The offset behind everything that is committed now, as the partition's leader says.
    func endOffset(
        _ topic: String, _ partition: UInt32, until deadline: ContinuousClock.Instant
    ) async throws(ClientError) -> UInt64 {
        var request = Strata_V1_FetchMetadataRequest()
        request.topics = [topic]
        let message = request
        let first = try await leader(topic, partition, until: deadline)
        return try await retrying(first: first, until: deadline) { (address, options) async -> Attempt<UInt64> in
            let response: Strata_V1_FetchMetadataResponse
            do {
                response = try await self.broker(address).fetchMetadata(message, options: options)
            } catch {
                return self.judge(error, from: address, wasSent: true, isIdempotent: true)
            }
            let partitions = response.topics.first { $0.name == topic }?.partitions
            guard let found = partitions?.first(where: { $0.partition == partition }) else {
                return .failed(ClientError(.unknownTopic, "there is no partition \(partition) of a topic '\(topic)'"))
            }
            guard found.hasLeader else {
                return .retry(ClientError(.unavailable, "\(topic)-\(partition) has no leader now"), leader: nil)
            }
            self.routing.learn(topic, partition, found.leader.address)
            // What a follower has applied may end before what is committed.
            guard found.leader.address == address else {
                let text = "\(topic)-\(partition) is led by \(found.leader.address), which could not be asked"
                return .retry(ClientError(.unavailable, text), leader: found.leader.address)
            }
            return .done(found.highWatermark)
        }
    }
}
