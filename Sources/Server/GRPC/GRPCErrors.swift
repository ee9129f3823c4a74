// How a failed request looks over gRPC. In the broker's unary calls and in ProduceStream an error is data: a code with
// Kafka's number, a sentence, and the leader to ask. Where a response has no room for it (Consume, the key-value calls)
// it is a gRPC status, and the same code and leader travel in the status's metadata.
import Cluster
import GRPCCore
import StrataProtocol

/// Names of the metadata that accompany a failed status.
enum StatusMetadata {
    /// A number of `ErrorCode`.
    static let errorCode = "strata-error"
    /// The node to ask instead, when the asked one does not lead.
    static let leaderID = "strata-leader-id"
    /// host:port of its gRPC listener.
    static let leaderAddress = "strata-leader-address"
    /// Where reading may go on behind a record batch that can't be read.
    static let nextOffset = "strata-next-offset"
}

extension RequestError {
    var code: Strata_V1_ErrorCode {
        switch self {
        case .notLeader: .errorNotLeader
        case .unavailable: .errorNotEnoughReplicas
        case .unknown: .errorRequestTimedOut
        case .storage: .errorStorage
        case .invalid(let what, _):
            switch what {
            case .unknownTopic: .errorUnknownTopicOrPartition
            case .invalidTopicName: .errorInvalidTopic
            case .topicExists: .errorTopicAlreadyExists
            case .invalidPartitions: .errorInvalidPartitions
            case .tooManyPartitions: .errorPolicyViolation
            case .corruptBatch: .errorCorruptMessage
            case .batchTooLarge, .valueTooLong, .keyTooLong: .errorMessageTooLarge
            case .offsetOutOfRange: .errorOffsetOutOfRange
            case .invalidRecord, .emptyKey, .reservedKey, .notAnInteger, .membership: .errorInvalidRecord
            case .sessionExpired: .errorUnknownProducerID
            case .sequenceForgotten: .errorDuplicateSequenceNumber
            }
        }
    }

    /// The node to ask instead.
    var leaderHint: Strata_V1_NodeEndpoint? {
        guard case .notLeader(let leader?) = self else { return nil }
        return Strata_V1_NodeEndpoint(leader)
    }

    /// The failure as a status. UNAVAILABLE and FAILED_PRECONDITION were certainly not applied; after DEADLINE_EXCEEDED
    /// a write may have been.
    var status: RPCError {
        let statusCode: RPCError.Code =
            switch self {
            case .notLeader: .failedPrecondition
            case .unavailable: .unavailable
            case .unknown: .deadlineExceeded
            case .storage: .internalError
            case .invalid(.unknownTopic, _): .notFound
            case .invalid(.topicExists, _): .alreadyExists
            case .invalid(.offsetOutOfRange, _): .outOfRange
            case .invalid(.tooManyPartitions, _): .resourceExhausted
            case .invalid(.sessionExpired, _), .invalid(.sequenceForgotten, _): .aborted
            case .invalid: .invalidArgument
            }
        var metadata: Metadata = [StatusMetadata.errorCode: "\(code.rawValue)"]
        if let leaderHint {
            metadata.addString(leaderHint.id, forKey: StatusMetadata.leaderID)
            metadata.addString(leaderHint.address, forKey: StatusMetadata.leaderAddress)
        }
        return RPCError(code: statusCode, message: "\(self)", metadata: metadata)
    }
}

extension Result where Failure == RequestError {
    /// The value, or the failure as a gRPC status.
    func orStatus() throws(RPCError) -> Success {
        switch self {
        case .success(let value): return value
        case .failure(let error): throw error.status
        }
    }
}

extension Strata_V1_NodeEndpoint {
    init(_ member: MemberAddress) {
        self.init()
        id = member.name
        address = member.address
    }
}
