// Reading: point lookups, iterators, scans, and the hash over everything that replicas compare. No lock is held while
// reading.

extension LSMStore {
    public func get(_ key: [UInt8]) throws(StorageError) -> [UInt8]? {
        try key.withRawBytes { (key) throws(StorageError) in try get(key) }
    }

    public func get(_ key: UnsafeRawBufferPointer) throws(StorageError) -> [UInt8]? {
        let reader = views.enter()
        defer { views.leave(reader) }
        let sequence = lastSequence
        return try reader.borrow { (view) throws(StorageError) in try view.find(key, sequence: sequence) }
    }

    /// Shows the newest value of a key without making an array of it: `body` runs once, with bytes that are valid until
    /// it returns, or not at all.
    ///
    /// The point read for those who only look or copy to a place of their own. `body` should be short: old memtables
    /// and files wait for it.
    /// - Returns: whether the key has a value.
    public func withValue(
        of key: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(StorageError) -> Bool {
        let reader = views.enter()
        defer { views.leave(reader) }
        let sequence = lastSequence
        return try reader.borrow { (view) throws(StorageError) in
            try view.withValue(of: key, sequence: sequence, body)
        }
    }

    /// The value that a key had at the snapshot's moment.
    public func get(_ key: [UInt8], at snapshot: Snapshot) throws(StorageError) -> [UInt8]? {
        let reader = views.enter()
        defer { views.leave(reader) }
        return try key.withRawBytes { (key) throws(StorageError) in
            try reader.borrow { (view) throws(StorageError) in try view.find(key, sequence: snapshot.sequence) }
        }
    }

    /// Pins the present: see ``Snapshot``.
    public func snapshot() -> Snapshot {
        snapshots.take { lastSequence }
    }

    /// Stands nowhere until it is told to seek.
    public func makeIterator(_ options: IteratorOptions = IteratorOptions()) -> StoreIterator {
        let view = currentView()
        return StoreIterator(view, sequence: options.snapshot?.sequence ?? lastSequence, options: options)
    }

    public func scan(from: [UInt8], to: [UInt8]?, limit: Int) throws(StorageError) -> [KeyValue] {
        var entries = makeIterator(IteratorOptions(lower: from, upper: to))
        var found: [KeyValue] = []
        guard limit > 0 else { return found }
        try entries.seekToFirst()
        while found.count < limit, entries.isValid {
            found.append((key: [UInt8](entries.key), value: [UInt8](entries.value)))
            try entries.next()
        }
        return found
    }

    public func stateHash() throws(StorageError) -> UInt64 {
        var entries = makeIterator()
        var hash: UInt64 = 0
        try entries.seekToFirst()
        while entries.isValid {
            StoreHash.mix(&hash, entries.key, entries.value)
            try entries.next()
        }
        return hash
    }
}
