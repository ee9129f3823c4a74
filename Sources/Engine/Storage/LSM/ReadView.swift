// What a read sees: the memtable being filled, the sealed ones, and the tables. Immutable, replaced as a whole, kept alive
// by its readers. Every reader takes the view first and the sequence second: then everything acknowledged before the read
// is in it.

final class ReadView: Sendable {
    let active: MemTable
    /// Oldest first.
    let sealed: [SealedMemTable]
    let version: Version

    init(active: MemTable, sealed: [SealedMemTable], version: Version) {
        self.active = active
        self.sealed = sealed
        self.version = version
    }

    /// This view with other tables.
    func with(version: Version) -> ReadView {
        ReadView(active: active, sealed: sealed, version: version)
    }

    /// Of all sources that have any.
    var rangeDeletes: [RangeTombstones] {
        var found = version.rangeDeletes
        if let own = active.deletes.fragments { found.append(own) }
        for memtable in sealed {
            if let own = memtable.table.deletes.fragments { found.append(own) }
        }
        return found
    }

    func find(_ key: UnsafeRawBufferPointer, sequence: UInt64) throws(StorageError) -> [UInt8]? {
        var lookup = active.find(key, sequence: sequence)
        if case .absent = lookup {
            for memtable in sealed.reversed() {
                lookup = memtable.table.find(key, sequence: sequence)
                if case .absent = lookup { continue }
                break
            }
        }
        if case .absent = lookup {
            lookup = try version.find(key, hash: keyHash(key), sequence: sequence)
        }
        if case .found(let value) = lookup { return value }
        return nil
    }
}
