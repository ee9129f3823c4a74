// Waiting threads: a wake-up is never lost, wake-ups of one sleep are one, and time alone ends a sleep too.
import Foundation
import Synchronization
import Testing

@testable import Server

@Suite struct WakeupTests {
    private final class Ball: Sendable {
        let (there, back) = (Wakeup(), Wakeup())
        let turn = Atomic<Int>(0)
    }

    /// Two threads hand a number to and fro; a wake-up that was lost would cost the whole length of a sleep.
    @Test func noWakeUpIsLost() {
        let ball = Ball()
        let rounds = 20_000
        let begun = monotonicNanoseconds()
        let other = WorkerThread(name: "ball") {
            for round in 0..<rounds {
                while ball.turn.load(ordering: .acquiring) != 2 * round + 1 {
                    ball.there.sleep(nanoseconds: 1_000_000_000)
                }
                ball.turn.store(2 * round + 2, ordering: .releasing)
                ball.back.wake()
            }
        }
        for round in 0..<rounds {
            ball.turn.store(2 * round + 1, ordering: .releasing)
            ball.there.wake()
            while ball.turn.load(ordering: .acquiring) != 2 * round + 2 { ball.back.sleep(nanoseconds: 1_000_000_000) }
        }
        #expect(other.join(seconds: 10))
        let nanoseconds = (monotonicNanoseconds() - begun) / UInt64(rounds)
        print("a hand-over there and back: \(nanoseconds) ns")
    }

    @Test func wakeUpsOfOneSleepAreOne() {
        let wakeup = Wakeup()
        for _ in 0..<5 { wakeup.wake() }
        wakeup.sleep(nanoseconds: 60_000_000_000)
        let begun = monotonicNanoseconds()
        wakeup.sleep(nanoseconds: 20_000_000)
        #expect(monotonicNanoseconds() - begun >= 20_000_000, "an old wake-up ended a later sleep")
    }

    @Test func aThreadThatDoesNotEndIsNotWaitedForForEver() {
        let mayEnd = Occurrence()
        let thread = WorkerThread(name: "slow") { _ = mayEnd.wait(seconds: 60) }
        #expect(!thread.join(seconds: 0.02))
        mayEnd.happen()
        #expect(thread.join(seconds: 10))
        #expect(thread.join(seconds: 10), "the end of a thread may be waited for twice")
    }
}
