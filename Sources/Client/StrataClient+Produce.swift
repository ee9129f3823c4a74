// Writing records: one request, one answer. For many, see PartitionProducer.
internal import Foundation
internal import GRPCCore
internal import StrataProtocol

/// What a producer waits for.
public enum Acknowledgement: Hashable, Sendable {
    case none, leader, quorum

    var message: Strata_V1_Acks {
        switch self {
        case .none: .none
        case .leader: .leader
        case .quorum: .quorum
        }
    }
}

public struct OutgoingRecord: Hashable, Sendable {
    public var key: [UInt8]?
    public var value: [UInt8]?

    public init(key: [UInt8]? = nil, value: [UInt8]?) {
        self.key = key
        self.value = value
    }
}

/// Where a batch landed.
public struct BatchReceipt: Hashable, Sendable {
    public var baseOffset: UInt64
    public var recordCount: UInt32
}

extension StrataClient {
    /// Appends records as one batch.
    /// - Parameter isIdempotent: the caller does not mind finding them twice, so unknown outcomes are retried too.
    public func produce(
        topic: String, partition: UInt32, records: [OutgoingRecord], acks: Acknowledgement = .quorum,
        isIdempotent: Bool = false
    ) async throws(ClientError) -> BatchReceipt {
        var request = Strata_V1_ProduceRequest()
        request.records = records.map { record in
            var message = Strata_V1_Record()
            if let key = record.key { message.key = Data(key) }
            if let value = record.value { message.value = Data(value) }
            return message
        }
        return try await produce(request, topic, partition, acks, isIdempotent)
    }

    /// Appends one Kafka record batch v2, stored as it is but for its offset and epoch.
    public func produce(
        topic: String, partition: UInt32, batch: [UInt8], acks: Acknowledgement = .quorum, isIdempotent: Bool = false
    ) async throws(ClientError) -> BatchReceipt {
        var request = Strata_V1_ProduceRequest()
        request.recordBatch = Data(batch)
        return try await produce(request, topic, partition, acks, isIdempotent)
    }

    private func produce(
        _ request: Strata_V1_ProduceRequest, _ topic: String, _ partition: UInt32, _ acks: Acknowledgement,
        _ isIdempotent: Bool
    ) async throws(ClientError) -> BatchReceipt {
        var request = request
        request.topic = topic
        request.partition = partition
        request.acks = acks.message
        let unsent = request
        let deadline = newDeadline
        let first = try await leader(topic, partition, until: deadline)
        return try await retrying(first: first, until: deadline, isRepeatable: isIdempotent) {
            (address, options) async -> Attempt<BatchReceipt> in
            // The server gives up when this attempt does.
            var message = unsent
            message.timeoutMs = options.timeout.map(Self.milliseconds) ?? 0
            let sent = SentFlag()
            let response: Strata_V1_ProduceResponse
            do {
                response = try await self.pool.connection(to: address).once(
                    message, Strata_V1_LogBroker.Method.Produce.descriptor, options: options, sent: sent)
            } catch {
                return self.judge(error, from: address, wasSent: sent.isSet, isIdempotent: isIdempotent)
            }
            guard let error = ClientError(response.error, response.errorMessage) else {
                self.routing.learn(topic, partition, address)
                return .done(BatchReceipt(baseOffset: response.baseOffset, recordCount: response.recordCount))
            }
            let leader = response.hasLeaderHint ? response.leaderHint.address : nil
            self.routing.learn(topic, partition, leader)
            let isRetryable = error.code == .unavailable || error.code == .unknown && isIdempotent
            return isRetryable ? .retry(error, leader: leader) : .failed(error)
        }
    }

    /// At least 1, because a server takes 0 for its own default.
    static func milliseconds(_ duration: Duration) -> UInt32 {
        let (seconds, attoseconds) = duration.components
        return UInt32(clamping: max(seconds * 1000 + attoseconds / 1_000_000_000_000_000, 1))
    }
}
