// What calls with results may answer: deletes that count, counters, appends. Known anomalies by hand; histories of a
// real object that are right by construction, and the same made wrong; and small histories against a checker that tries
// every order there is.

import Testing

@testable import LabKit

private func operation(
    _ action: KeyOperation.Action, _ start: UInt64, _ end: UInt64?, key: String = "a"
) -> KeyOperation {
    KeyOperation(key: key, action: action, start: start, end: end)
}

/// Tries every order and every choice of the operations without an answer. For a handful of operations.
private func isExplained(_ history: [KeyOperation]) -> Bool {
    func search(_ left: [KeyOperation], _ state: KeyState) -> Bool {
        if left.allSatisfy({ $0.effectiveEnd == nil }) { return true }
        return left.indices.contains { index in
            let next = left[index]
            // It may come next when no other one had ended before it started.
            if left.contains(where: { $0.effectiveEnd.map { $0 < next.start } == true }) { return false }
            guard let after = next.apply(to: state) else { return false }
            var rest = left
            rest.remove(at: index)
            return search(rest, after)
        }
    }
    return search(history.filter { !$0.tellsNothing }, .absent)
}

/// Calls of every kind to one object that takes one at a time, each stretched around the moment of its effect.
private func objectHistory(seed: UInt64, count: Int, stretch: Int) -> [KeyOperation] {
    var random = SeededRandom(seed: seed)
    var states: [String: KeyState] = [:]
    var history: [KeyOperation] = []
    for number in 1...count {
        // Of three keys: a register, a counter, a list.
        let kind = random.below(3)
        let key = ["register", "counter", "list"][kind]
        let state = states[key] ?? .absent
        let value = UInt64(number)
        var action: KeyOperation.Action
        switch (kind, random.below(4)) {
        case (_, 0): action = .delete(existed: state != .absent)
        case (0, 1): action = .write(value)
        case (0, 2):
            let isRight = random.below(2) == 0
            let from = isRight ? state.pieces.first ?? 0 : 999_999
            action = .compareAndSet(from: from, to: value, succeeded: isRight)
        case (0, _): action = .read(state.pieces.first ?? 0)
        case (1, 3): action = .readNumber(state == .absent ? nil : state.counter)
        case (1, _):
            let amount = Int64(random.below(7)) - 3
            action = .increment(by: amount, result: (state.counter ?? 0) + amount)
        case (_, 3): action = .readPieces(state.pieces)
        case (_, let choice):
            let pieces = state.pieces + [value]
            action = .append(value, answer: choice == 1 ? .count(pieces.count) : .whole(pieces))
        }
        let moment = value * 10
        let start = moment - min(moment, UInt64(random.below(stretch)))
        let isLost = random.below(12) == 0
        let call = KeyOperation(
            key: key, action: action, start: start, end: isLost ? nil : moment + UInt64(random.below(stretch)))
        if !isLost || random.below(2) == 0 { states[key] = call.apply(to: state) ?? state }
        history.append(call)
    }
    return history
}

@Suite struct LinearizabilityModelTests {
    private let checker = LinearizabilityChecker()

    private func isViolated(_ history: [KeyOperation]) -> Bool {
        if case .violated = checker.check(history) { return true }
        return false
    }

    /// Two deletes of one key at once: exactly one of them answers that there was something.
    @Test func onlyOneOfTwoDeletesFindsTheKey() {
        let write = operation(.write(1), 0, 1)
        func deletes(_ one: Bool, _ two: Bool) -> [KeyOperation] {
            [write, operation(.delete(existed: one), 2, 9), operation(.delete(existed: two), 2, 9)]
        }
        #expect(checker.check(deletes(true, false)) == .linearizable)
        #expect(checker.check(deletes(false, true)) == .linearizable)
        #expect(isViolated(deletes(true, true)))
        #expect(isViolated(deletes(false, false)))
        let again = deletes(true, true) + [operation(.write(2), 3, 8)]
        #expect(checker.check(again) == .linearizable, "a write between them")
        let lost = [write, operation(.delete(existed: false), 2, nil), operation(.delete(existed: false), 4, 5)]
        #expect(checker.check(lost) == .linearizable, "the one without an answer may have removed it")
        #expect(isViolated(lost + [operation(.read(1), 6, 7)]))
    }

