// Merges sorted runs into one sorted stream of versions, both ways: a loser tree (Knuth, TAOCP 3, 5.4.1), so that each
// step costs log2(runs) comparisons, most of them of one word. For one thread. It drops nothing and hides nothing.

struct RunMerge: ~Copyable {
    // Raw memory: the loops below must neither count references nor check exclusivity.
    private let runs: UnsafeMutablePointer<RunCursor>
    private let count: Int
    /// The first 8 key bytes of each run's current entry, big-endian; valid while the run is.
    private let heads: UnsafeMutablePointer<UInt64>
    /// Slot 0: the winner; slots 1 ..< count: who lost there.
    private let tree: UnsafeMutablePointer<Int32>
    private var backward = false

    /// - Parameter keepsBlocks: blocks that are read go into the cache.
    init(memtables: [MemTable], tables: [[Table]], keepsBlocks: Bool) {
        count = memtables.count + tables.count
        precondition(count > 0, "a merge has at least one run")
        runs = .allocate(capacity: count)
        heads = .allocate(capacity: count)
        tree = .allocate(capacity: count)
        heads.initialize(repeating: 0, count: count)
        tree.initialize(repeating: 0, count: count)
        var number = 0
        for memtable in memtables {
            (runs + number).initialize(to: RunCursor(memtable))
            number += 1
        }
        for run in tables {
            (runs + number).initialize(to: RunCursor(run, keepsBlocks: keepsBlocks))
            number += 1
        }
    }

    deinit {
        for number in 0..<count { runs[number].end() }
        runs.deinitialize(count: count)
        runs.deallocate()
        heads.deallocate()
        tree.deallocate()
    }

    var isValid: Bool { runs[winner].isValid }
    var key: UnsafeRawBufferPointer { runs[winner].key }
    var trailer: UInt64 { runs[winner].trailer }
    var value: UnsafeRawBufferPointer { runs[winner].value }

    private var winner: Int { Int(tree[0]) }

    mutating func seek(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        for number in 0..<count { try runs[number].seek(key) }
        rebuild(backward: false)
    }

    mutating func seekToFirst() throws(StorageError) {
        for number in 0..<count { try runs[number].seekToFirst() }
        rebuild(backward: false)
    }

    /// To the last entry in front of `key`; the stream runs backward from here: keys fall, versions of a key rise.
    mutating func seekBefore(_ key: UnsafeRawBufferPointer) throws(StorageError) {
        for number in 0..<count { try runs[number].seekBefore(key) }
        rebuild(backward: true)
    }

    mutating func seekToLast() throws(StorageError) {
        for number in 0..<count { try runs[number].seekToLast() }
        rebuild(backward: true)
    }

    /// The next entry in the direction of the last seek.
    mutating func advance() throws(StorageError) {
        let run = winner
        if backward { try runs[run].previous() } else { try runs[run].next() }
        refreshHead(run)
        replay(run)
    }

    private func refreshHead(_ run: Int) {
        guard runs[run].isValid else { return }
        heads[run] = keyHead8(runs[run].key)
    }

    private mutating func rebuild(backward: Bool) {
        self.backward = backward
        for number in 0..<count {
            refreshHead(number)
            tree[number] = -1
        }
        for number in 0..<count { replay(number) }
    }

    /// Plays a run from its leaf up to the root; an empty slot (while building) ends the way.
    private func replay(_ leaf: Int) {
        var player = Int32(truncatingIfNeeded: leaf)
        var slot = (leaf &+ count) &>> 1
        while slot > 0 {
            let other = tree[slot]
            if other < 0 {
                tree[slot] = player
                return
            }
            if precedes(Int(other), Int(player)) {
                tree[slot] = player
                player = other
            }
            slot &>>= 1
        }
        tree[0] = player
    }

    private func precedes(_ one: Int, _ other: Int) -> Bool {
        guard runs[one].isValid else { return false }
        guard runs[other].isValid else { return true }
        if heads[one] != heads[other] { return (heads[one] < heads[other]) != backward }
        let order = compare(runs[one].key, runs[other].key)
        if order != 0 { return (order < 0) != backward }
        return (runs[one].trailer > runs[other].trailer) != backward
    }
}

/// The first 8 bytes of a key as a big-endian value, zero-padded, so that integer order is byte order.
@inline(__always)  // once per step of every merge
func keyHead8(_ key: UnsafeRawBufferPointer) -> UInt64 {
    if key.count >= 8 { return UInt64(bigEndian: key.loadUnaligned(fromByteOffset: 0, as: UInt64.self)) }
    var head: UInt64 = 0
    for position in 0..<8 { head = head &<< 8 | (position < key.count ? UInt64(key[position]) : 0) }
    return head
}
