// Why a request failed, in the only distinction that lets a caller act rightly: nothing was written, nobody knows, or
// the request itself is wrong.
internal import StrataProtocol

/// A failed request.
public struct ClientError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Hashable, Sendable {
        /// Nothing was written; retries up to the deadline did not help.
        case unavailable
        /// The request may have been carried out. Not retried, unless the caller said that this does no harm.
        case unknown
        /// The request is wrong and would fail again.
        case invalid
        case unknownTopic
        case topicExists
        case offsetOutOfRange
        /// A stored record batch can't be read. ``ClientError/nextOffset`` says where reading may go on.
        case corruptBatch
        /// The session that the write belonged to is over: nothing was written by this attempt.
        case sessionExpired
        /// The server's storage failed.
        case storage
        /// The client was closed.
        case closed
    }

    public var code: Code
    /// What happened and what to do.
    public var description: String
    /// With ``Code/corruptBatch``: the first offset behind the batch that can't be read.
    public var nextOffset: UInt64?

    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    /// What the broker answered, or nil for success.
    init?(_ code: Strata_V1_ErrorCode, _ message: String) {
        switch code {
        case .errorNone: return nil
        case .errorNotLeader, .errorNotEnoughReplicas: self.init(.unavailable, message)
        case .errorRequestTimedOut: self.init(.unknown, message)
        case .errorUnknownTopicOrPartition: self.init(.unknownTopic, message)
        case .errorTopicAlreadyExists: self.init(.topicExists, message)
        case .errorOffsetOutOfRange: self.init(.offsetOutOfRange, message)
        case .errorUnknownProducerID: self.init(.sessionExpired, message)
        case .errorDuplicateSequenceNumber: self.init(.unknown, message)
        case .errorStorage: self.init(.storage, message)
        case .errorCorruptMessage, .errorMessageTooLarge, .errorInvalidTopic, .errorInvalidPartitions,
            .errorInvalidRecord, .errorPolicyViolation:
            self.init(.invalid, message)
        case .UNRECOGNIZED(let number):
            self.init(.unknown, "error \(number), which this client does not know: \(message)")
        }
    }
}
