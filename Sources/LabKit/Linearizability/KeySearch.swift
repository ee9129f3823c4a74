// The search for an order of one key's operations, with a budget of steps. Owns its state and starts from nothing each
// time: what it remembers of one key is freed before the next key is judged.

/// The search for one key: calls and returns in a doubly linked list in order of time; an operation that is taken is
/// lifted out, and put back when the way leads nowhere.
struct KeySearch {
    private struct Entry {
        var operation: Int
        /// Of a call: where its return stands, or -1 when it never came.
        var match: Int
        var isCall: Bool
        var previous = -1
        var next = -1
    }
    /// What Lowe remembers: which operations are taken, and the state they led to.
    private struct Visited: Hashable {
        var taken: [UInt64]
        var state: KeyState
    }

    private let operations: [KeyOperation]
    private let positions: [Int]
    /// The first is a sentinel.
    private var entries: [Entry] = [Entry(operation: -1, match: -1, isCall: false)]
    private var open = 0
    /// The longest order found, as positions in the whole history.
    private(set) var longest: [Int] = []

    init(_ key: KeyHistory) {
        operations = key.operations
        positions = key.positions
        var moments: [(time: UInt64, isReturn: Bool, operation: Int)] = []
        for (number, operation) in operations.enumerated() {
            moments.append((operation.start, false, number))
            if let end = operation.effectiveEnd { moments.append((end, true, number)) }
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
        open = operations.count { $0.effectiveEnd != nil }
    }

    /// Steps between two looks at the clock.
    private static let stepsPerLook = 1024

    /// True when an order was found, false when there is none, nil when steps or time ran out.
    mutating func run(stepsMax: Int, deadline: UInt64) -> Bool? {
        var state = KeyState.absent
        var taken = [UInt64](repeating: 0, count: operations.count / 64 + 1)
        var seen: Set<Visited> = []
        var stack: [(call: Int, state: KeyState)] = []
        var current = entries[0].next
        var steps = 0
        while open > 0 {
            steps += 1
            if steps > stepsMax { return nil }
            if deadline != .max, steps % Self.stepsPerLook == 1, MonotonicClock.now() >= deadline { return nil }
            if current != -1 && entries[current].isCall {
                let number = entries[current].operation
                if let next = operations[number].apply(to: state) {
                    taken[number / 64] |= 1 << UInt64(number % 64)
                    if seen.insert(Visited(taken: taken, state: next)).inserted {
                        stack.append((current, state))
                        if stack.count > longest.count {
                            longest = stack.map { positions[entries[$0.call].operation] }
                        }
                        state = next
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
            state = last.state
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
