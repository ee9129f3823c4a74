// Walks one table in key order, holding one checked block at a time. For one thread; the key and value it shows are valid
// until it moves.

final class TableCursor {
    private let table: Table
    private var blockNumber: Int
    private var buffer: BlockBuffer?
    private var view: BlockView?
    private var row = 0
    /// The current key in one piece; rows hold only what follows the block's shared prefix.
    private var keyMemory = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 16)
    private var keyCount = 0

    init(_ table: Table) {
        self.table = table
        blockNumber = table.blockCount
    }

    deinit {
        keyMemory.deallocate()
    }

    var isValid: Bool { view != nil }
    var key: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: keyMemory[..<keyCount]) }
    var trailer: UInt64 { view?.trailer(row) ?? 0 }
    var value: UnsafeRawBufferPointer { view?.value(row) ?? UnsafeRawBufferPointer(start: nil, count: 0) }

    /// Moves to the first entry whose key is `key` or greater.
    func seek(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        try load(table.firstBlock(for: key))
        guard let view else { return }
        row = view.lowerBound(key)
        // The separator can be greater than the block's last key.
        if row == view.count { try load(blockNumber + 1) } else { copyKey() }
    }

    func seekToFirst() throws(StorageError) {
        try load(0)
    }

    func next() throws(StorageError) {
        guard let view else { return }
        row += 1
        if row == view.count { try load(blockNumber + 1) } else { copyKey() }
    }

    private func load(_ number: Int) throws(StorageError) {
        view = nil
        blockNumber = number
        row = 0
        guard number < table.blockCount else {
            buffer = nil
            return
        }
        let next = try table.readBlock(number)
        view = try table.view(next, block: number)
        buffer = consume next
        copyKey()
    }

    private func copyKey() {
        guard let view else { return }
        let suffix = view.suffix(row)
        keyCount = view.prefix.count + suffix.count
        if keyCount > keyMemory.count {
            keyMemory.deallocate()
            keyMemory = .allocate(byteCount: keyCount * 2, alignment: 16)
        }
        UnsafeMutableRawBufferPointer(rebasing: keyMemory[..<view.prefix.count]).copyMemory(from: view.prefix)
        UnsafeMutableRawBufferPointer(rebasing: keyMemory[view.prefix.count..<keyCount]).copyMemory(from: suffix)
    }
}
