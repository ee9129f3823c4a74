// Decides whether a history could have come from one copy of the store that takes one operation at a time (Herlihy and
// Wing 1990), by the search of Wing and Gong (1993) with Lowe's memory of visited configurations (2017), key by key:
// linearizability is local, so each key is judged alone. All keys get a small budget first, and those that are left get
// twice as much in the next round, so that a key that is hard to judge hides no violation of another. A search that
// runs out of steps or time answers "unknown", which must never be counted as a pass.

/// The verdict on a history.
public enum Linearizability: Hashable, Sendable {
    case linearizable
    /// No order of this key's operations explains the answers. `prefix` is the longest order that was found, as
    /// positions in the history.
    case violated(key: String, prefix: [Int])
    /// The search for this key was given up, and no other key is violated as far as is known.
    case unknown(key: String)
}

/// Judges histories. The verdict is the same on every machine as long as ``secondsMax`` is not what ends it.
public struct LinearizabilityChecker: Sendable {
    /// Steps of the search per key; a step is an operation tried. The count stands for time, so that the same history
    /// gets the same verdict on every machine.
    public var stepsMax = 20_000_000
    /// Seconds for all keys together, for histories of live clusters; nil: only the steps count.
    public var secondsMax: Double?
    public init() {}

    /// What each key gets in the first round; twice as much in each further one.
    private static let stepsFirst = 4096
    /// For each trial of ``witness(of:in:)``.
    private static let witnessSteps = 20_000

    /// Judges the history: values that nobody wrote first, which needs no search; then all keys in rounds, those with
    /// fewer operations first. Stops at the first violation, which is the verdict whatever else is unknown.
    /// - Complexity: O(n log n) for sequential histories, exponential in the number of operations that overlap in the
    ///   worst case.
    public func check(_ history: [KeyOperation]) -> Linearizability {
        let keys = KeyHistory.all(of: history)
        let deadline = secondsMax.map { MonotonicClock.now() + UInt64(max(0, $0) * 1e9) } ?? .max
        if let key = keys.first(where: { $0.impossible != nil }) {
            var search = KeySearch(key)
            _ = search.run(stepsMax: min(Self.stepsFirst, stepsMax), deadline: .max)
            return .violated(key: key.key, prefix: search.longest)
        }
        var open = keys
        var steps = min(Self.stepsFirst, max(0, stepsMax))
        while !open.isEmpty {
            var undecided: [KeyHistory] = []
            for key in open {
                var search = KeySearch(key)
                switch search.run(stepsMax: steps, deadline: deadline) {
                case true?: break
                case false?: return .violated(key: key.key, prefix: search.longest)
                case nil: undecided.append(key)
                }
            }
            open = undecided
            if steps >= stepsMax || (deadline != .max && MonotonicClock.now() >= deadline) { break }
            steps = min(stepsMax, steps * 2)
        }
        return open.map(\.key).min().map { .unknown(key: $0) } ?? .linearizable
    }

    /// The operations that contradict each other, as positions in the history, in order of their start: as few as a
    /// greedy search finds. Without any one of them the rest can be explained, or at least is not known to be wrong.
    /// Empty when a short search does not show that the key is violated.
    ///
    /// Operations are only ever made to say less: a read is left out, another one loses its answer, so that it may have
    /// taken effect at any later time or never. Every right history stays right that way, so what is left is wrong by
    /// itself.
    /// - Complexity: a bounded search for each operation of the key.
    public func witness(of key: String, in history: [KeyOperation]) -> [Int] {
        guard let whole = KeyHistory.all(of: history).first(where: { $0.key == key }) else { return [] }
        if let impossible = whole.impossible { return [whole.positions[impossible]] }
        func isViolated(_ weakened: Set<Int>) -> Bool {
            let rest = whole.weakened(weakened)
            if rest.impossible != nil { return true }
            var search = KeySearch(rest)
            return search.run(stepsMax: min(stepsMax, Self.witnessSteps), deadline: .max) == false
        }
        guard isViolated([]) else { return [] }
        var weakened: Set<Int> = []
        // Reads first: without them most writes are seen by nobody, which makes the further trials short.
        let all = whole.operations.indices.filter { whole.operations[$0].effectiveEnd != nil }
        for part in [all.filter { whole.operations[$0].isRead }, all.filter { !whole.operations[$0].isRead }] {
            weakened = Self.shrink(part, weakened, isViolated)
        }
        let answered = all.filter { !weakened.contains($0) }
        let seen = Set(answered.flatMap { whole.operations[$0].valuesSeen })
        let writers = whole.operations.indices.filter { index in
            !answered.contains(index) && whole.operations[index].valueWritten.map { seen.contains($0) } == true
        }
        return (answered + writers).sorted { whole.operations[$0].start < whole.operations[$1].start }
            .map { whole.positions[$0] }
    }

    /// Adds as many of `candidates` to `weakened` as leave the rest violated: large parts first, then one by one.
    private static func shrink(
        _ candidates: [Int], _ weakened: Set<Int>, _ isViolated: (Set<Int>) -> Bool
    ) -> Set<Int> {
        var weakened = weakened
        var left = candidates
        var chunk = max(1, left.count / 2)
        while true {
            var position = 0
            let before = left.count
            while position < left.count {
                let part = left[position..<min(position + chunk, left.count)]
                if isViolated(weakened.union(part)) {
                    weakened.formUnion(part)
                    left.removeSubrange(position..<position + part.count)
                } else {
                    position += chunk
                }
            }
            if chunk == 1, left.count == before { return weakened }
            chunk = max(1, chunk / 2)
        }
    }
}
