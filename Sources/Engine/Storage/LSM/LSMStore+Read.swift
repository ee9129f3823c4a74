// Reading: point lookups, scans, and the hash over everything that replicas compare. No lock is held while reading.

extension LSMStore {
    public func get(_ key: [UInt8]) throws(StorageError) -> [UInt8]? {
        try key.withRawBytes { (key) throws(StorageError) in try get(key) }
    }

    public func get(_ key: UnsafeRawBufferPointer) throws(StorageError) -> [UInt8]? {
        let view = currentView()
        return try view.find(key, sequence: lastSequence)
    }

    public func scan(from: [UInt8], to: [UInt8]?, limit: Int) throws(StorageError) -> [KeyValue] {
        let view = currentView()
        var cursor = MergeCursor(view, sequence: lastSequence)
        var found: [KeyValue] = []
        try from.withRawBytes { (from) throws(StorageError) in try cursor.seek(from) }
        while found.count < limit, let entry = cursor.entry {
            if let to, to.withUnsafeBytes({ compare(entry.key, $0) }) >= 0 { break }
            found.append((key: [UInt8](entry.key), value: [UInt8](entry.value)))
            try cursor.next()
        }
        return found
    }

    public func stateHash() throws(StorageError) -> UInt64 {
        let view = currentView()
        var cursor = MergeCursor(view, sequence: lastSequence)
        var hash: UInt64 = 0
        try cursor.seek(UnsafeRawBufferPointer(start: nil, count: 0))
        while let entry = cursor.entry {
            // The order matters, so that a value under the wrong key shows.
            hash = (hash &* 0x9e37_79b9_7f4a_7c15) ^ keyHash(entry.key)
            hash = (hash &* 0x9e37_79b9_7f4a_7c15) ^ keyHash(entry.value)
            try cursor.next()
        }
        return hash
    }
}
