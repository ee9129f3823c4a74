// The name of a run: sortable by time, greppable, safe as a file name.

/// `<UTC>-<commit7>[-dirty]-<suite>-<backend>-<allocator>-<two base-32 digits>`
public enum RunID {
    private static let digits = Array("abcdefghijklmnopqrstuvwxyz234567")

    public static func make(
        started: WallTime, environment: RunEnvironment, suite: String, backend: String, allocator: String, seed: UInt64
    ) -> String {
        var random = SeededRandom(seed: seed)
        let tail = String([digits[random.below(32)], digits[random.below(32)]])
        let commit = environment.shortCommit + (environment.dirty ? "-dirty" : "")
        let parts = [started.compact, commit, safe(suite), safe(backend), safe(allocator), tail]
        return parts.joined(separator: "-")
    }

    private static func safe(_ part: String) -> String {
        String(part.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }
}

extension RunReport {
    /// Gives the run its name from what is known of it now. Once the files are written it must not change any more.
    public mutating func nameRun(started: WallTime) {
        run = RunID.make(
            started: started, environment: environment, suite: name ?? suite, backend: identity.backend,
            allocator: identity.allocator, seed: seed ^ UInt64(bitPattern: started.milliseconds))
    }
}
