// The range deletes of one memtable. Adding is cheap; the fragments are made when a reader first needs them. Stores
// that never delete ranges pay one load per read.
internal import Synchronization

final class MemTableDeletes: Sendable {
    private struct State: Sendable {
        var added: [RangeTombstone] = []
        /// Made from `added`; nil after a change.
        var fragments: RangeTombstones?
    }

    private let state = Mutex(State())
    private let isUsed = Atomic<Bool>(false)

    @inline(__always)  // one load of every point read
    var hasAny: Bool { isUsed.load(ordering: .acquiring) }

    func add(_ tombstone: RangeTombstone) {
        state.withLock { state in
            state.added.append(tombstone)
            state.fragments = nil
        }
        isUsed.store(true, ordering: .releasing)
    }

    /// Nil when there are none.
    var fragments: RangeTombstones? {
        guard hasAny else { return nil }
        return state.withLock { state in
            if let fragments = state.fragments { return fragments }
            let fragments = RangeTombstones(state.added)
            state.fragments = fragments
            return fragments
        }
    }
}
