// Inserting by several threads: each searches for itself with a splice of its own and links its nodes by
// compare-and-swap, from the bottom up; where another came first, it searches again from the neighbour that it had.
// There is no removal, so a neighbour once found stays one (Herlihy, Lev, Luchangco, Shavit, "A Provably Correct
// Scalable Concurrent Skip List", 2006, without its deletes). It must never overwrite a link that it has not just
// compared.
internal import Memory
internal import Synchronization

/// One thread's place among several that insert into one list: its splice and its random heights.
public struct SkipListWriter: ~Copyable, @unchecked Sendable {
    // @unchecked: owned by one thread at a time, as a noncopyable value.
    fileprivate let memory: UnsafeMutableRawPointer
    fileprivate let base: UnsafeMutableRawPointer

    /// - Parameter seed: of the heights; give each writer another one.
    public init(_ list: borrowing SkipList, seed: UInt64) {
        memory = .allocate(byteCount: SkipListSplice.bytes, alignment: SkipListSplice.bytes)
        base = list.base
        SkipListSplice(memory).reset(head: list.head, seed: seed)
    }

    deinit {
        memory.deallocate()
    }
}

extension SkipList {
    /// Adds one version of a key while other threads do the same, each with its own writer; none may use
    /// ``insert(key:sequence:kind:value:)`` meanwhile. Expected O(log n), and as that one cheaper for near keys.
    /// - Returns: false when the arena is full; the list is then unchanged.
    /// - Precondition: this (key, sequence) is not in the list nor being inserted; the writer was made for this list.
    public func insertConcurrently(
        key: UnsafeRawBufferPointer, sequence: UInt64, kind: OperationKind, value: UnsafeRawBufferPointer,
        writer: borrowing SkipListWriter
    ) -> Bool {
        precondition(writer.base == base, "a writer belongs to one list")
        let trailer = sequence &<< 8 | UInt64(kind.rawValue)
        let query = SkipListQuery(key, trailer: trailer)
        let splice = SkipListSplice(writer.memory)
        let levels = splice.randomHeight()
        let node = makeNode(key: key, trailer: trailer, value: value, levels: levels, isShared: true)
        guard node != 0 else { return false }
        // Read first: a line that all threads keep in their caches is not written again and again.
        if spliceIsStale.pointee.load(ordering: .relaxed) == 0 {
            spliceIsStale.pointee.store(1, ordering: .relaxed)
        }
        raiseHeight(to: levels)
        moveSplice(query, splice)
        publishConcurrently(node, query, levels: levels, splice)
        return true
    }

    private func raiseHeight(to levels: Int) {
        var current = height.pointee.load(ordering: .relaxed)
        while levels > Int(current) {
            let (exchanged, original) = height.pointee.compareExchange(
                expected: current, desired: UInt32(truncatingIfNeeded: levels), ordering: .relaxed)
            if exchanged { return }
            current = original
        }
    }

    private func publishConcurrently(
        _ node: SkipListNode, _ query: SkipListQuery, levels: Int, _ splice: SkipListSplice
    ) {
        var isWhole = true
        var level = 0
        while level < levels {
            let previous = splice.previous(level)
            let following = splice.next(level)
            link(node, level).pointee.store(following, ordering: .relaxed)
            if level == 0 { back(node).pointee.store(previous == head ? 0 : previous, ordering: .relaxed) }
            let linked = link(previous, level).pointee.compareExchange(
                expected: following, desired: node, ordering: .acquiringAndReleasing
            ).exchanged
            guard linked else {
                // The neighbours of one level moved nearer than those of the levels below may be.
                if level > 0 { isWhole = false }
                narrow(query, splice, level)
                continue
            }
            if level == 0 { linkBackward(node, query, following) }
            splice.set(level, previous: node, next: following)
            level &+= 1
        }
        if !isWhole { splice.forget(head: head) }
        atomicWord(at: StateField.count).pointee.add(1, ordering: .relaxed)
    }

    /// Finds the neighbours of one level again, starting from the ones that were.
    private func narrow(_ query: SkipListQuery, _ splice: SkipListSplice, _ level: Int) {
        var current = splice.previous(level)
        while true {
            let following = next(current, level)
            guard following != 0, precedes(following, query) else {
                return splice.set(level, previous: current, next: following)
            }
            current = following
        }
    }

    /// Makes the follower point back at the node, unless it points at a nearer one by now. Whoever inserts in front of
    /// the follower does this, so when all are done it points at the nearest.
    private func linkBackward(_ node: SkipListNode, _ query: SkipListQuery, _ following: SkipListNode) {
        let link = following == 0 ? last : back(following)
        var current = link.pointee.load(ordering: .acquiring)
        while current == 0 || precedes(current, query) {
            let (exchanged, original) = link.pointee.compareExchange(
                expected: current, desired: node, ordering: .acquiringAndReleasing)
            if exchanged { return }
            current = original
        }
    }
}
