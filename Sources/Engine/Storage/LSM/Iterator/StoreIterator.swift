// Walks the live keys of one moment in both directions: of each key the newest version that the moment may see, and
// nothing of deleted keys. It pins the files and memtables that it started with, so nothing that happens later shows.

/// A cursor over the store. For one thread; ``key`` and ``value`` are valid until it moves.
///
/// ```swift
/// var entries = try store.makeIterator(IteratorOptions(prefix: Array("user:".utf8)))
/// try entries.seekToFirst()
/// while entries.isValid { use(entries.key, entries.value); try entries.next() }
/// ```
public struct StoreIterator: ~Copyable {
    /// True while it stands on an entry.
    public private(set) var isValid = false
    private var merge: RunMerge
    private let sequence: UInt64
    private let lower: [UInt8]
    private let upper: [UInt8]?
    /// Keeps memory, files and old versions alive.
    private let view: ReadView
    private let snapshot: Snapshot?
    private let rangeDeletes: [RangeTombstones]
    private var backward = false
    /// The key that was shown last, or the deleted one that is being passed over; backward also the shown value.
    private var lastKey = KeyMemory()
    private var hasLast = false
    private var backValue = KeyMemory()

    init(_ view: ReadView, sequence: UInt64, options: IteratorOptions) {
        self.view = view
        self.sequence = sequence
        snapshot = options.snapshot
        lower = options.lower
        upper = options.upper
        rangeDeletes = view.rangeDeletes
        merge = RunMerge(
            memtables: [view.active] + view.sealed.reversed().map { $0.table }, tables: view.version.runs,
            keepsBlocks: true)
    }

    /// The current key. Only while ``isValid``.
    public var key: UnsafeRawBufferPointer {
        backward ? lastKey.bytes : merge.key
    }

    /// The current value. Only while ``isValid``.
    public var value: UnsafeRawBufferPointer {
        backward ? backValue.bytes : merge.value
    }

    public mutating func seekToFirst() throws(StorageError) {
        try lower.withRawBytes { (lower) throws(StorageError) in try seek(lower) }
    }

    /// To the first live key that is `key` or greater, within the bounds.
    public mutating func seek(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        backward = false
        hasLast = false
        if lower.withUnsafeBytes({ compare(key, $0) }) < 0 {
            try lower.withRawBytes { (lower) throws(StorageError) in try merge.seek(lower) }
        } else {
            try merge.seek(key)
        }
        try settle()
    }

    public mutating func seek(_ key: [UInt8]) throws(StorageError) {
        try key.withRawBytes { (key) throws(StorageError) in try seek(key) }
    }

    public mutating func seekToLast() throws(StorageError) {
        if let upper {
            try upper.withRawBytes { (upper) throws(StorageError) in try merge.seekBefore(upper) }
        } else {
            try merge.seekToLast()
        }
        backward = true
        try settleBackward()
    }

    /// To the last live key that is less than `key`, within the bounds.
    public mutating func seekBefore(_ key: [UInt8]) throws(StorageError) {
        if let upper, !key.lexicographicallyPrecedes(upper) { return try seekToLast() }
        try key.withRawBytes { (key) throws(StorageError) in try merge.seekBefore(key) }
        backward = true
        try settleBackward()
    }

    /// To the next live key. Only while ``isValid``.
    public mutating func next() throws(StorageError) {
        guard isValid else { return }
        if backward {
            backward = false
            try merge.seek(lastKey.bytes)
        } else {
            lastKey.set(merge.key)
            try merge.advance()
        }
        hasLast = true
        try settle()
    }

    /// To the live key in front. Only while ``isValid``.
    public mutating func previous() throws(StorageError) {
        guard isValid else { return }
        if !backward {
            lastKey.set(merge.key)
            try merge.seekBefore(lastKey.bytes)
            backward = true
        }
        try settleBackward()
    }

    /// From where the merge stands to the next version to show. Versions of `lastKey` are done with when `hasLast`.
    private mutating func settle() throws(StorageError) {
        isValid = false
        while merge.isValid {
            let key = merge.key
            let trailer = merge.trailer
            if trailer >> 8 > sequence || hasLast && compare(lastKey.bytes, key) == 0 {
                try merge.advance()
                continue
            }
            if let upper, upper.withUnsafeBytes({ compare(key, $0) }) >= 0 { return }
            if isLive(key, trailer) {
                isValid = true
                return
            }
            lastKey.set(key)
            hasLast = true
            try merge.advance()
        }
    }

    /// Backward a key's versions come oldest first: the last visible one of them decides.
    private mutating func settleBackward() throws(StorageError) {
        isValid = false
        while merge.isValid {
            lastKey.set(merge.key)
            if lower.withUnsafeBytes({ compare(lastKey.bytes, $0) }) < 0 { return }
            var newest: UInt64?
            while merge.isValid, compare(lastKey.bytes, merge.key) == 0 {
                if merge.trailer >> 8 <= sequence {
                    newest = merge.trailer
                    backValue.set(merge.value)
                }
                try merge.advance()
            }
            guard let newest, isLive(lastKey.bytes, newest) else { continue }
            isValid = true
            return
        }
    }

    private func isLive(_ key: UnsafeRawBufferPointer, _ trailer: UInt64) -> Bool {
        if trailer & 0xff == UInt64(OperationKind.delete.rawValue) { return false }
        for deletes in rangeDeletes where deletes.newest(over: key, upTo: sequence) > trailer >> 8 { return false }
        return true
    }
}

/// What an iterator shows.
public struct IteratorOptions: Sendable {
    /// First key, included.
    public var lower: [UInt8] = []
    /// Where it ends, excluded; nil: no end.
    public var upper: [UInt8]?
    /// The moment; nil: the present.
    public var snapshot: Snapshot?

    public init(lower: [UInt8] = [], upper: [UInt8]? = nil, snapshot: Snapshot? = nil) {
        self.lower = lower
        self.upper = upper
        self.snapshot = snapshot
    }

    /// Only keys that begin with `prefix`.
    public init(prefix: [UInt8], snapshot: Snapshot? = nil) {
        lower = prefix
        self.snapshot = snapshot
        // The first key behind all of them: the last byte that can grow grows, what follows it goes.
        var end = prefix
        while end.last == .max { end.removeLast() }
        if let last = end.popLast() {
            end.append(last + 1)
            upper = end
        }
    }
}
