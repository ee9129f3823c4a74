// Inserting by one thread: find the neighbours on every level, starting from those of the last insert when the key goes
// near it; write the node; then link it from the bottom up, each link by a release store.
internal import Memory
internal import Synchronization

extension SkipList {
    /// Adds one version of a key. Only one thread may insert, and none through a ``SkipListWriter`` meanwhile; readers
    /// need no coordination.
    ///
    /// A key right behind the last inserted one costs O(1): the neighbours of the last insert (the splice) still hold.
    /// A key at distance d from it costs O(log d) when the last keys were near each other, too.
    /// - Returns: false when the arena is full; the list is then unchanged.
    /// - Precondition: this (key, sequence) is not in the list; `sequence` is at most ``sequenceMax``.
    public func insert(
        key: UnsafeRawBufferPointer, sequence: UInt64, kind: OperationKind, value: UnsafeRawBufferPointer
    ) -> Bool {
        insertNode(key: key, sequence: sequence, kind: kind, value: value) != 0
    }

    /// As ``insert(key:sequence:kind:value:)``; returns the node, or 0 when the arena is full.
    func insertNode(
        key: UnsafeRawBufferPointer, sequence: UInt64, kind: OperationKind, value: UnsafeRawBufferPointer
    ) -> SkipListNode {
        let trailer = sequence &<< 8 | UInt64(kind.rawValue)
        let query = SkipListQuery(key, trailer: trailer)
        let splice = splice
        let levels = splice.randomHeight()
        let node = makeNode(key: key, trailer: trailer, value: value, levels: levels, isShared: false)
        guard node != 0 else { return 0 }
        if spliceIsStale.pointee.load(ordering: .relaxed) != 0 {
            spliceIsStale.pointee.store(0, ordering: .relaxed)
            splice.forget(head: head)
            findSplice(query, splice, from: Int(height.pointee.load(ordering: .relaxed)))
        } else {
            moveSplice(query, splice)
        }
        publish(node, levels: levels, splice)
        return node
    }

    /// Makes the splice enclose the query: nothing to do when its lowest level does.
    @inline(__always)  // two callers, each its own hot loop
    func moveSplice(_ query: SkipListQuery, _ splice: SkipListSplice) {
        let previous = splice.previous(0)
        let isBehind = previous == head || precedes(previous, query)
        if isBehind {
            let next = splice.next(0)
            if next == 0 || !precedes(next, query) { return }
        }
        searchSplice(query, splice, isBehind: isBehind)
    }

    /// Searches from the lowest level that still encloses the query, if the last keys were near each other, or else
    /// from the top: for scattered keys the way up would be in vain.
    private func searchSplice(_ query: SkipListQuery, _ splice: SkipListSplice, isBehind: Bool) {
        let top = Int(height.pointee.load(ordering: .relaxed))
        let middle = top &>> 1
        let credit = splice.credit
        guard credit > 0 else {
            let before = splice.previous(middle)
            findSplice(query, splice, from: top)
            if splice.previous(middle) == before, before != head { splice.credit = Self.nearCredit }
            return
        }
        let level = enclosingLevel(query, splice, isBehind: isBehind, top: top)
        splice.credit = level <= middle ? Self.nearCredit : credit &- 1
        findSplice(query, splice, from: level)
    }

    /// Far keys in a row after which keys count as scattered.
    private static var nearCredit: UInt32 { 4 }

    /// The lowest level above 0 whose neighbours enclose the query. On the side from which the query comes they do on
    /// all levels, see ``SkipListSplice``, so each level costs one comparison.
    @inline(__always)
    private func enclosingLevel(
        _ query: SkipListQuery, _ splice: SkipListSplice, isBehind: Bool, top: Int
    ) -> Int {
        var level = 1
        if isBehind {
            var passed = splice.next(0)
            while level < top {
                let next = splice.next(level)
                if next == 0 || next != passed && !precedes(next, query) { break }
                passed = next
                level &+= 1
            }
        } else {
            var passed = splice.previous(0)
            while level < top {
                let previous = splice.previous(level)
                if previous == head || previous != passed && precedes(previous, query) { break }
                passed = previous
                level &+= 1
            }
        }
        return level
    }

    /// Finds the query's neighbours on all levels below `start`, whose own neighbours enclose it.
    func findSplice(_ query: SkipListQuery, _ splice: SkipListSplice, from start: Int) {
        var current = head
        var bound: SkipListNode = 0
        if start < Self.heightMax {
            current = splice.previous(start)
            bound = splice.next(start)
        }
        var level = start &- 1
        while true {
            let following = next(current, level)
            if following != bound, precedes(following, query) {
                current = following
                continue
            }
            splice.set(level, previous: current, next: following)
            if level == 0 { return }
            bound = following
            level &-= 1
        }
    }

    func makeNode(
        key: UnsafeRawBufferPointer, trailer: UInt64, value: UnsafeRawBufferPointer, levels: Int,
        isShared: Bool
    ) -> SkipListNode {
        let before = ((levels &- 1) &* 4 &+ 7) & ~7
        let padded = Self.paddedKeyBytes(key.count)
        let bytes = before &+ NodeField.key &+ padded &+ value.count
        let start = isShared ? arena.allocateConcurrently(bytes: bytes) : arena.allocate(bytes: bytes)
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
    private func publish(_ node: SkipListNode, levels: Int, _ splice: SkipListSplice) {
        if levels > Int(height.pointee.load(ordering: .relaxed)) {
            // Readers that still see the old height just start lower; those that see the new one find head -> 0.
            height.pointee.store(UInt32(truncatingIfNeeded: levels), ordering: .relaxed)
        }
        let previous = splice.previous(0)
        let following = splice.next(0)
        back(node).pointee.store(previous == head ? 0 : previous, ordering: .relaxed)
        var level = 0
        while level < levels {
            let next = splice.next(level)
            link(node, level).pointee.store(next, ordering: .relaxed)
            link(splice.previous(level), level).pointee.store(node, ordering: .releasing)
            splice.set(level, previous: node, next: next)
            level &+= 1
        }
        // A backward reader in between passes the new node by: it is newer than anything that reader may see.
        (following == 0 ? last : back(following)).pointee.store(node, ordering: .releasing)
        let count = atomicWord(at: StateField.count)
        count.pointee.store(count.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    }
}
