// What a walk through tables keeps at hand from block to block: the part of a large index that it is in. For one
// thread. It must go before the cache and the tables do.

struct TableWalk: ~Copyable {
    /// A part of an index, pinned by `pin`.
    private(set) var part: BlockView?
    /// Number of the part's first data block.
    private(set) var partStart = 0
    private var partTable: UInt64 = 0
    private var pin: BlockPin?

    func holds(_ block: Int, of table: Table) -> Bool {
        guard let part, partTable == table.identity.number else { return false }
        return partStart <= block && block - partStart < part.count
    }

    mutating func hold(_ pin: consuming BlockPin, _ view: BlockView, start: Int, of table: UInt64) {
        self.pin = consume pin
        part = view
        partStart = start
        partTable = table
    }

    mutating func end() {
        part = nil
        pin = nil
    }
}
