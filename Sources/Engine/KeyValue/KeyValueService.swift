// The key-value store as its front ends (HTTP, RESP, gRPC) see it: keys and values, no sockets, no Raft. Completions run
// on an engine thread: they must not block, and hop elsewhere before doing real work.
public import Cluster

/// How fresh a read has to be.
public enum ReadConsistency: Hashable, Sendable {
    /// Sees every write acknowledged before the read began (ReadIndex).
    case linearizable
    /// Whatever this node has applied.
    case stale
}

/// Bounds of keys and values.
public enum KeyValueLimits {
    public static let keyBytesMax = 64 * 1024
    /// A value travels in one Raft entry.
    public static let valueBytesMax = 16 * 1024 * 1024
}

/// The replicated store. On a follower each call is forwarded to the leader.
public protocol KeyValueService: AnyObject, Sendable {
    /// Stores a value. Success carries the store's revision: 1 for the first write ever, counting every write.
    func put(
        key: [UInt8], value: [UInt8], completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void)

    /// Removes a key; removing a missing key is a success. Success carries the revision.
    func delete(key: [UInt8], completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void)

    /// Reads a key; nil when it does not exist.
    func get(
        key: [UInt8], consistency: ReadConsistency,
        completion: @escaping @Sendable (Result<[UInt8]?, RequestError>) -> Void)
}
