// When a log is sealed: its end marked as durable and its durable position recorded apart from it, so that damage, a
// cut or a deletion can be told from a write that a crash interrupted. Never between writes: once a log has been idle
// for a second, at most every ten seconds while it is not, and when the node stops.
import Raft
import SegmentedLog

extension ClusterHost {
    /// Nothing was appended for so long: the log is sealed. In nanoseconds.
    static let sealIdleTime: UInt64 = 1_000_000_000
    /// The durable position of a log that is never idle is recorded this often.
    static let sealBusyTime: UInt64 = 10_000_000_000
    /// Logs that one tick seals, so that the log writers are never busy with nothing else.
    static let sealsPerTickMax = 32

    /// The end of a group's log is not sealed: something became durable, or a crash left it so.
    func noteUnsealed(_ group: Group) {
        group.lastStoredAt = now
        guard !group.isUnsealed else { return }
        group.isUnsealed = true
        group.sealedAt = now
        unsealed.append(group)
    }

    /// Once a tick: seals what has been idle, and records how far the others are durable.
    func sealIdleLogs() {
        guard !unsealed.isEmpty else { return }
        var left = Self.sealsPerTickMax
        unsealed.removeAll { group in
            guard left > 0, group.work == nil, group.awaiting.isEmpty else { return false }
            if now - group.lastStoredAt >= Self.sealIdleTime {
                left -= 1
                seal(group, .end)
                group.isUnsealed = false
                return true
            }
            if now - group.sealedAt >= Self.sealBusyTime {
                left -= 1
                seal(group, .floor)
                group.sealedAt = now
            }
            return false
        }
    }

    /// Seals every log whose end is not marked; the node stops, and nothing is appended any more.
    public func sealLogs() {
        guard failure == nil else { return }
        for group in unsealed {
            seal(group, .end)
            group.submitWork()
            for work in group.submitted { environment.submit(work) }
            group.submitted.removeAll()
        }
        unsealed = []
    }

    private func seal(_ group: Group, _ seal: StorageWork.Seal) {
        group.submitWork()
        group.startWork()
        group.work?.seal = seal
        schedule.touch(group)
    }
}
