// The pool of threads that may block: nothing is kept once it is done.
import Foundation
import Synchronization
import Testing

@testable import Server

@Suite struct BlockingPoolTests {
    private final class Held: Sendable {}

    private final class Watch: @unchecked Sendable {
        // Unchecked: set before the pool sees it, then only read.
        weak var held: Held?
    }

    private final class Witness: Sendable {
        let sawIt = Atomic(true)
    }

    /// Pieces of snapshots that were done long ago once filled the memory, because the next ones always came in time.
    @Test func whatADoneClosureHeldIsLetGoThoughMoreWaits() {
        let pool = BlockingPool(name: "test", threads: 1)
        defer { pool.stop() }
        let (watch, witness) = (Watch(), Witness())
        let (isStarted, mayGo, isDone) = (
            DispatchSemaphore(value: 0), DispatchSemaphore(value: 0), DispatchSemaphore(value: 0)
        )
        pool.run {
            isStarted.signal()
            mayGo.wait()
        }
        #expect(isStarted.wait(timeout: .now() + 10) == .success)
        do {
            let held = Held()
            watch.held = held
            pool.run { withExtendedLifetime(held) {} }
        }
        pool.run { witness.sawIt.store(watch.held != nil, ordering: .relaxed) }
        pool.run { isDone.signal() }
        mayGo.signal()
        #expect(isDone.wait(timeout: .now() + 10) == .success)
        let sawIt = witness.sawIt.load(ordering: .relaxed)
        #expect(!sawIt)
    }
}
