// Searching: from the highest level down, without a lock and without writing anything. Links are loaded with acquire
// order, so that a node reached through one is complete.
internal import CEngine
internal import Synchronization

extension SkipList {
    /// The newest version of `key` that is not newer than `sequence`: a put, a delete, or 0 when there is none.
    public func find(_ key: UnsafeRawBufferPointer, sequence: UInt64 = sequenceMax) -> SkipListNode {
        let query = SkipListQuery(key, trailer: sequence &<< 8 | 0xff)
        let node = firstNotPreceding(query)
        return node != 0 && holds(node, key) ? node : 0
    }

    /// As ``find(_:sequence:)``, for readers that ask in rising key order: `hint` remembers where the last answer was,
    /// and the node behind it is tried before a search. Start with 0; each reader has its own.
    public func find(
        _ key: UnsafeRawBufferPointer, sequence: UInt64 = sequenceMax, hint: inout SkipListNode
    ) -> SkipListNode {
        let query = SkipListQuery(key, trailer: sequence &<< 8 | 0xff)
        var node: SkipListNode = 0
        if hint != 0, precedes(hint, query) {
            let following = next(hint, 0)
            if following == 0 || !precedes(following, query) {
                node = following
            } else {
                node = firstNotPreceding(query)
            }
        } else {
            node = firstNotPreceding(query)
        }
        guard node != 0 else { return 0 }
        hint = node
        return holds(node, key) ? node : 0
    }

    /// The first node at or behind the query, or 0.
    @inline(__always)  // two callers, both hot
    func firstNotPreceding(_ query: SkipListQuery) -> SkipListNode {
        var level = Int(height.pointee.load(ordering: .relaxed)) &- 1
        var current = head
        // The node that ended the level above: it lies behind the query, so meeting it again needs no comparison.
        var bound: SkipListNode = 0
        while true {
            let following = next(current, level)
            if following != bound {
                // The next step needs this node's successor whenever this one precedes; start its load early.
                strata_prefetch(address(next(following, level)) + NodeField.key)
                if precedes(following, query) {
                    current = following
                    continue
                }
            }
            if level == 0 { return following }
            bound = following
            level &-= 1
        }
    }

    /// The last node before the query, or 0.
    func lastPreceding(_ query: SkipListQuery) -> SkipListNode {
        var level = Int(height.pointee.load(ordering: .relaxed)) &- 1
        var current = head
        while true {
            let following = next(current, level)
            if following != 0, precedes(following, query) {
                current = following
                continue
            }
            if level == 0 { return current == head ? 0 : current }
            level &-= 1
        }
    }

    /// The first node, or 0.
    public var firstNode: SkipListNode { next(head, 0) }

    /// The last node, or 0.
    public var lastNode: SkipListNode { last.pointee.load(ordering: .acquiring) }

    /// The node behind, or 0.
    public func node(after node: SkipListNode) -> SkipListNode { next(node, 0) }

    /// The node in front, or 0. A node that is being inserted while a reader walks backward may be passed by.
    public func node(before node: SkipListNode) -> SkipListNode { back(node).pointee.load(ordering: .acquiring) }

    /// The first version of the first key that is `key` or greater, or 0.
    public func firstNode(from key: UnsafeRawBufferPointer) -> SkipListNode {
        firstNotPreceding(SkipListQuery(key, trailer: .max))
    }

    /// The last node whose key is less than `key`, or 0.
    public func lastNode(before key: UnsafeRawBufferPointer) -> SkipListNode {
        lastPreceding(SkipListQuery(key, trailer: .max))
    }
}
