// The range deletes of one memtable. Adding is cheap; the fragments are made when a reader first needs them. Stores that
// never delete ranges pay one load per read.
internal import Synchronization

final class MemTableDeletes: Sendable {
    private struct State: Sendable {
        var added: [RangeTombstone] = []
        /// Made from `added`; nil after a change.
        var fragments: RangeTombstones?
    }

    private let state = Mutex(State())
    private let hasAny = Atomic<Bool>(false)

    func add(_ tombstone: RangeTombstone) {
        state.withLock { state in
            state.added.append(tombstone)
            state.fragments = nil
        }
        hasAny.store(true, ordering: .releasing)
    }

    /// Nil when there are none.
    var fragments: RangeTombstones? {
        guard hasAny.load(ordering: .acquiring) else { return nil }
        return state.withLock { state in
            if let fragments = state.fragments { return fragments }
            let fragments = RangeTombstones(state.added)
            state.fragments = fragments
            return fragments
        }
    }
}
