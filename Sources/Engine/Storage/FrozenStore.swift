// A store as it was at one moment, for work that takes longer than the moment: comparing replicas. It must never hold
// up whoever writes, and nothing that is written later may show in it.

/// A moment of a store; see ``KeyValueStore/freeze()``.
public protocol FrozenStore: Sendable {
    /// Hashes everything that was there, in key order. Reads everything; blocks on the disk.
    /// - Parameters:
    ///   - prefix: keys that begin with it go into a hash of their own.
    ///   - isCancelled: asked now and then; true ends the work.
    /// - Returns: nil when the work was cancelled.
    func hash(apart prefix: [UInt8], unless isCancelled: () -> Bool) throws(StorageError) -> StoreHash?
}

extension FrozenStore {
    /// Hashes everything that was there, however long it takes.
    public func hash(apart prefix: [UInt8]) throws(StorageError) -> StoreHash {
        guard let hash = try hash(apart: prefix, unless: { false }) else {
            preconditionFailure("what is never cancelled ends with a hash")
        }
        return hash
    }

    /// Entries between two looks at whether the work is still wanted.
    static var entriesPerLook: UInt64 { 1024 }
}

/// What replicas compare: equal when they hold the same keys and values, whatever engine and files they have.
public struct StoreHash: Hashable, Sendable {
    /// Over the keys without the prefix.
    public var keys: UInt64 = 0
    /// Over the keys with the prefix.
    public var apart: UInt64 = 0
    /// Keys without the prefix.
    public var count: UInt64 = 0

    public init() {}

    mutating func add(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, apart prefix: [UInt8]) {
        if key.count >= prefix.count, key.prefix(prefix.count).elementsEqual(prefix), !prefix.isEmpty {
            Self.mix(&apart, key, value)
        } else {
            Self.mix(&keys, key, value)
            count += 1
        }
    }

    /// The order matters, so that a value under the wrong key shows.
    static func mix(_ hash: inout UInt64, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        hash = (hash &* 0x9e37_79b9_7f4a_7c15) ^ keyHash(key)
        hash = (hash &* 0x9e37_79b9_7f4a_7c15) ^ keyHash(value)
    }
}