    @Test func incrementsNeverAnswerTheSameNumberTwice() {
        func increment(_ result: Int64, _ start: UInt64, _ end: UInt64?) -> KeyOperation {
            operation(.increment(by: 1, result: result), start, end)
        }
        #expect(checker.check([increment(2, 0, 9), increment(1, 0, 9), increment(3, 0, 9)]) == .linearizable)
        #expect(isViolated([increment(1, 0, 9), increment(1, 0, 9)]))
        #expect(isViolated([increment(2, 0, 1), increment(1, 2, 3)]), "in the wrong order")
        #expect(isViolated([increment(1, 0, 1), increment(3, 2, 3)]), "one is missing")
        #expect(checker.check([increment(1, 0, 1), increment(0, 0, nil), increment(3, 2, 3)]) == .linearizable)
        #expect(checker.check([operation(.write(41), 0, 1), increment(42, 2, 3)]) == .linearizable)
        let zero = [increment(1, 0, 1), operation(.increment(by: -1, result: 0), 2, 3)]
        #expect(checker.check(zero + [operation(.readNumber(0), 4, 5)]) == .linearizable)
        #expect(checker.check(zero + [operation(.delete(existed: true), 4, 5)]) == .linearizable, "0 is a value")
        #expect(isViolated(zero + [operation(.readNumber(nil), 4, 5)]))
        let large = [operation(.increment(by: .max, result: .max), 0, 1), increment(.min, 2, 3)]
        #expect(isViolated(large), "a counter does not wrap")
    }

