// Why a client's request failed, in the only distinction that lets a client act rightly: certainly not applied (safe to
// retry), unknown (may have been applied), or wrong in itself (never retry).

/// A failed client request.
public enum RequestError: Error, Hashable, Sendable {
    /// Not applied: this node does not lead the group. `leader` is the node to ask, when known.
    case notLeader(leader: MemberAddress?)
    /// Not applied: no leader, no quorum, shutting down, or too busy. Safe to retry.
    case unavailable(String)
    /// The request was handed to the log and its fate is not known: it may still be applied.
    case unknown(String)
    /// The request itself is wrong; the sentence says what and how to mend it.
    case invalid(Invalid, String)
    /// The node's storage failed.
    case storage(String)

    public enum Invalid: Hashable, Sendable {
        case emptyKey, keyTooLong, valueTooLong
        case unknownTopic, invalidTopicName, topicExists, invalidPartitions
        case corruptBatch, batchTooLarge, offsetOutOfRange
        /// A batch that came as it was sent, and can't be stored: its records contradict its header, for example.
        case invalidRecord
        /// The cluster holds as many partitions as its nodes have descriptors for.
        case tooManyPartitions
        case reservedKey, notAnInteger, sessionExpired, sequenceForgotten
        /// A change of the members that the cluster can't make.
        case membership
    }
}

/// Where a member can be reached.
public struct MemberAddress: Hashable, Sendable {
    /// The member's name, as given with `--id`.
    public var name: String
    /// host:port of its gRPC listener.
    public var address: String
    public init(name: String, address: String) {
        self.name = name
        self.address = address
    }
}

extension RequestError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notLeader(let leader?): "this node does not lead; ask \(leader.name) at \(leader.address)"
        case .notLeader(nil): "no leader is known yet; try again in a moment"
        case .unavailable(let why): "unavailable, nothing was written: \(why)"
        case .unknown(let why): "outcome unknown, the write may have been applied: \(why)"
        case .invalid(_, let why): why
        case .storage(let why): "storage failed: \(why)"
        }
    }
}
