// A position in one sorted run: a memtable, a table, or all tables of a deeper level one after another. Moves both
// ways. For one thread; what it shows is valid until it moves. It must never keep more than one block of its run in
// memory.
internal import FileIO

struct RunCursor: ~Copyable {
    private(set) var isValid = false
    private(set) var trailer: UInt64 = 0
    private var keyStart: UnsafeRawPointer
    private var keyCount = 0

    private let memtable: MemTable?
    private var node: SkipListNode = 0

    /// Sorted and disjoint.
    private let tables: [Table]
    private var tableNumber = 0
    private var blockNumber = 0
    private var row = 0
    private var view: BlockView?
    private var block: BlockPin?
    private var walk = TableWalk()
    /// False for readers that go through everything once.
    private let keepsBlocks: Bool
    /// The current key in one piece: rows hold only what follows the block's shared prefix.
    private var keyMemory: UnsafeMutableRawBufferPointer

    private static let keyMemoryBytes = 256

    init(_ memtable: MemTable) {
        keepsBlocks = false
        self.memtable = memtable
        tables = []
        keyMemory = .allocate(byteCount: Self.keyMemoryBytes, alignment: 16)
        keyStart = UnsafeRawPointer(keyMemory.baseAddress.unsafelyUnwrapped)  // never empty
    }

    init(_ tables: [Table], keepsBlocks: Bool = false) {
        self.keepsBlocks = keepsBlocks
        memtable = nil
        self.tables = tables
        keyMemory = .allocate(byteCount: Self.keyMemoryBytes, alignment: 16)
        keyStart = UnsafeRawPointer(keyMemory.baseAddress.unsafelyUnwrapped)  // never empty
    }

    deinit {
        keyMemory.deallocate()
    }

    var key: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: keyStart, count: keyCount) }

    var value: UnsafeRawBufferPointer {
        if let memtable { return memtable.list.value(of: node) }
        return view?.value(row) ?? UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// Moves to the first version of the first key that is `key` or greater.
    mutating func seek(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        if let memtable { return show(memtable.list.firstNode(from: key), of: memtable) }
        let number = tables.partitioningIndex { !$0.metadata.lies(before: key) }
        guard number < tables.count else { return end() }
        try load(firstBlock(of: number, for: key), of: number, forward: true)
        guard isValid, tableNumber == number, let view else { return }
        row = view.lowerBound(key)
        // The separator can be greater than the block's last key.
        if row == view.count { try load(blockNumber + 1, of: number, forward: true) } else { showRow() }
    }

    /// Moves to the last version in front of `key`'s versions.
    mutating func seekBefore(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        if let memtable { return show(memtable.list.lastNode(before: key), of: memtable) }
        // The last table that starts before the key has it, if any table has.
        let number = tables.partitioningIndex { $0.metadata.smallest.withUnsafeBytes { compare($0, key) } >= 0 } - 1
        guard number >= 0 else { return end() }
        let first = try firstBlock(of: number, for: key)
        try load(min(first, tables[number].blockCount - 1), of: number, forward: false)
        guard isValid, tableNumber == number, let view else { return }
        row = view.lowerBound(key) - 1
        if row < 0 { try load(blockNumber - 1, of: number, forward: false) } else { showRow() }
    }

    mutating func seekToFirst() throws(StorageError) {
        if let memtable { return show(memtable.list.firstNode, of: memtable) }
        try load(0, of: 0, forward: true)
    }

    mutating func seekToLast() throws(StorageError) {
        if let memtable { return show(memtable.list.lastNode, of: memtable) }
        guard let last = tables.last else { return end() }
        try load(last.blockCount - 1, of: tables.count - 1, forward: false)
    }

    mutating func next() throws(StorageError) {
        if let memtable { return show(memtable.list.node(after: node), of: memtable) }
        row &+= 1
        guard let view, row < view.count else { return try load(blockNumber + 1, of: tableNumber, forward: true) }
        showRow()
    }

    mutating func previous() throws(StorageError) {
        if let memtable { return show(memtable.list.node(before: node), of: memtable) }
        row &-= 1
        guard row >= 0 else { return try load(blockNumber - 1, of: tableNumber, forward: false) }
        showRow()
    }

    private mutating func firstBlock(
        of number: Int, for key: UnsafeRawBufferPointer
    ) throws(StorageError) -> Int {
        try tables[number].firstBlock(for: key, keeping: keepsBlocks, &walk)
    }

    /// Lets go of all blocks; to be called while their cache is still there.
    mutating func end() {
        leaveBlock()
        walk.end()
    }

    private mutating func leaveBlock() {
        isValid = false
        view = nil
        block = nil
        keyCount = 0
    }

    private mutating func show(_ node: SkipListNode, of memtable: MemTable) {
        self.node = node
        isValid = node != 0
        guard isValid else { return }
        let key = memtable.list.key(of: node)
        keyStart = key.baseAddress ?? keyStart
        keyCount = key.count
        trailer = memtable.list.trailer(of: node)
    }

    /// Shows a block's first or last row; a number outside the table means the neighbouring table.
    private mutating func load(_ number: Int, of table: Int, forward: Bool) throws(StorageError) {
        var number = number
        var table = table
        while tables.indices.contains(table), number < 0 || number >= tables[table].blockCount {
            table += forward ? 1 : -1
            number = forward || table < 0 ? 0 : tables[table].blockCount - 1
        }
        leaveBlock()
        guard tables.indices.contains(table) else { return end() }
        let next = try tables[table].readBlock(number, keeping: keepsBlocks, &walk)
        let fresh = try tables[table].view(next, block: number)
        block = consume next
        view = fresh
        tableNumber = table
        blockNumber = number
        row = forward ? 0 : fresh.count - 1
        isValid = true
        copyPrefix(fresh)
        showRow()
    }

    private mutating func copyPrefix(_ view: BlockView) {
        ensureKeyRoom(view.prefix.count)
        keyMemory.copyMemory(from: view.prefix)
    }

    private mutating func ensureKeyRoom(_ count: Int) {
        guard count > keyMemory.count else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: count * 2, alignment: 16)
        larger.copyMemory(from: UnsafeRawBufferPointer(keyMemory))
        keyMemory.deallocate()
        keyMemory = larger
    }

    private mutating func showRow() {
        guard let view else { return }
        let suffix = view.suffix(row)
        let prefix = view.prefix.count
        keyCount = prefix &+ suffix.count
        ensureKeyRoom(keyCount)
        let start = keyMemory.baseAddress.unsafelyUnwrapped  // never empty
        if let source = suffix.baseAddress, suffix.count > 0 {
            (start + prefix).copyMemory(from: source, byteCount: suffix.count)
        }
        keyStart = UnsafeRawPointer(start)
        trailer = view.trailer(row)
    }
}

extension Array {
    /// The first index whose element satisfies `belongs`, in an array where all that do come last.
    func partitioningIndex(_ belongs: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if belongs(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
