// Whether the store's background thread gets on. The thread says when it has finished a piece of its work, the host
// asks once a tick; neither waits for the other. A thread that never comes back from a call or from its sleep shows
// here.
import Synchronization

final class MaintenanceWatch: Sendable {
    /// When the last piece of work was finished, or when there was last nothing to do; 0 before the start.
    private let progressedAt = Atomic<UInt64>(0)
    /// Writers wait for the work: it is behind.
    private let isNeeded = Mutex<@Sendable () -> Bool>({ false })

    /// The thread begins.
    /// - Parameter isNeeded: whether writers wait for its work; asked from the host's thread.
    func begin(isNeeded: @escaping @Sendable () -> Bool) {
        self.isNeeded.withLock { $0 = isNeeded }
        progress()
    }

    /// A piece of work is done, or there was none.
    func progress() {
        progressedAt.store(monotonicNanoseconds(), ordering: .relaxed)
    }

    /// Since when nothing was finished while writers wait; nil when nobody waits.
    func stuckSince() -> UInt64? {
        let since = progressedAt.load(ordering: .relaxed)
        guard since > 0, isNeeded.withLock({ $0 })() else { return nil }
        return since
    }
}
