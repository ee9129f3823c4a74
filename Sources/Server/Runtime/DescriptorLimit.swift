// The process's limit of open files. Shells start programs with a soft limit of 1,024 that is there for select(2); this
// server does not use it, and every partition keeps files open. So the soft limit is raised to the hard one before
// anything is opened.
import Foundation

enum DescriptorLimit {
    /// Raises the soft limit to the hard one.
    /// - Returns: the soft limit before, and now.
    static func raise() -> (before: UInt64, now: UInt64) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return (1024, 1024) }
        let before = UInt64(limit.rlim_cur)
        guard limit.rlim_cur < limit.rlim_max else { return (before, before) }
        limit.rlim_cur = limit.rlim_max
        guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return (before, before) }
        return (before, UInt64(limit.rlim_max))
    }
}
