// A group of writes that becomes visible as one. Its bytes are the payload of a Raft entry as they stand: encoded once,
// the same bytes go to disk, to followers and into the store. The layout is in Docs/Formats/sstable.md.

/// What an operation does to its key.
public enum OperationKind: UInt8, Sendable, Hashable {
    case delete = 0
    case put = 1
    /// Deletes every key from `key` to `value` (excluded).
    case deleteRange = 2
}

/// Writes in the order in which they happen; a later one to the same key wins.
///
/// ```swift
/// var batch = WriteBatch()
/// try batch.put(key: key, value: value)
/// try store.apply(batch, at: position)
/// ```
public struct WriteBatch: Sendable, Hashable {
    /// `u64 sequence (0: not assigned) | u32 count | {u8 kind, varint, key, [varint, value]}*`, little endian. A range
    /// delete has its end in place of the value.
    public private(set) var bytes: [UInt8]
    /// Number of operations.
    public private(set) var count: Int

    static let headerBytes = 12

    public init() {
        bytes = [UInt8](repeating: 0, count: Self.headerBytes)
        count = 0
    }

    /// Takes bytes that came from a log or from the network.
    /// - Throws: ``StorageError/invalidBatch(_:)`` unless every byte is accounted for and every bound is kept.
    /// - Complexity: O(bytes).
    public init(validating bytes: [UInt8]) throws(StorageError) {
        count = try bytes.withRawBytes { (buffer) throws(StorageError) in try Self.validate(buffer) }
        self.bytes = bytes
    }

    public var isEmpty: Bool { count == 0 }

    /// - Throws: ``StorageError/keyTooLong(bytes:)``, ``StorageError/valueTooLong(bytes:)``; the batch is then
    ///   unchanged.
    public mutating func put(key: [UInt8], value: [UInt8]) throws(StorageError) {
        try key.withRawBytes { (key) throws(StorageError) in
            try value.withRawBytes { (value) throws(StorageError) in try put(key: key, value: value) }
        }
    }

    public mutating func put(
        key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer
    ) throws(StorageError) {
        try Self.check(key: key.count, value: value.count)
        bytes.append(OperationKind.put.rawValue)
        bytes.append(lengthPrefixed: key)
        bytes.append(lengthPrefixed: value)
        raiseCount(by: 1)
    }

    /// - Throws: ``StorageError/keyTooLong(bytes:)``; the batch is then unchanged.
    public mutating func delete(key: [UInt8]) throws(StorageError) {
        try key.withRawBytes { (key) throws(StorageError) in try delete(key: key) }
    }

    public mutating func delete(key: UnsafeRawBufferPointer) throws(StorageError) {
        try Self.check(key: key.count, value: 0)
        bytes.append(OperationKind.delete.rawValue)
        bytes.append(lengthPrefixed: key)
        raiseCount(by: 1)
    }

    /// Deletes all keys from `from` to `to` (excluded). An empty range deletes nothing. In the LSM engine its time and
    /// space don't depend on how many keys there are; the hash log looks at every key that it has.
    /// - Throws: ``StorageError/keyTooLong(bytes:)``; the batch is then unchanged.
    public mutating func deleteRange(from: [UInt8], to: [UInt8]) throws(StorageError) {
        try Self.check(key: Swift.max(from.count, to.count), value: 0)
        bytes.append(OperationKind.deleteRange.rawValue)
        bytes.append(lengthPrefixed: from)
        bytes.append(lengthPrefixed: to)
        raiseCount(by: 1)
    }

    /// Adds another batch's operations behind these.
    public mutating func append(contentsOf other: WriteBatch) {
        other.bytes.withUnsafeBytes { buffer in
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[Self.headerBytes...]))
        }
        raiseCount(by: other.count)
    }

    /// Empties the batch, keeping its memory.
    public mutating func removeAll() {
        bytes.removeSubrange(Self.headerBytes...)
        count = 0
        bytes.store(littleEndian: UInt32(0), at: 8)
    }

    private mutating func raiseCount(by added: Int) {
        count += added
        precondition(count < StorageLimits.batchOperationsMax, "a batch of this many operations can't be encoded")
        bytes.store(littleEndian: UInt32(count), at: 8)
    }

    private static func check(key: Int, value: Int) throws(StorageError) {
        guard key <= StorageLimits.keyBytesMax else { throw .keyTooLong(bytes: key) }
        guard value <= StorageLimits.valueBytesMax else { throw .valueTooLong(bytes: value) }
    }

    private static func validate(_ buffer: UnsafeRawBufferPointer) throws(StorageError) -> Int {
        guard buffer.count >= headerBytes else { throw .invalidBatch("\(buffer.count) bytes are less than a header") }
        var cursor = BatchCursor(buffer)
        while let operation = cursor.next() {
            let isRange = operation.kind == .deleteRange
            try check(
                key: isRange ? Swift.max(operation.key.count, operation.value.count) : operation.key.count,
                value: operation.value.count)
        }
        guard cursor.isAtEnd else { throw .invalidBatch("broken operation at byte \(cursor.position)") }
        guard cursor.seen == cursor.count, cursor.count < StorageLimits.batchOperationsMax else {
            throw .invalidBatch("the header counts \(cursor.count) operations, there are \(cursor.seen)")
        }
        return cursor.count
    }
}

extension WriteBatch: Sequence {
    /// One write. `value` is empty for a delete and the end of the range for a range delete.
    public struct Operation: Hashable, Sendable {
        public var kind: OperationKind
        public var key: [UInt8]
        public var value: [UInt8]
    }

    /// Walks copies of the operations in order.
    public struct Iterator: IteratorProtocol {
        private let bytes: [UInt8]
        private var position = WriteBatch.headerBytes

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
        }

        public mutating func next() -> Operation? {
            bytes.withUnsafeBytes { buffer in
                var cursor = BatchCursor(buffer, from: position)
                guard let found = cursor.next() else { return nil }
                position = cursor.position
                return Operation(kind: found.kind, key: [UInt8](found.key), value: [UInt8](found.value))
            }
        }
    }

    public func makeIterator() -> Iterator { Iterator(bytes) }
    public var underestimatedCount: Int { count }
}
