// The small parts on their own, against plain models: term runs, majorities, the window of appends in flight, random.

import Testing

@testable import Raft

@Suite struct TermRunsTests {
    /// The same log as a plain array of terms.
    private struct Model {
        var base = SnapshotPoint()
        var terms: [Term] = []
        var lastIndex: LogIndex { base.index + UInt64(terms.count) }
        func term(at index: LogIndex) -> Term? {
            if index == base.index { return base.term }
            if index < base.index || index > lastIndex { return nil }
            return terms[Int(index - base.index - 1)]
        }
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func behaveAsAnArrayOfTerms(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var runs = TermRuns(base: SnapshotPoint(), lastIndex: 0, starts: [])
        var model = Model()
        for _ in 0..<120 {
            switch random.next(in: 0..<6) {
            case 0 where !model.terms.isEmpty:
                let keep = random.next(in: 0..<model.terms.count)
                runs.truncate(from: model.base.index + UInt64(keep) + 1)
                model.terms.removeLast(model.terms.count - keep)
            case 1 where !model.terms.isEmpty:
                let drop = random.next(in: 1..<model.terms.count + 1)
                let point = SnapshotPoint(index: model.base.index + UInt64(drop), term: model.terms[drop - 1])
                runs.compact(through: point.index)
                model.base = point
                model.terms.removeFirst(drop)
            case 2 where random.next(in: 0..<10) == 0:
                let point = SnapshotPoint(index: model.lastIndex + 5, term: runs.lastTerm + 1)
                runs.reset(to: point)
                model = Model(base: point)
            default:
                let term = max(1, runs.lastTerm) + UInt64(random.next(in: 0..<2))
                let count = random.next(in: 1..<5)
                runs.append(term: term, count: UInt64(count))
                model.terms += Array(repeating: term, count: count)
            }
            check(runs, model, seed)
        }
    }

    private func check(_ runs: TermRuns, _ model: Model, _ seed: UInt64) {
        #expect(runs.lastIndex == model.lastIndex && runs.base == model.base, "seed \(seed)")
        var isSame = true
        for index in 0...model.lastIndex + 2 { isSame = isSame && runs.term(at: index) == model.term(at: index) }
        #expect(isSame, "seed \(seed)")
        let restored = TermRuns(base: runs.base, lastIndex: runs.lastIndex, starts: runs.starts)
        #expect(restored == runs, "seed \(seed)")
        for term in 0...runs.lastTerm + 1 {
            var expected = model.lastIndex
            while expected > model.base.index, model.term(at: expected) ?? 0 > term { expected -= 1 }
            let found = runs.lastPosition(atMost: model.lastIndex + 1, term: term)
            #expect(found.index == expected, "seed \(seed)")
        }
    }

    @Test func startsMayBeginBeforeTheBase() {
        let runs = TermRuns(
            base: SnapshotPoint(index: 10, term: 2), lastIndex: 14,
            starts: [TermStart(index: 1, term: 1), TermStart(index: 6, term: 2), TermStart(index: 13, term: 4)])
        #expect(runs.starts == [TermStart(index: 11, term: 2), TermStart(index: 13, term: 4)])
    }
}

@Suite struct QuorumTests {
    @Test(arguments: 1...7)
    func agreesWithSortingInAnyOrderOfUpdates(count: Int) {
        var random = SplitMix64(seed: UInt64(count))
        let majority = Majority((1...count).map { NodeID(UInt64($0)) })
        for _ in 0..<300 {
            let values = (0..<count).map { _ in random.next() % 6 }
            let expected = values.sorted(by: >)[count / 2]
            #expect(majority.agreed { values[Int($0.rawValue) - 1] } == expected, "\(values)")
        }
    }

    @Test(arguments: 1...7)
    func votesAreWonLostOrOpen(count: Int) {
        var random = SplitMix64(seed: UInt64(count))
        let majority = Majority((1...count).map { NodeID(UInt64($0)) })
        for _ in 0..<300 {
            let answers = (0..<count).map { _ in VoteAnswer(rawValue: UInt8(random.next(in: 0..<3))) ?? .none }
            let granted = answers.filter { $0 == .granted }.count
            let rejected = answers.filter { $0 == .rejected }.count
            let expected: VoteResult =
                granted * 2 > count ? .won : (count - rejected) * 2 > count ? .pending : .lost
            #expect(majority.result { answers[Int($0.rawValue) - 1] } == expected, "\(answers)")
        }
    }
}

@Suite struct ProgressTests {
    @Test func windowCountsMessagesAndBytes() {
        var window = InflightWindow()
        for last in 1...5 as ClosedRange<LogIndex> { window.add(last: last * 10, bytes: 7) }
        #expect(window.isFull(messagesMax: 5, bytesMax: 1000) && window.isFull(messagesMax: 9, bytesMax: 35))
        window.free(through: 9)
        #expect(window.sent.count == 5)
        window.free(through: 35)
        #expect(window.sent.count == 2 && window.bytes == 14)
        #expect(!window.isFull(messagesMax: 5, bytesMax: 35))
    }

    @Test func rejectionsNeverMoveNextToMatch() {
        var random = SplitMix64(seed: 1)
        for _ in 0..<2000 {
            var progress = Progress(id: NodeID(1), isVoter: true)
            progress.reset(next: LogIndex(random.next(in: 6..<20)))
            progress.match = LogIndex(random.next(in: 0..<5))
            if random.next(in: 0..<2) == 0 { progress.becomeReplicate() }
            _ = progress.decrease(
                rejected: LogIndex(random.next(in: 0..<25)), hint: LogIndex(random.next(in: 0..<25)))
            #expect(progress.next > progress.match)
        }
    }

    @Test func staleProbeRejectionIsIgnored() {
        var progress = Progress(id: NodeID(1), isVoter: true)
        progress.reset(next: 10)
        let isStale = !progress.decrease(rejected: 5, hint: 2)
        #expect(isStale && progress.next == 10)
        let isNews = progress.decrease(rejected: 9, hint: 4)
        #expect(isNews && progress.next == 5)
    }
}

@Suite struct RandomTests {
    @Test func followsTheReferenceSequence() {
        var random = SplitMix64(seed: 1_234_567)
        #expect(random.next() == 6_457_827_717_110_365_317)
        #expect(random.next() == 3_203_168_211_198_807_973)
    }

    @Test func staysInItsRange() {
        var random = SplitMix64(seed: 1)
        var seen = Set<Int>()
        for _ in 0..<500 { seen.insert(random.next(in: 3..<8)) }
        #expect(seen == [3, 4, 5, 6, 7])
    }
}
