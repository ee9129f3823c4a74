// The operations of one key, and what can be said of them without a search. Leaves out what tells nothing.

/// One key of a history.
struct KeyHistory: Sendable {
    let key: String
    private(set) var operations: [KeyOperation]
    /// Where each operation stands in the whole history.
    private(set) var positions: [Int]

    /// All keys of a history, those with fewer operations first: they are judged sooner, and a short history that is
    /// wrong tells people more than a long one.
    static func all(of history: [KeyOperation]) -> [KeyHistory] {
        var byKey: [String: [Int]] = [:]
        for (position, operation) in history.enumerated() where !operation.tellsNothing {
            byKey[operation.key, default: []].append(position)
        }
        return byKey.map { key, positions in
            KeyHistory(key: key, operations: positions.map { history[$0] }, positions: positions).withoutUnseenWrites
        }
        .sorted { ($0.operations.count, $0.key) < ($1.operations.count, $1.key) }
    }

    /// A write without an answer whose value nobody saw may as well never have happened, as long as nothing but reads
    /// and writes could have noticed it. Leaving these out spares the search most of its choices after a fault.
    private var withoutUnseenWrites: KeyHistory {
        let isRegister = operations.allSatisfy { operation in
            if case .write = operation.action { true } else { operation.isRead }
        }
        guard isRegister else { return self }
        let seen = Set(operations.flatMap(\.valuesSeen))
        // A write of 0 removes the value, which every read of an absent key may have seen.
        return keeping { index in
            let operation = operations[index]
            guard operation.effectiveEnd == nil, let value = operation.valueWritten else { return true }
            return value == 0 || seen.contains(value)
        }
    }

    private func keeping(_ isKept: (Int) -> Bool) -> KeyHistory {
        let kept = operations.indices.filter(isKept)
        return KeyHistory(key: key, operations: kept.map { operations[$0] }, positions: kept.map { positions[$0] })
    }

    /// The same with some operations saying less: reads are gone, the others have lost their answer.
    func weakened(_ weakened: Set<Int>) -> KeyHistory {
        var rest = self
        for index in weakened { rest.operations[index].outcome = .unknown }
        return rest.keeping { !rest.operations[$0].tellsNothing }.withoutUnseenWrites
    }

    /// An operation that saw a value which nobody can have written before it was answered; nil when there is none.
    /// Increments make numbers that nobody wrote, so a key with increments is left to the search.
    var impossible: Int? {
        var firstWritten: [UInt64: UInt64] = [:]
        for operation in operations {
            if case .increment = operation.action { return nil }
            guard let value = operation.valueWritten else { continue }
            firstWritten[value] = min(firstWritten[value] ?? .max, operation.start)
        }
        return operations.indices.first { index in
            guard let end = operations[index].effectiveEnd else { return false }
            // At equal times operations count as overlapping, which never accuses wrongly.
            return operations[index].valuesSeen.contains { value in firstWritten[value].map { $0 > end } ?? true }
        }
    }
}
