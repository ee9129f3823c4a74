// Decides whether a history could have come from one copy of the store that takes one operation at a time (Herlihy and
// Wing 1990), by the search of Wing and Gong (1993) with Lowe's memory of visited configurations (2017), key by key:
// linearizability is local, so each key is judged alone. A search that runs out of steps or time answers "unknown", which
// must never be counted as a pass.

/// The verdict on a history.
public enum Linearizability: Hashable, Sendable {
    case linearizable
    /// No order of this key's operations explains the answers. `prefix` is the longest order that was found, as positions
    /// in the history.
    case violated(key: String, prefix: [Int])
    /// The search for this key was given up.
    case unknown(key: String)
}

public struct LinearizabilityChecker: Sendable {
    /// Steps of the search per key; a step is an operation tried. The count stands for time, so that the same history
    /// gets the same verdict on every machine.
    public var stepsMax = 20_000_000
    /// Seconds for all keys together, for histories of live clusters; nil: only the steps count.
    public var secondsMax: Double?
    public init() {}

    /// Judges keys in ascending order and stops at the first violation. O(n) for sequential histories, exponential in
    /// the number of operations that overlap in the worst case.
    public func check(_ history: [KeyOperation]) -> Linearizability {
        var byKey: [String: [Int]] = [:]
        for (position, operation) in history.enumerated() where !operation.tellsNothing {
            byKey[operation.key, default: []].append(position)
        }
        var unknown: String?
        let deadline = secondsMax.map { MonotonicClock.now() + UInt64(max(0, $0) * 1e9) } ?? .max
        for key in byKey.keys.sorted() {
            var search = KeySearch(history, byKey[key] ?? [])
            switch search.run(stepsMax: stepsMax, deadline: deadline) {
            case true?: break
            case false?: return .violated(key: key, prefix: search.longest)
            case nil: unknown = unknown ?? key
            }
        }
        return unknown.map { .unknown(key: $0) } ?? .linearizable
    }
}

/// The search for one key: calls and returns in a doubly linked list in order of time; an operation that is taken is
/// lifted out, and put back when the way leads nowhere.
private struct KeySearch {
    private struct Entry {
        var operation: Int
        /// Of a call: where its return stands, or -1 when it never came.
        var match: Int
        var isCall: Bool
        var previous = -1
        var next = -1
    }
    /// What Lowe remembers: which operations are taken, and the value they led to.
    private struct Visited: Hashable {
        var taken: [UInt64]
        var value: UInt64
    }

    private let operations: [KeyOperation]
    private let positions: [Int]
    /// The first is a sentinel.
    private var entries: [Entry] = [Entry(operation: -1, match: -1, isCall: false)]
    private var open = 0
    /// The longest order found, as positions in the whole history.
    private(set) var longest: [Int] = []

    init(_ history: [KeyOperation], _ positions: [Int]) {
        operations = positions.map { history[$0] }
        self.positions = positions
        var moments: [(time: UInt64, isReturn: Bool, operation: Int)] = []
        for (number, operation) in operations.enumerated() {
            moments.append((operation.start, false, number))
            if let end = operation.end { moments.append((end, true, number)) }
        }
        // At equal times calls come first: operations that touch count as overlapping, which never accuses wrongly.
        moments.sort { a, b in
            if a.time != b.time { return a.time < b.time }
            return a.isReturn != b.isReturn ? !a.isReturn : a.operation < b.operation
        }
        var calls = [Int](repeating: 0, count: operations.count)
        for moment in moments {
            let index = entries.count
            if moment.isReturn {
                entries[calls[moment.operation]].match = index
            } else {
                calls[moment.operation] = index
            }
            entries.append(Entry(operation: moment.operation, match: -1, isCall: !moment.isReturn))
            entries[index].previous = index - 1
            entries[index - 1].next = index
        }
        open = operations.count { $0.end != nil }
    }

    /// Steps between two looks at the clock.
    private static let stepsPerLook = 1024

    /// True when an order was found, false when there is none, nil when steps or time ran out.
    mutating func run(stepsMax: Int, deadline: UInt64) -> Bool? {
        var value: UInt64 = 0
        var taken = [UInt64](repeating: 0, count: operations.count / 64 + 1)
        var seen: Set<Visited> = []
        var stack: [(call: Int, value: UInt64)] = []
        var current = entries[0].next
        var steps = 0
        while open > 0 {
            steps += 1
            if steps > stepsMax { return nil }
            if deadline != .max, steps % Self.stepsPerLook == 1, MonotonicClock.now() >= deadline { return nil }
            if current != -1 && entries[current].isCall {
                let number = entries[current].operation
                if let next = operations[number].apply(to: value) {
                    taken[number / 64] |= 1 << UInt64(number % 64)
                    if seen.insert(Visited(taken: taken, value: next)).inserted {
                        stack.append((current, value))
                        if stack.count > longest.count {
                            longest = stack.map { positions[entries[$0.call].operation] }
                        }
                        value = next
                        lift(current)
                        current = entries[0].next
                        continue
                    }
                    taken[number / 64] &= ~(1 << UInt64(number % 64))
                }
                current = entries[current].next
                continue
            }
            // A return whose call was not taken (or the end): the last choice was wrong.
            guard let last = stack.popLast() else { return false }
            value = last.value
            let number = entries[last.call].operation
            taken[number / 64] &= ~(1 << UInt64(number % 64))
            putBack(last.call)
            current = entries[last.call].next
        }
        return true
    }

    private mutating func lift(_ call: Int) {
        unlink(call)
        if entries[call].match >= 0 {
            unlink(entries[call].match)
            open -= 1
        }
    }

    /// In the opposite order, so that each finds its neighbours as it left them.
    private mutating func putBack(_ call: Int) {
        if entries[call].match >= 0 {
            link(entries[call].match)
            open += 1
        }
        link(call)
    }

    private mutating func unlink(_ index: Int) {
        let entry = entries[index]
        entries[entry.previous].next = entry.next
        if entry.next != -1 { entries[entry.next].previous = entry.previous }
    }

    private mutating func link(_ index: Int) {
        let entry = entries[index]
        entries[entry.previous].next = index
        if entry.next != -1 { entries[entry.next].previous = index }
    }
}
