// No key may hide another: a violation is found wherever it is, however hard its neighbours are to judge, and the
// verdict is the same on every machine. What makes a history wrong is named with as few operations as possible.

import Testing

@testable import LabKit

private func operation(
    _ action: KeyOperation.Action, _ start: UInt64, _ end: UInt64?, key: String = "a",
    outcome: KeyOperation.Outcome? = nil
) -> KeyOperation {
    KeyOperation(key: key, action: action, start: start, end: end, outcome: outcome)
}

/// Twenty writes at once, and reads that no order of them explains: too many orders to try them all.
private func hardAndWrong(key: String) -> [KeyOperation] {
    (1...20).map { operation(.write(UInt64($0)), 0, 100, key: key) }
        + [operation(.read(1), 200, 201, key: key), operation(.read(2), 202, 203, key: key)]
}

/// Each value is written and then read, one call after the other.
private func writtenAndRead(_ values: UInt64, key: String) -> [KeyOperation] {
    var history: [KeyOperation] = []
    for value in 1...values {
        let moment = value * 10
        history.append(operation(.write(value), moment, moment + 1, key: key))
        history.append(operation(.read(value), moment + 2, moment + 3, key: key))
    }
    return history
}

@Suite struct LinearizabilityBudgetTests {
    private func key(_ verdict: Linearizability) -> String? {
        if case .violated(let key, _) = verdict { return key }
        return nil
    }

    /// The case of the field: one hard key used up the time of all.
    @Test func aHardKeyHidesNoViolationOfAnother() {
        var checker = LinearizabilityChecker()
        checker.secondsMax = 5
        let a = (1...20).map { operation(.write(UInt64($0)), 0, 100) } + [operation(.read(99), 200, 201)]
        let b = [operation(.write(1), 0, 1, key: "b"), operation(.read(2), 2, 3, key: "b")]
        #expect(key(checker.check(a + b)) == "b")
        #expect(key(checker.check(a)) == "a", "nobody wrote 99")
    }

    /// The violation here needs a search of its own, in a key that comes last.
    @Test(arguments: [false, true]) func aViolationThatNeedsASearchIsFoundBehindHardKeys(isTimed: Bool) {
        var checker = LinearizabilityChecker()
        checker.stepsMax = 100_000
        checker.secondsMax = isTimed ? 60 : nil
        let hard = ["a", "b", "c"].flatMap { hardAndWrong(key: $0) }
        #expect(checker.check(hard) == .unknown(key: "a"), "given up, not passed")
        let sequential = writtenAndRead(200, key: "z")
        let stale = operation(.read(5), 9000, 9001, key: "z")
        #expect(key(checker.check(hard + sequential + [stale])) == "z")
        #expect(checker.check(hard + sequential) == .unknown(key: "a"))
    }

    /// Without a limit of time, steps alone decide, and always in the same way.
    @Test func theVerdictIsTheSameEachTime() {
        var checker = LinearizabilityChecker()
        checker.stepsMax = 20_000
        let history = ["x", "y"].flatMap { hardAndWrong(key: $0) }
        let verdicts = Set((0..<3).map { _ in checker.check(history) })
        #expect(verdicts == [.unknown(key: "x")])
    }

    @Test func aReadOfAValueThatNobodyWroteNeedsNoSearch() {
        var checker = LinearizabilityChecker()
        checker.stepsMax = 0
        checker.secondsMax = 0
        let writes = (1...40).map { operation(.write(UInt64($0)), 0, 100) }
        #expect(key(checker.check(writes + [operation(.read(77), 50, 51)])) == "a")
        let early = writes + [operation(.read(50), 50, 51), operation(.write(50), 52, 60)]
        #expect(key(checker.check(early)) == "a", "written only after the read had been answered")
        let late = writes + [operation(.read(50), 50, 52), operation(.write(50), 52, 60)]
        #expect(key(checker.check(late)) == nil, "they touch, so they overlap")
        let lost = writes + [operation(.read(50), 50, 51), operation(.write(50), 0, nil)]
        #expect(key(checker.check(lost)) == nil, "a write without an answer may be what was read")
        let refused = writes + [operation(.read(50), 50, 51), operation(.write(50), 0, 9, outcome: .notApplied)]
        #expect(key(checker.check(refused)) == "a", "a write that was refused is no writer")
        let swap = operation(.compareAndSet(from: 50, to: 51, succeeded: true), 50, 51)
        #expect(key(checker.check(writes + [swap])) == "a", "nobody wrote what it found")
        let failed = operation(.compareAndSet(from: 1, to: 50, succeeded: false), 0, 20)
        #expect(key(checker.check(writes + [failed, operation(.read(50), 50, 51)])) == "a", "it did not write")
        let pieces = [
            operation(.append(1, answer: .count(1)), 0, 1), operation(.readPieces([1, 7]), 2, 3),
        ]
        #expect(key(checker.check(pieces)) == "a", "nobody appended 7")
    }

    @Test func whatWasNotAppliedNeverTakesEffect() {
        let checker = LinearizabilityChecker()
        let refused = operation(.write(1), 0, 5, outcome: .notApplied)
        #expect(checker.check([refused, operation(.read(0), 6, 7)]) == .linearizable)
        #expect(key(checker.check([refused, operation(.read(1), 6, 7)])) == "a")
        let increment = operation(.increment(by: 1, result: 0), 0, nil, outcome: .notApplied)
        #expect(checker.check([increment, operation(.readNumber(nil), 6, 7)]) == .linearizable)
        #expect(key(checker.check([increment, operation(.readNumber(1), 6, 7)])) == "a")
    }

    /// The end of an operation of unknown outcome is when its caller gave up, not a bound for its effect.
    @Test func anUnknownOutcomeWithAnEndMayStillComeLater() {
        let checker = LinearizabilityChecker()
        let lost = operation(.write(1), 0, 5, outcome: .unknown)
        #expect(checker.check([lost, operation(.read(0), 6, 7), operation(.read(1), 8, 9)]) == .linearizable)
        #expect(key(checker.check([lost, operation(.read(1), 6, 7), operation(.read(0), 8, 9)])) == "a")
    }

    @Test func theWitnessNamesTheOperationsThatContradictEachOther() {
        let checker = LinearizabilityChecker()
        var history = writtenAndRead(100, key: "a")
        history.insert(operation(.read(40), 701, 702), at: 140)
        #expect(key(checker.check(history)) == "a")
        let witness = checker.witness(of: "a", in: history)
        #expect(witness.contains(140), "the stale read")
        #expect(witness.count <= 3, "\(witness.map { history[$0] })")
        let rest = witness.map { history[$0] }
        #expect(key(checker.check(rest)) == "a", "the witness is wrong by itself")
        #expect(checker.witness(of: "a", in: Array(history[..<100])) == [])
        #expect(checker.witness(of: "b", in: history) == [])
        #expect(checker.witness(of: "a", in: [operation(.write(1), 0, 1), operation(.read(2), 2, 3)]) == [1])
    }
}
