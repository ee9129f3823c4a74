// A moment of the LSM store: a snapshot keeps the versions that it sees, so it costs the writers nothing.

extension LSMStore {
    public func freeze() -> any FrozenStore {
        FrozenLSM(store: self, snapshot: snapshot())
    }
}

private struct FrozenLSM: FrozenStore {
    let store: LSMStore
    let snapshot: Snapshot

    func hash(apart prefix: [UInt8], unless isCancelled: () -> Bool) throws(StorageError) -> StoreHash? {
        var entries = store.makeIterator(IteratorOptions(snapshot: snapshot))
        var hash = StoreHash()
        try entries.seekToFirst()
        var seen: UInt64 = 0
        while entries.isValid {
            if seen.isMultiple(of: Self.entriesPerLook), isCancelled() { return nil }
            seen += 1
            hash.add(entries.key, entries.value, apart: prefix)
            try entries.next()
        }
        return hash
    }
}
