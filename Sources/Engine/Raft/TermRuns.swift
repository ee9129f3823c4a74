// The shape of the log: which term each index has, as runs of equal terms, and where the log begins and ends. This is
// all that the core remembers of entries; a log of a billion entries and three elections takes three runs. It must
// never hold two runs of the same term or a falling term (log matching, paper §5.3).

/// The first index of a run of entries with the same term.
public struct TermStart: Hashable, Sendable {
    public var index: LogIndex
    public var term: Term
    public init(index: LogIndex, term: Term) {
        self.index = index
        self.term = term
    }
}

/// The last entry that a snapshot (or a dropped prefix) covers; (0, 0) when nothing precedes the log.
public struct SnapshotPoint: Hashable, Sendable {
    public var index: LogIndex
    public var term: Term
    public init(index: LogIndex = 0, term: Term = 0) {
        self.index = index
        self.term = term
    }
}

/// Terms of the entries `base.index + 1 ... lastIndex`.
struct TermRuns: Hashable, Sendable {
    private(set) var base: SnapshotPoint
    private(set) var lastIndex: LogIndex
    private(set) var starts: [TermStart]

    /// `starts` ascend in index and in term; the first may lie at or before the log's first entry.
    init(base: SnapshotPoint, lastIndex: LogIndex, starts: [TermStart]) {
        precondition(lastIndex >= base.index, "the log must not end before its snapshot")
        self.base = base
        self.lastIndex = base.index
        self.starts = []
        for (position, start) in starts.enumerated() {
            let end = position + 1 < starts.count ? starts[position + 1].index : lastIndex + 1
            precondition(end > start.index, "term runs must ascend in index and end within the log")
            if end <= base.index + 1 { continue }
            let first = Swift.max(start.index, base.index + 1)
            precondition(first == self.lastIndex + 1, "term runs must cover the log without a gap")
            append(term: start.term, count: end - first)
        }
        precondition(self.lastIndex == lastIndex, "term runs must cover the whole log")
    }

    var firstIndex: LogIndex { base.index + 1 }
    var lastTerm: Term { starts.last?.term ?? base.term }

    /// Nil below the base and above the end. O(log runs), O(1) for the newest run.
    func term(at index: LogIndex) -> Term? {
        if index > lastIndex || index < base.index { return nil }
        if index == base.index { return base.term }
        return starts[run(of: index)].term
    }

    /// Position in `starts` of the run that holds `index`, which must be an entry of the log.
    private func run(of index: LogIndex) -> Int {
        var high = starts.count - 1
        if starts[high].index <= index { return high }
        var low = 0
        while low + 1 < high {
            let middle = (low + high) / 2
            if starts[middle].index <= index { low = middle } else { high = middle }
        }
        return low
    }

    /// Adds `count` entries of `term` at the end.
    mutating func append(term: Term, count: UInt64) {
        if count == 0 { return }
        precondition(term >= lastTerm, "terms of a log never fall")
        if starts.last?.term != term { starts.append(TermStart(index: lastIndex + 1, term: term)) }
        lastIndex += count
    }

    /// Drops the entries from `index` on.
    mutating func truncate(from index: LogIndex) {
        precondition(index > base.index, "a snapshot can't be truncated")
        if index > lastIndex { return }
        while let last = starts.last, last.index >= index { starts.removeLast() }
        lastIndex = index - 1
    }

    /// Drops the entries up to and including `index`.
    mutating func compact(through index: LogIndex) {
        if index <= base.index { return }
        guard let term = term(at: index) else {
            preconditionFailure("the log can't be compacted beyond its end")
        }
        base = SnapshotPoint(index: index, term: term)
        if index == lastIndex {
            starts.removeAll()
            return
        }
        starts.removeFirst(run(of: index + 1))
        starts[0].index = Swift.max(starts[0].index, index + 1)
    }

    /// Forgets the log: it continues after `base`.
    mutating func reset(to base: SnapshotPoint) {
        self.base = base
        lastIndex = base.index
        starts.removeAll()
    }

    /// The largest index that is at most `index` and whose term is at most `term`, with its term: where two logs may
    /// agree. The term is 0 when the answer lies below the log. O(runs from the end), at most one step per term.
    func lastPosition(atMost index: LogIndex, term: Term) -> TermStart {
        var candidate = Swift.min(index, lastIndex)
        while candidate > base.index {
            let start = starts[run(of: candidate)]
            if start.term <= term { return TermStart(index: candidate, term: start.term) }
            candidate = start.index - 1
        }
        if candidate == base.index && base.term <= term { return TermStart(index: candidate, term: base.term) }
        return TermStart(index: Swift.min(candidate, base.index), term: 0)
    }
}
