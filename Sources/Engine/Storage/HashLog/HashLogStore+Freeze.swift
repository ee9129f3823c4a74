// A moment of the hash log: a copy of the slots and the files, which stay open and readable. Taking it copies 32 bytes
// for each key under the store's lock; that is what a hash index costs.
internal import Synchronization

extension HashLogStore {
    public func freeze() -> any FrozenStore {
        let (slots, files) = frozen()
        return FrozenHashLog(slots: slots, files: files)
    }
}

private struct FrozenHashLog: FrozenStore {
    let slots: [KeySlot]
    let files: FrozenFiles

    func hash(apart prefix: [UInt8], unless isCancelled: () -> Bool) throws(StorageError) -> StoreHash? {
        var files = files
        var hash = StoreHash()
        var seen: UInt64 = 0
        for (key, slot) in try files.sortedKeys(slots, where: { _ in true }) {
            if seen.isMultiple(of: Self.entriesPerLook), isCancelled() { return nil }
            seen += 1
            let value = try files.value(slot)
            key.withUnsafeBytes { key in value.withUnsafeBytes { hash.add(key, $0, apart: prefix) } }
        }
        return hash
    }
}
