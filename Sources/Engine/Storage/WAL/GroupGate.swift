// The meeting place of concurrent writers: the first one in leads, whoever comes while it works waits for the next
// group. A lone writer locks and unlocks and never waits for another thread. Waiting is bounded by a deadline. It is
// made from the C library's mutex and condition, because the standard library's Mutex has nothing to wait on.
internal import Glibc

/// A mutex with a condition whose waits end at a deadline of the monotonic clock.
final class GroupGate: @unchecked Sendable {
    // @unchecked: both are meant to be used from many threads; their addresses never change.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    init() {
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        let outcome = pthread_mutex_init(mutex, nil) | pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
        precondition(outcome == 0, "a mutex and a condition need no resource that can be missing")
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }
    func wakeAll() { pthread_cond_broadcast(condition) }

    /// Waits until `isDone`, with the mutex held; false when `seconds` have passed first.
    func wait(seconds: Int, until isDone: () -> Bool) -> Bool {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        deadline.tv_sec += seconds
        while !isDone() {
            if pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { return isDone() }
        }
        return true
    }
}
