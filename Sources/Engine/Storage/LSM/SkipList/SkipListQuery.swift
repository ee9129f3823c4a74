// The key that a search looks for, with its first 16 bytes in registers: most comparisons end on one of these two words
// and never touch the rest of either key.

/// A position between versions: a key and the trailer from which on (downwards) its versions count.
struct SkipListQuery {
    /// Bytes 0-7 and 8-15 as big-endian values, zero-padded, so that integer order is byte order.
    let first: UInt64
    let second: UInt64
    let trailer: UInt64
    let key: UnsafeRawBufferPointer

    @inline(__always)  // runs once per search, feeding registers of the loop that follows
    init(_ key: UnsafeRawBufferPointer, trailer: UInt64) {
        self.key = key
        self.trailer = trailer
        if key.count >= 16 {
            first = UInt64(bigEndian: key.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
            second = UInt64(bigEndian: key.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        } else {
            first = Self.word(key, from: 0)
            second = Self.word(key, from: 8)
        }
    }

    @inline(never)  // short keys only; keeps the loop out of the search
    private static func word(_ key: UnsafeRawBufferPointer, from start: Int) -> UInt64 {
        var word: UInt64 = 0
        for position in start..<start + 8 {
            word = word << 8 | (position < key.count ? UInt64(key[position]) : 0)
        }
        return word
    }
}

extension SkipList {
    /// True when the node comes before the query: a smaller key, or the same key and a newer version.
    @inline(__always)  // the one comparison of every search loop
    func precedes(_ node: SkipListNode, _ query: SkipListQuery) -> Bool {
        let start = address(node)
        let first = UInt64(bigEndian: start.load(fromByteOffset: NodeField.key, as: UInt64.self))
        if first != query.first { return first < query.first }
        let second = UInt64(bigEndian: start.load(fromByteOffset: NodeField.key &+ 8, as: UInt64.self))
        if second != query.second { return second < query.second }
        return precedesBeyondHead(start, query.key, query.trailer)
    }

    /// The rest of the comparison when the first 16 bytes, zero-padded, are equal.
    @inline(never)
    private func precedesBeyondHead(
        _ start: UnsafeMutableRawPointer, _ key: UnsafeRawBufferPointer, _ trailer: UInt64
    ) -> Bool {
        let count = Int(start.load(fromByteOffset: NodeField.meta, as: UInt32.self) >> 8)
        if count > 16, key.count > 16 {
            let order = compare(
                UnsafeRawBufferPointer(start: start + NodeField.key + 16, count: count - 16),
                UnsafeRawBufferPointer(rebasing: key[16...]))
            if order != 0 { return order < 0 }
        } else if count != key.count {
            // Equal up to zero padding: the shorter key is the smaller one.
            return count < key.count
        }
        return start.load(fromByteOffset: NodeField.trailer, as: UInt64.self) > trailer
    }

    /// True when the node holds this very key, whatever the version.
    @inline(__always)
    func holds(_ node: SkipListNode, _ key: UnsafeRawBufferPointer) -> Bool {
        keyBytes(node) == key.count && equal(address(node) + NodeField.key, key)
    }
}
