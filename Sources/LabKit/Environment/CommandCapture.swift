// Runs a short command and keeps what it prints: git, swift. Never for anything that runs long or asks questions.
internal import Glibc

/// Runs helper programs of the system.
public enum CommandCapture {
    /// What a command left behind.
    public struct Output: Hashable, Sendable {
        /// Exit status, or 128 + signal.
        public var status: Int32
        /// Standard output, without trailing white space.
        public var text: String
    }

    static let outputBytesMax = 1 << 20

    /// Runs `arguments[0]`, found through PATH, with no input and errors discarded.
    /// - Returns: nil when the program could not be started, printed more than 1 MiB, or was not done after
    ///   `deadlineSeconds` (it is killed then).
    public static func run(_ arguments: [String], deadlineSeconds: Double = 10) -> Output? {
        guard let (pid, descriptor) = spawn(arguments) else { return nil }
        defer { close(descriptor) }
        let deadline = MonotonicClock.now() + UInt64(deadlineSeconds * 1e9)
        let bytes = drain(descriptor, until: deadline)
        if bytes == nil {
            kill(pid, SIGKILL)
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            if errno != EINTR { return nil }
        }
        guard var bytes else { return nil }
        while let last = bytes.last, last == 10 || last == 13 || last == 32 {
            bytes.removeLast()
        }
        let signal = status & 0x7F
        return Output(
            status: signal == 0 ? (status >> 8) & 0xFF : 128 + signal, text: String(decoding: bytes, as: UTF8.self))
    }

    private static func spawn(_ arguments: [String]) -> (pid: pid_t, output: Int32)? {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var pid: pid_t = 0
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        argv.append(nil)
        let code = posix_spawnp(&pid, arguments[0], &actions, nil, argv, environ)
        for argument in argv { free(argument) }
        close(ends[1])
        if code != 0 {
            close(ends[0])
            return nil
        }
        return (pid, ends[0])
    }

    private static func drain(_ descriptor: Int32, until deadline: UInt64) -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let now = MonotonicClock.now()
            guard now < deadline else { return nil }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, Int32((deadline - now) / 1_000_000) + 1)
            if ready < 0, errno != EINTR { return nil }
            guard ready > 0 else { continue }
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            bytes.append(contentsOf: chunk[..<count])
            if bytes.count > outputBytesMax { return nil }
        }
    }
}