    @Test func appendsAnswerWhatIsThere() {
        func append(_ piece: UInt64, _ answer: KeyOperation.AppendAnswer, _ start: UInt64, _ end: UInt64?)
            -> KeyOperation
        {
            operation(.append(piece, answer: answer), start, end)
        }
        #expect(checker.check([append(1, .count(2), 0, 9), append(2, .count(1), 0, 9)]) == .linearizable)
        #expect(isViolated([append(1, .count(1), 0, 9), append(2, .count(1), 0, 9)]), "a lost append")
        #expect(checker.check([append(1, .whole([2, 1]), 0, 9), append(2, .whole([2]), 0, 9)]) == .linearizable)
        #expect(isViolated([append(1, .whole([2, 1]), 0, 9), append(2, .whole([1, 2]), 0, 9)]))
        let twice = [append(1, .count(1), 0, nil), operation(.readPieces([1, 1]), 5, 6)]
        #expect(isViolated(twice), "applied twice")
        let behind = [operation(.write(7), 0, 1), append(8, .count(2), 2, 3)]
        #expect(checker.check(behind + [operation(.readPieces([7, 8]), 4, 5)]) == .linearizable)
        #expect(checker.check([append(8, .count(1), 0, 1), operation(.read(8), 2, 3)]) == .linearizable)
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func whatOneObjectAnsweredIsLinearizable(seed: UInt64) {
        let history = objectHistory(seed: seed, count: 300, stretch: 40)
        #expect(checker.check(history) == .linearizable, "seed \(seed)")
        var random = SeededRandom(seed: seed, stream: 1)
        #expect(checker.check(history.shuffled(using: &random)) == .linearizable, "order of recording, seed \(seed)")
    }

    /// Calls that follow each other, so that every answer is known: any other answer is wrong.
    @Test(arguments: 0..<40 as Range<UInt64>)
    func oneChangedAnswerIsFound(seed: UInt64) {
        var history = objectHistory(seed: seed, count: 120, stretch: 1).map { call in
            var call = call
            call.end = call.end ?? call.start
            call.outcome = .answered
            return call
        }
        // The answers of a run in which nothing was lost.
        var states: [String: KeyState] = [:]
        history = history.map { call in
            let answered = Self.answered(call, from: states[call.key] ?? .absent)
            states[call.key] = answered.apply(to: states[call.key] ?? .absent)
            return answered
        }
        #expect(checker.check(history) == .linearizable, "seed \(seed)")
        var random = SeededRandom(seed: seed, stream: 2)
        let position = random.below(history.count)
        guard let wrong = Self.changed(history[position].action) else { return }
        history[position].action = wrong
        #expect(isViolated(history), "seed \(seed): \(wrong) at \(position)")
    }

    /// The call with the answer that `state` gives.
    private static func answered(_ call: KeyOperation, from state: KeyState) -> KeyOperation {
        var call = call
        switch call.action {
        case .read: call.action = .read(state.pieces.first ?? 0)
        case .readNumber: call.action = .readNumber(state == .absent ? nil : state.counter)
        case .readPieces: call.action = .readPieces(state.pieces)
        case .delete: call.action = .delete(existed: state != .absent)
        case .compareAndSet(let from, let to, _):
            call.action = .compareAndSet(from: from, to: to, succeeded: state == KeyState(value: from))
        case .increment(let amount, _):
            call.action = .increment(by: amount, result: (state.counter ?? 0) + amount)
        case .append(let piece, .count):
            call.action = .append(piece, answer: .count(state.pieces.count + 1))
        case .append(let piece, .whole):
            call.action = .append(piece, answer: .whole(state.pieces + [piece]))
        case .write: break
        }
        return call
    }

    private static func changed(_ action: KeyOperation.Action) -> KeyOperation.Action? {
        switch action {
        case .read(let value): .read(value + 1)
        case .readNumber(let value): .readNumber(value.map { $0 + 1 } ?? 0)
        case .readPieces(let pieces): .readPieces(pieces.isEmpty ? [1] : Array(pieces.dropLast()))
        case .delete(let existed): .delete(existed: !existed)
        case .compareAndSet(let from, let to, let succeeded):
            .compareAndSet(from: from, to: to, succeeded: !succeeded)
        case .increment(let amount, let result): .increment(by: amount, result: result + 1)
        case .append(let piece, .count(let count)): .append(piece, answer: .count(count + 1))
        case .append(let piece, .whole(let whole)): .append(piece, answer: .whole(whole + [piece]))
        case .write: nil
        }
    }

    /// Random answers, most of them wrong: both checkers must agree on each history.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func agreesWithTryingEveryOrder(seed: UInt64) {
        var random = SeededRandom(seed: seed, stream: 3)
        var verdicts: [Bool: Int] = [:]
        for round in 0..<200 {
            let history = (0..<(2 + random.below(5))).map { _ in Self.anyCall(&random) }
            let expected = isExplained(history)
            verdicts[expected, default: 0] += 1
            let verdict = checker.check(history)
            #expect(
                expected ? verdict == .linearizable : isViolated(history), "seed \(seed) round \(round): \(history)")
            guard !expected else { continue }
            let witness = checker.witness(of: "a", in: history)
            #expect(!witness.isEmpty && Set(witness).count == witness.count, "seed \(seed) round \(round)")
        }
        #expect((verdicts[true] ?? 0) > 20 && (verdicts[false] ?? 0) > 20, "\(verdicts)")
    }

    private static func anyCall(_ random: inout SeededRandom) -> KeyOperation {
        let small = UInt64(random.below(3))
        let flag = random.below(2) == 0
        let action: KeyOperation.Action
        switch random.below(9) {
        case 0, 1: action = .write(1 + small)
        case 2, 3: action = .read(small)
        case 4: action = .compareAndSet(from: small, to: 1 + UInt64(random.below(3)), succeeded: flag)
        case 5: action = .delete(existed: flag)
        case 6: action = .increment(by: 1, result: Int64(1 + small))
        case 7: action = .append(1 + small, answer: .count(1 + random.below(2)))
        default: action = .readPieces(flag ? [1 + small] : [1, 1 + small])
        }
        let start = UInt64(random.below(12))
        let choice = random.below(8)
        let end = choice == 0 ? nil : start + UInt64(random.below(8))
        return KeyOperation(
            key: "a", action: action, start: start, end: end, outcome: choice == 1 ? .notApplied : nil)
    }
}
