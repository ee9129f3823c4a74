// What a node takes in of producers: bounded, in order, and told at once when it is too much.
import Cluster
import Synchronization
import Testing

@testable import Broker

@Suite struct ProduceBudgetTests {
    private final class Seen: Sendable {
        let begun = Mutex<[Int]>([])
        let refused = Mutex<[Int]>([])
    }

    private func enter(_ number: Int, _ bytes: Int, _ budget: ProduceBudget, _ seen: Seen) {
        budget.enter(bytes: bytes) {
            seen.begun.withLock { $0.append(number) }
        } refuse: { _ in
            seen.refused.withLock { $0.append(number) }
        }
    }

    @Test func whatExceedsTheBudgetWaitsInOrder() {
        let (budget, seen) = (ProduceBudget { 0 }, Seen())
        let half = ProduceBudget.bytesMax / 2
        for number in 0..<5 { enter(number, half, budget, seen) }
        enter(5, 1, budget, seen)
        #expect(seen.begun.withLock { $0 } == [0, 1], "a small one must not pass those that wait")
        for count in 3...5 {
            budget.leave(bytes: half)
            #expect(seen.begun.withLock { $0 } == Array(0..<count))
        }
        budget.leave(bytes: half)
        #expect(seen.begun.withLock { $0 } == Array(0..<6))
        budget.leave(bytes: half)
        budget.leave(bytes: 1)
        #expect(budget.usage == (0, 0))
    }

    @Test func aBatchLargerThanTheBudgetBeginsAlone() {
        let (budget, seen) = (ProduceBudget { 0 }, Seen())
        enter(0, 1, budget, seen)
        enter(1, ProduceBudget.bytesMax + 1, budget, seen)
        #expect(seen.begun.withLock { $0 } == [0])
        budget.leave(bytes: 1)
        #expect(seen.begun.withLock { $0 } == [0, 1])
    }

    @Test func whatExceedsTheQueueIsRefusedAtOnceAndWhatWaitsTooLongLater() {
        let (budget, seen) = (ProduceBudget { 0 }, Seen())
        enter(0, ProduceBudget.bytesMax, budget, seen)
        enter(1, ProduceBudget.waitingBytesMax, budget, seen)
        enter(2, 1, budget, seen)
        #expect(seen.refused.withLock { $0 } == [2])
        budget.expire(now: ProduceBudget.waitMax - 1)
        #expect(seen.refused.withLock { $0 } == [2])
        budget.expire(now: ProduceBudget.waitMax)
        #expect(seen.refused.withLock { $0 } == [2, 1])
        #expect(budget.usage == (ProduceBudget.bytesMax, 0))
        for number in 0...ProduceBudget.waitingMax { enter(10 + number, 1, budget, seen) }
        #expect(seen.refused.withLock { $0.count } == 3, "small ones are counted, too")
    }

    /// When the node stops, each batch is refused as soon as it begins: without one call inside the other.
    @Test func tensOfThousandsThatEndAsTheyBeginNeedNoStack() {
        let (budget, seen) = (ProduceBudget { 0 }, Seen())
        enter(-1, ProduceBudget.bytesMax, budget, seen)
        for number in 0..<60_000 {
            budget.enter(bytes: 61) {
                seen.begun.withLock { $0.append(number) }
                budget.leave(bytes: 61)
            } refuse: { _ in
                seen.refused.withLock { $0.append(number) }
            }
        }
        budget.leave(bytes: ProduceBudget.bytesMax)
        #expect(seen.begun.withLock { $0 } == Array(-1..<60_000))
        #expect(budget.usage == (0, 0))
    }

    /// One that comes while others are being let in does not pass them.
    @Test func nobodyPassesThoseThatAreBeingLetIn() {
        let (budget, seen) = (ProduceBudget { 0 }, Seen())
        enter(0, ProduceBudget.bytesMax, budget, seen)
        budget.enter(bytes: 1) {
            enter(2, 1, budget, seen)
            seen.begun.withLock { $0.append(1) }
        } refuse: { _ in
        }
        budget.leave(bytes: ProduceBudget.bytesMax)
        #expect(seen.begun.withLock { $0 } == [0, 1, 2])
    }
}
