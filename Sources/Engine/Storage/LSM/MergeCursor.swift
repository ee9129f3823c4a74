// Walks all sources of a view as one sorted map, showing of each key the newest version that its sequence may see, and
// nothing of deleted keys. For one thread; what it shows is valid until it moves.

/// One sorted run of versions.
private enum MergeSource {
    case memtable(MemTable, SkipListNode)
    case table(TableCursor)

    var isValid: Bool {
        switch self {
        case .memtable(_, let node): node != 0
        case .table(let cursor): cursor.isValid
        }
    }

    var key: UnsafeRawBufferPointer {
        switch self {
        case .memtable(let memtable, let node): memtable.list.key(of: node)
        case .table(let cursor): cursor.key
        }
    }

    var trailer: UInt64 {
        switch self {
        case .memtable(let memtable, let node): memtable.list.trailer(of: node)
        case .table(let cursor): cursor.trailer
        }
    }

    var value: UnsafeRawBufferPointer {
        switch self {
        case .memtable(let memtable, let node): memtable.list.value(of: node)
        case .table(let cursor): cursor.value
        }
    }

    mutating func next() throws(StorageError) {
        switch self {
        case .memtable(let memtable, let node): self = .memtable(memtable, memtable.list.node(after: node))
        case .table(let cursor): try cursor.next()
        }
    }

    mutating func seek(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        switch self {
        case .memtable(let memtable, _): self = .memtable(memtable, memtable.list.firstNode(from: key))
        case .table(let cursor): try cursor.seek(key)
        }
    }
}

struct MergeCursor {
    private var sources: [MergeSource]
    /// The source that shows the current entry.
    private var current: Int?
    private let sequence: UInt64
    /// Keeps memory and files alive.
    private let view: ReadView
    private var lastKey: [UInt8] = []

    init(_ view: ReadView, sequence: UInt64) {
        self.view = view
        self.sequence = sequence
        sources = [.memtable(view.active, 0)]
        sources += view.sealed.reversed().map { .memtable($0.table, 0) }
        for tables in view.version.levels { sources += tables.map { .table(TableCursor($0)) } }
    }

    /// The current entry, or nil at the end.
    var entry: (key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)? {
        guard let current else { return nil }
        return (sources[current].key, sources[current].value)
    }

    /// Moves to the first live key that is `key` or greater.
    mutating func seek(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        for number in sources.indices { try sources[number].seek(key) }
        try settle(after: false)
    }

    mutating func next() throws(StorageError) {
        guard let current else { return }
        remember(sources[current].key)
        try sources[current].next()
        try settle(after: true)
    }

    private mutating func remember(_ key: UnsafeRawBufferPointer) {
        lastKey.removeAll(keepingCapacity: true)
        lastKey.append(contentsOf: key)
    }

    /// Finds the next version to show, from where the sources stand. `after`: versions of `lastKey` are done with.
    private mutating func settle(after: Bool) throws(StorageError) {
        var hasLast = after
        while let least = leastSource() {
            let done = hasLast && lastKey.withUnsafeBytes { compare($0, sources[least].key) } == 0
            let trailer = sources[least].trailer
            if !done, trailer >> 8 <= sequence {
                if trailer & 0xff != UInt64(OperationKind.delete.rawValue) {
                    current = least
                    return
                }
                remember(sources[least].key)
                hasLast = true
            }
            try sources[least].next()
        }
        current = nil
    }

    /// The source whose version comes first in the order of keys and versions.
    private func leastSource() -> Int? {
        var least: Int?
        for number in sources.indices where sources[number].isValid {
            guard let best = least else {
                least = number
                continue
            }
            let order = compare(sources[number].key, sources[best].key)
            if order < 0 || order == 0 && sources[number].trailer > sources[best].trailer { least = number }
        }
        return least
    }
}
