// The key-value store as its front ends (HTTP, RESP, gRPC) see it: keys and values, no sockets, no Raft. Completions
// run on an engine thread: they must not block, and hop elsewhere before doing real work.
public import Cluster

/// How fresh a read has to be.
public enum ReadConsistency: Hashable, Sendable {
    /// Sees every write acknowledged before the read began (ReadIndex).
    case linearizable
    /// As linearizable, answered by the leader alone while its lease holds. Rests on clocks of nearly equal speed.
    case lease
    /// Whatever this node has applied.
    case stale
    /// As stale, but only on a node that heard its leader within so many milliseconds.
    case bounded(milliseconds: UInt32)
}

/// Bounds of keys and values.
public enum KeyValueLimits {
    public static let keyBytesMax = 64 * 1024
    /// A value travels in one Raft entry.
    public static let valueBytesMax = 16 * 1024 * 1024
    /// Keys of one deletion that counts them; each costs a read of the store where it is applied.
    public static let keysPerDeleteMax = 1024
    /// Keys that begin so are the store's own (client sessions); users' keys may not.
    public static let reservedPrefix: [UInt8] = [0x00, 0xFF] + Array("strata".utf8) + [0x00]
}

/// A change of one key.
public enum KeyValueWrite: Hashable, Sendable {
    /// Stores a value. Success carries the store's revision: it grows with every write, from 1.
    case put(key: [UInt8], value: [UInt8])
    /// Removes a key; removing a missing key is a success. Success carries the revision.
    case delete(key: [UInt8])
    /// Adds to the decimal number that the key holds, 0 when there is none. Success carries the new number as the bits
    /// of an Int64; a value that is no number is refused and stays.
    case increment(key: [UInt8], by: Int64)
    /// Removes keys, all at one moment. Success carries how many of them existed; a key that is named twice counts
    /// once. At most ``KeyValueLimits/keysPerDeleteMax`` keys.
    case deleteCounting(keys: [[UInt8]])

    /// The key; the first one of several.
    public var key: [UInt8] {
        switch self {
        case .put(let key, _), .delete(let key), .increment(let key, _): key
        case .deleteCounting(let keys): keys.first ?? []
        }
    }
}

/// The replicated store. On a follower each call is forwarded to the leader.
public protocol KeyValueService: AnyObject, Sendable {
    /// Changes a key.
    /// - Parameter session: makes it safe to send the same write again: it is applied once, and every attempt gets the
    ///   first one's answer. nil: an attempt whose answer was lost may have been applied.
    func write(
        _ write: KeyValueWrite, session: WriteSequence?,
        completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void)

    /// Opens a session. Success carries its client number. A session that nobody uses ends after an hour, or earlier
    /// when more than ``SessionLimits/sessionsMax`` are open.
    func openSession(completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void)

    /// Ends a session; one that is unknown is ended already.
    func closeSession(_ client: UInt64, completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void)

    /// Reads a key; nil when it does not exist.
    func get(
        key: [UInt8], consistency: ReadConsistency,
        completion: @escaping @Sendable (Result<[UInt8]?, RequestError>) -> Void)
}

extension KeyValueService {
    /// Stores a value, without a session.
    public func put(
        key: [UInt8], value: [UInt8], completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void
    ) {
        write(.put(key: key, value: value), session: nil, completion: completion)
    }

    /// Removes a key, without a session.
    public func delete(key: [UInt8], completion: @escaping @Sendable (Result<UInt64, RequestError>) -> Void) {
        write(.delete(key: key), session: nil, completion: completion)
    }
}
