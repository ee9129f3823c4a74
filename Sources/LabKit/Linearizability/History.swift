// What clients saw: calls to a store of keys with their start, end and answer. Times are ticks of one monotonic clock of
// the observer. An operation whose answer never came may have taken effect at any time after its start, or never; it
// must never be left out of a history that is judged.

/// One call to one key. Values are numbers that stand for what was stored, 0 for "absent"; a good workload writes each
/// value once.
public struct KeyOperation: Hashable, Sendable {
    public enum Action: Hashable, Sendable {
        /// Answered with the value.
        case read(UInt64)
        case write(UInt64)
        /// Wrote `to` if the value was `from`; answered whether it did. Without an answer `succeeded` is ignored.
        case compareAndSet(from: UInt64, to: UInt64, succeeded: Bool)
    }
    public var key: String
    public var action: Action
    public var start: UInt64
    /// Nil when no answer came: the operation may take effect at any later time, or never.
    public var end: UInt64?

    public init(key: String, action: Action, start: UInt64, end: UInt64?) {
        precondition(end.map { $0 >= start } ?? true, "an operation ends after it started")
        self.key = key
        self.action = action
        self.start = start
        self.end = end
    }

    /// The value after the operation on `value`, or nil when its answer could not have come from `value`.
    func apply(to value: UInt64) -> UInt64? {
        switch action {
        case .read(let seen): return seen == value ? value : nil
        case .write(let new): return new
        case .compareAndSet(let from, let to, let succeeded):
            if end == nil { return value == from ? to : value }
            if succeeded != (value == from) { return nil }
            return succeeded ? to : value
        }
    }

    /// A read without an answer tells nothing.
    var tellsNothing: Bool {
        if case .read = action { return end == nil }
        return false
    }
}
