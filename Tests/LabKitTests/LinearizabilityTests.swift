// The checker must accept what one copy of a store could have answered and reject what it could not: known anomalies by
// hand, generated histories that are right by construction, and the same with one answer changed.

import Testing

@testable import LabKit

private func operation(
    _ action: KeyOperation.Action, _ start: UInt64, _ end: UInt64?, key: String = "a"
) -> KeyOperation {
    KeyOperation(key: key, action: action, start: start, end: end)
}

private struct Generator {
    var state: UInt64
    mutating func next(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
    }
}

/// A sequential run whose operations are stretched around the moment at which they took effect.
private func validHistory(seed: UInt64, count: Int) -> [KeyOperation] {
    var random = Generator(state: seed)
    var values: [String: UInt64] = [:]
    var history: [KeyOperation] = []
    for number in 1...count {
        let key = ["a", "b", "c"][Int(random.next(3))]
        let value = values[key] ?? 0
        let moment = UInt64(number) * 10
        var action = KeyOperation.Action.read(value)
        switch random.next(4) {
        case 0: action = .write(UInt64(number))
        case 1:
            let from = random.next(2) == 0 ? value : 999_999
            action = .compareAndSet(from: from, to: UInt64(number), succeeded: from == value)
        default: break
        }
        let isLost = random.next(12) == 0
        let isDropped = isLost && random.next(2) == 0
        let start = moment - random.next(40).clamped(to: moment)
        let operation = KeyOperation(
            key: key, action: action, start: start, end: isLost ? nil : moment + random.next(40))
        if !isDropped {
            let next = operation.apply(to: KeyState(value: value)) ?? KeyState(value: value)
            values[key] = next.pieces.first ?? 0
        }
        history.append(operation)
    }
    return history
}

extension UInt64 {
    fileprivate func clamped(to limit: UInt64) -> UInt64 { Swift.min(self, limit) }
}

@Suite struct LinearizabilityTests {
    private let checker = LinearizabilityChecker()

    private func isViolated(_ history: [KeyOperation]) -> Bool {
        if case .violated = checker.check(history) { return true }
        return false
    }

    @Test func acceptsOverlap() {
        #expect(checker.check([]) == .linearizable)
        #expect(
            checker.check([
                operation(.write(1), 0, 10), operation(.read(0), 1, 3), operation(.read(1), 4, 5),
                operation(.write(2), 6, 20), operation(.read(2), 7, 9), operation(.read(2), 11, 12),
            ]) == .linearizable)
    }

    @Test func rejectsAStaleRead() {
        #expect(isViolated([operation(.write(1), 0, 1), operation(.write(2), 2, 3), operation(.read(1), 4, 5)]))
    }

    @Test func rejectsALostWrite() {
        #expect(isViolated([operation(.write(1), 0, 1), operation(.read(0), 2, 3)]))
    }

    @Test func rejectsReadsThatGoBack() {
        #expect(isViolated([operation(.write(1), 0, 10), operation(.read(1), 1, 2), operation(.read(0), 3, 4)]))
    }

    @Test func rejectsAValueNobodyWrote() {
        #expect(isViolated([operation(.write(1), 0, 1), operation(.read(7), 2, 3)]))
    }

    @Test func rejectsTwoWinnersOfOneSwap() {
        #expect(
            isViolated([
                operation(.write(1), 0, 1),
                operation(.compareAndSet(from: 1, to: 2, succeeded: true), 2, 9),
                operation(.compareAndSet(from: 1, to: 3, succeeded: true), 2, 9),
            ]))
    }

    @Test func anUnknownOutcomeMayComeLateOrNever() {
        let lost = operation(.write(1), 0, nil)
        #expect(checker.check([lost, operation(.read(0), 5, 6), operation(.read(1), 7, 8)]) == .linearizable)
        #expect(checker.check([lost, operation(.read(0), 5, 6)]) == .linearizable)
        #expect(isViolated([lost, operation(.read(1), 5, 6), operation(.read(0), 7, 8)]))
        #expect(isViolated([operation(.read(1), 0, 1), operation(.write(1), 2, nil)]), "not before its start")
    }

    @Test func keysAreJudgedAlone() {
        let history = [
            operation(.write(1), 0, 1), operation(.write(2), 0, 1, key: "b"), operation(.read(2), 2, 3, key: "b"),
            operation(.read(0), 2, 3, key: "c"), operation(.read(0), 4, 5, key: "b"),
        ]
        guard case .violated(let key, let prefix) = checker.check(history) else {
            Issue.record("the read of b is stale")
            return
        }
        #expect(key == "b" && prefix.count == 2)
    }

    @Test func givesUpInsteadOfPassing() {
        var limited = LinearizabilityChecker()
        limited.stepsMax = 10
        let writes = (1...40).map { operation(.write(UInt64($0)), 0, 100) }
        let reads = [operation(.read(1), 200, 201), operation(.read(2), 202, 203)]
        #expect(limited.check(writes + reads) == .unknown(key: "a"))
        var hurried = LinearizabilityChecker()
        hurried.secondsMax = 0
        #expect(hurried.check(writes) == .unknown(key: "a"))
        hurried.secondsMax = 60
        #expect(hurried.check(writes) == .linearizable)
    }

    @Test(arguments: 0..<30 as Range<UInt64>)
    func acceptsWhatIsRightByConstruction(seed: UInt64) {
        #expect(checker.check(validHistory(seed: seed, count: 400)) == .linearizable, "seed \(seed)")
    }

    @Test(arguments: 0..<30 as Range<UInt64>)
    func rejectsOneChangedAnswer(seed: UInt64) {
        var history = validHistory(seed: seed, count: 200)
        let read = history.lastIndex { operation in
            if case .read = operation.action { return operation.end != nil }
            return false
        }
        guard let read else { return }
        history[read].action = .read(123_456_789)
        #expect(isViolated(history), "seed \(seed)")
    }
}
