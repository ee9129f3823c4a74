// Inserting: find the neighbours on every level (or reuse those of the last insert when the key goes to the same gap),
// write the node, then link it from the bottom up, each link by a release store. One thread only.
internal import Memory
internal import Synchronization

extension SkipList {
    /// Adds one version of a key. Only one thread may insert; readers need no coordination.
    ///
    /// A key right behind the last inserted one costs O(1): the neighbours of the last insert (the splice) still hold.
    /// - Returns: false when the arena is full; the list is then unchanged.
    /// - Precondition: this (key, sequence) is not in the list; `sequence` is at most ``sequenceMax``.
    public func insert(
        key: UnsafeRawBufferPointer, sequence: UInt64, kind: OperationKind, value: UnsafeRawBufferPointer
    ) -> Bool {
        let trailer = sequence &<< 8 | UInt64(kind.rawValue)
        let query = SkipListQuery(key, trailer: trailer)
        let levels = randomHeight()
        let node = makeNode(key: key, trailer: trailer, value: value, levels: levels)
        guard node != 0 else { return false }
        if !spliceBrackets(query) { findSplice(query) }
        publish(node, levels: levels)
        return true
    }

    /// True when the last insert's neighbours on level 0, and so on all levels, enclose the query.
    @inline(__always)
    private func spliceBrackets(_ query: SkipListQuery) -> Bool {
        let previous = splicePrevious(0)
        guard previous == head || precedes(previous, query) else { return false }
        let next = spliceNext(0)
        return next == 0 || !precedes(next, query)
    }

    private func findSplice(_ query: SkipListQuery) {
        var level = Int(height.pointee.load(ordering: .relaxed)) - 1
        var current = head
        var bound: SkipListNode = 0
        while true {
            let following = next(current, level)
            if following != bound, precedes(following, query) {
                current = following
                continue
            }
            setSplice(level, previous: current, next: following)
            if level == 0 { return }
            bound = following
            level &-= 1
        }
    }

    private func makeNode(
        key: UnsafeRawBufferPointer, trailer: UInt64, value: UnsafeRawBufferPointer, levels: Int
    ) -> SkipListNode {
        let before = ((levels &- 1) &* 4 &+ 7) & ~7
        let padded = Self.paddedKeyBytes(key.count)
        let start = arena.allocate(bytes: before &+ NodeField.key &+ padded &+ value.count)
        guard start != 0 else { return 0 }
        let node = start &+ UInt32(truncatingIfNeeded: before &>> 3)
        let place = address(node)
        let meta = UInt32(truncatingIfNeeded: key.count) &<< 8 | UInt32(truncatingIfNeeded: levels)
        place.storeBytes(of: meta, toByteOffset: NodeField.meta, as: UInt32.self)
        place.storeBytes(of: trailer, toByteOffset: NodeField.trailer, as: UInt64.self)
        place.storeBytes(
            of: UInt32(truncatingIfNeeded: value.count), toByteOffset: NodeField.valueLength, as: UInt32.self)
        let target = place + NodeField.key
        if key.count != padded {
            if padded > 16 { (target + padded - 8).storeBytes(of: 0, as: UInt64.self) }
            target.storeBytes(of: 0, as: UInt64.self)
            target.storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
        }
        if let source = key.baseAddress { target.copyMemory(from: source, byteCount: key.count) }
        if let source = value.baseAddress { (target + padded).copyMemory(from: source, byteCount: value.count) }
        return node
    }

    /// Links the node between the splice's neighbours. A reader that comes by at any moment sees a sorted list.
    private func publish(_ node: SkipListNode, levels: Int) {
        if levels > Int(height.pointee.load(ordering: .relaxed)) {
            // Readers that still see the old height just start lower; those that see the new one find head -> 0.
            height.pointee.store(UInt32(truncatingIfNeeded: levels), ordering: .relaxed)
        }
        let previous = splicePrevious(0)
        let following = spliceNext(0)
        back(node).pointee.store(previous == head ? 0 : previous, ordering: .relaxed)
        var level = 0
        while level < levels {
            link(node, level).pointee.store(spliceNext(level), ordering: .relaxed)
            link(splicePrevious(level), level).pointee.store(node, ordering: .releasing)
            setSplice(level, previous: node, next: spliceNext(level))
            level &+= 1
        }
        // A backward reader in between passes the new node by: it is newer than anything that reader may see.
        (following == 0 ? last : back(following)).pointee.store(node, ordering: .releasing)
        let count = atomicWord(at: StateField.count)
        count.pointee.store(count.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    }

    /// 1 with probability 3/4, each further level a quarter of the one before (xorshift64*).
    @inline(__always)
    private func randomHeight() -> Int {
        var word = state.load(fromByteOffset: StateField.random, as: UInt64.self)
        word ^= word &>> 12
        word ^= word &<< 25
        word ^= word &>> 27
        state.storeBytes(of: word, toByteOffset: StateField.random, as: UInt64.self)
        let bits = (word &* 0x2545_f491_4f6c_dd1d) &>> 32
        return Swift.min(1 &+ bits.trailingZeroBitCount &>> 1, Self.heightMax)
    }
}
