// What a key can hold and what each call makes of it: the sequential object that histories are judged against. A pure
// function from state and call to state; knows nothing of time or of other keys.

/// The content of one key.
public enum KeyState: Hashable, Sendable {
    case absent
    /// One written value, or the number of a counter.
    case number(UInt64)
    /// What appends made, in order; at least two pieces, because a single one is the same as a written value.
    case pieces([UInt64])

    /// The content that values of calls stand for: 0 means absent.
    init(value: UInt64) {
        self = value == 0 ? .absent : .number(value)
    }

    /// The content that a list of pieces stands for.
    init(pieces: [UInt64]) {
        switch pieces.count {
        case 0: self = .absent
        case 1: self = .number(pieces[0])
        default: self = .pieces(pieces)
        }
    }

    /// The content as a list of pieces.
    var pieces: [UInt64] {
        switch self {
        case .absent: []
        case .number(let value): [value]
        case .pieces(let pieces): pieces
        }
    }

    /// The content as a counter, absent counting as 0; nil when it is no number.
    var counter: Int64? {
        switch self {
        case .absent: 0
        case .number(let value): Int64(bitPattern: value)
        case .pieces: nil
        }
    }
}

extension KeyOperation {
    /// The content after the operation, or nil when its answer could not have come from `state`. Without an answer the
    /// results in the action are ignored.
    func apply(to state: KeyState) -> KeyState? {
        let isAnswered = effectiveEnd != nil
        switch action {
        case .read(let seen): return state == KeyState(value: seen) ? state : nil
        case .readNumber(let seen):
            return state == (seen.map { .number(UInt64(bitPattern: $0)) } ?? .absent) ? state : nil
        case .readPieces(let seen): return state == KeyState(pieces: seen) ? state : nil
        case .write(let new): return KeyState(value: new)
        case .compareAndSet(let from, let to, let succeeded):
            let matches = state == KeyState(value: from)
            if isAnswered, succeeded != matches { return nil }
            return matches ? KeyState(value: to) : state
        case .delete(let existed):
            if isAnswered, existed != (state != .absent) { return nil }
            return .absent
        case .increment(let amount, let result):
            guard let counter = state.counter else { return isAnswered ? nil : state }
            let (sum, overflows) = counter.addingReportingOverflow(amount)
            if overflows { return isAnswered ? nil : state }
            if isAnswered, result != sum { return nil }
            return .number(UInt64(bitPattern: sum))
        case .append(let piece, let answer):
            let pieces = state.pieces + [piece]
            if isAnswered {
                switch answer {
                case .count(let count): if count != pieces.count { return nil }
                case .whole(let whole): if whole != pieces { return nil }
                }
            }
            return KeyState(pieces: pieces)
        }
    }
}
