// What clients saw: calls to a store of keys with their start, end and answer. Times are ticks of one monotonic clock
// of the observer. An operation whose answer never came may have taken effect at any time after its start, or never; it
// must never be left out of a history that is judged.

/// One call to one key. Values are numbers that stand for what was stored, 0 for "absent"; a good workload writes each
/// value once.
public struct KeyOperation: Hashable, Sendable {
    /// What an append answered.
    public enum AppendAnswer: Hashable, Sendable {
        /// How many pieces the key holds now. A store that answers bytes answers this when all pieces are equally long.
        case count(Int)
        /// Everything that the key holds now.
        case whole([UInt64])
    }

    /// A call and its answer. Without an answer, the results that stand here are ignored.
    public enum Action: Hashable, Sendable {
        /// Answered with the value.
        case read(UInt64)
        /// Answered with a number, nil for "absent": a counter that is at 0 exists.
        case readNumber(Int64?)
        /// Answered with all pieces, none for "absent".
        case readPieces([UInt64])
        case write(UInt64)
        /// Wrote `to` if the value was `from`; answered whether it did.
        case compareAndSet(from: UInt64, to: UInt64, succeeded: Bool)
        /// Removed the key; answered whether there was one, as DEL's `:1` and `:0` do.
        case delete(existed: Bool)
        /// Added to a number, absent counting as 0; answered with the new number.
        case increment(by: Int64, result: Int64)
        /// Put a piece behind what is there; a written value is the first piece.
        case append(UInt64, answer: AppendAnswer)
    }

    /// What the caller knows of the effect.
    public enum Outcome: Hashable, Sendable {
        /// It took effect between start and end, and the answer tells what it met.
        case answered
        /// It may take effect at any time after its start, also after its caller gave up, or never.
        case unknown
        /// It never takes effect.
        case notApplied
    }

    public var key: String
    public var action: Action
    public var start: UInt64
    /// Nil when no answer came.
    public var end: UInt64?
    /// What is known of the effect; an operation without an end is not answered.
    public var outcome: Outcome

    /// - Parameter outcome: nil means answered when there is an end, and unknown when there is none.
    public init(key: String, action: Action, start: UInt64, end: UInt64?, outcome: Outcome? = nil) {
        precondition(end.map { $0 >= start } ?? true, "an operation ends after it started")
        precondition(end != nil || outcome != .answered, "an answered operation has an end")
        self.key = key
        self.action = action
        self.start = start
        self.end = end
        self.outcome = outcome ?? (end == nil ? .unknown : .answered)
    }

    /// The latest time at which it took effect; nil when there is none.
    var effectiveEnd: UInt64? { outcome == .answered ? end : nil }

    /// Whether it only looks.
    var isRead: Bool {
        switch action {
        case .read, .readNumber, .readPieces: true
        case .write, .compareAndSet, .delete, .increment, .append: false
        }
    }

    /// A read without an answer tells nothing, and what was never applied has no part in the history.
    var tellsNothing: Bool { outcome == .notApplied || (isRead && effectiveEnd == nil) }

    /// The values that it certainly met or left, so that somebody must have written them.
    var valuesSeen: [UInt64] {
        guard effectiveEnd != nil else { return [] }
        switch action {
        case .read(let seen): return seen == 0 ? [] : [seen]
        case .readNumber(let seen): return seen.map { [UInt64(bitPattern: $0)] } ?? []
        case .readPieces(let seen), .append(_, .whole(let seen)): return seen
        case .compareAndSet(let from, _, true): return from == 0 ? [] : [from]
        case .compareAndSet, .write, .delete, .increment, .append: return []
        }
    }

    /// The value that it may have put into the key.
    var valueWritten: UInt64? {
        switch action {
        case .write(let value), .append(let value, _): return value
        case .compareAndSet(_, let to, let succeeded):
            return succeeded || effectiveEnd == nil ? to : nil
        case .read, .readNumber, .readPieces, .delete, .increment: return nil
        }
    }
}
