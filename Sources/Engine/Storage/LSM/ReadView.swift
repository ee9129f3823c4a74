// What a read sees: the memtable being filled, the sealed ones, and the tables. Immutable, replaced as a whole;
// ReadViews keeps it alive for short reads, references for long ones. Every reader takes the view first and the
// sequence second: then everything acknowledged before the read is in it.

final class ReadView: @unchecked Sendable {
    // @unchecked: `searched` is written once, by init.
    let active: MemTable
    /// Oldest first.
    let sealed: [SealedMemTable]
    let version: Version
    /// All memtables, newest first, kept alive by the properties above: going through them counts no references.
    private let searched: UnsafeMutableBufferPointer<Unmanaged<MemTable>>

    init(active: MemTable, sealed: [SealedMemTable], version: Version) {
        self.active = active
        self.sealed = sealed
        self.version = version
        searched = .allocate(capacity: sealed.count + 1)
        searched.initializeElement(at: 0, to: .passUnretained(active))
        for (place, memtable) in sealed.reversed().enumerated() {
            searched.initializeElement(at: place + 1, to: .passUnretained(memtable.table))
        }
    }

    deinit {
        searched.deallocate()
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

    /// What the memtables know about a key.
    enum Recent {
        case absent
        case deleted
        /// The value, valid as long as the view.
        case found(UnsafeRawBufferPointer)
    }

    /// Asks the memtables, newest first.
    /// - Parameter hash: ``keyHash(_:)`` of the key.
    func recent(_ key: UnsafeRawBufferPointer, hash: UInt64, sequence: UInt64) -> Recent {
        var place = 0
        while place < searched.count {
            let answer = searched[place]._withUnsafeGuaranteedRef { memtable -> Recent in
                switch memtable.find(key, hash: hash, sequence: sequence) {
                case .absent: .absent
                case .deleted: .deleted
                case .found(let node): .found(memtable.list.value(of: node))
                }
            }
            if case .absent = answer {
                place &+= 1
                continue
            }
            return answer
        }
        return .absent
    }

    func find(_ key: UnsafeRawBufferPointer, sequence: UInt64) throws(StorageError) -> [UInt8]? {
        let hash = keyHash(key)
        switch recent(key, hash: hash, sequence: sequence) {
        case .found(let value): return [UInt8](value)
        case .deleted: return nil
        case .absent: break
        }
        if case .found(let value) = try version.find(key, hash: hash, sequence: sequence) { return value }
        return nil
    }

    /// Shows the value instead of copying it.
    /// - Returns: false when the key has none; `body` did not run then.
    func withValue(
        of key: UnsafeRawBufferPointer, sequence: UInt64, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(StorageError) -> Bool {
        let hash = keyHash(key)
        switch recent(key, hash: hash, sequence: sequence) {
        case .found(let value):
            body(value)
            return true
        case .deleted: return false
        case .absent: break
        }
        guard case .found(let value) = try version.find(key, hash: hash, sequence: sequence) else { return false }
        value.withUnsafeBytes(body)
        return true
    }
}
