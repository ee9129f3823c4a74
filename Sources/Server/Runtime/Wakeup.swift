// How threads of a node wait for each other or for time to pass: on a word of memory and the monotonic clock. Never on
// the wall clock, which may be set back by an hour while somebody waits for ten milliseconds of it (a semaphore's
// time-out counts on it under Linux). To wake a thread that does not sleep costs one exchange of that word and no
// system call.
import CEngine
import Synchronization

/// A word that one side sets and the other waits for.
private final class WaitWord: @unchecked Sendable {
    // Unchecked: the pointer never changes, and what it points to is an atomic.
    let word: UnsafeMutablePointer<Atomic<UInt32>>

    init() {
        word = .allocate(capacity: 1)
        word.initialize(to: Atomic(0))
    }

    deinit {
        word.deinitialize(count: 1)
        word.deallocate()
    }

    func wait(while expected: UInt32, until deadline: UInt64) {
        strata_wait_while(UnsafeRawPointer(word), expected, deadline)
    }

    func wakeWaiters() { strata_wake_waiters(UnsafeRawPointer(word)) }
}

/// Wakes a sleeping loop. Wake-ups do not pile up: those of one sleep are one. One thread sleeps, any may wake.
final class Wakeup: Sendable {
    private enum State {
        static let awake: UInt32 = 0
        /// Woken, and not noticed yet.
        static let woken: UInt32 = 1
        static let asleep: UInt32 = 2
    }
    private let state = WaitWord()

    /// No sleep is longer, whatever it was asked for.
    static let nanosecondsMax: UInt64 = 1_000_000_000

    /// Ends the sleep under way, or the next one at once.
    func wake() {
        let before = state.word.pointee.exchange(State.woken, ordering: .acquiringAndReleasing)
        if before == State.asleep { state.wakeWaiters() }
    }

    /// Sleeps until woken or until `nanoseconds` have passed, at most ``nanosecondsMax``.
    func sleep(nanoseconds: UInt64) {
        let deadline = monotonicNanoseconds() + min(nanoseconds, Self.nanosecondsMax)
        let (fellAsleep, _) = state.word.pointee.compareExchange(
            expected: State.awake, desired: State.asleep, ordering: .acquiringAndReleasing)
        if fellAsleep {
            while state.word.pointee.load(ordering: .acquiring) == State.asleep, monotonicNanoseconds() < deadline {
                state.wait(while: State.asleep, until: deadline)
            }
        }
        _ = state.word.pointee.exchange(State.awake, ordering: .acquiringAndReleasing)
    }
}

/// Something that happens once, and that any number of threads may wait for.
final class Occurrence: Sendable {
    private static let past: UInt32 = 1
    private let state = WaitWord()

    /// It has happened.
    func happen() {
        state.word.pointee.store(Self.past, ordering: .releasing)
        state.wakeWaiters()
    }

    /// Waits for it; false when it has not happened in time.
    func wait(seconds: Double) -> Bool {
        let deadline = monotonicNanoseconds() + UInt64(max(0, seconds) * 1e9)
        while state.word.pointee.load(ordering: .acquiring) != Self.past {
            if monotonicNanoseconds() >= deadline { return false }
            state.wait(while: 0, until: deadline)
        }
        return true
    }
}
