// One server process that LoadGen started. It dies with LoadGen: by orders while LoadGen lives, by the kernel's hand
// (parent-death signal) when LoadGen itself is killed. Never touches a process that it did not start.
import Glibc
import LabKit
import Synchronization

/// A child and its exit. Start it from the main thread: the parent-death signal is bound to the thread that starts it.
final class ChildProcess: Sendable {
    enum Status: Hashable {
        case running
        case exited(Int32)
        case signalled(Int32)
    }

    let pid: pid_t
    private let reaped = Mutex<Status>(.running)

    /// Every child that is not reaped yet, for the signal thread.
    private static let alive = Mutex<[pid_t]>([])
    /// Part of util-linux: sets the parent-death signal and execs.
    private static let setpriv = "/usr/bin/setpriv"

    /// Starts `executable` with its output appended to `logPath`, in a process group of its own (so that Ctrl-C in the
    /// terminal reaches LoadGen only).
    init(executable: String, arguments: [String], logPath: String) throws(LoadGenError) {
        var line = [executable] + arguments
        if access(ChildProcess.setpriv, X_OK) == 0 {
            line = [ChildProcess.setpriv, "--pdeathsig", "KILL"] + line
        }
        pid = try ChildProcess.spawn(line, logPath: logPath)
        let pid = pid
        ChildProcess.alive.withLock { $0.append(pid) }
    }

    private static func spawn(_ line: [String], logPath: String) throws(LoadGenError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, logPath, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
        posix_spawnattr_setflags(&attributes, Int16(flags))
        var argv: [UnsafeMutablePointer<CChar>?] = line.map { strdup($0) }
        argv.append(nil)
        defer { for argument in argv { free(argument) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, line[0], &actions, &attributes, argv, environ)
        guard code == 0 else {
            throw LoadGenError.cluster("can't start \(line[0]): \(String(cString: strerror(code)))")
        }
        return pid
    }

    /// Looks without waiting.
    var status: Status {
        reaped.withLock { reaped in
            if case .running = reaped {
                var code: Int32 = 0
                if waitpid(pid, &code, WNOHANG) == pid { ChildProcess.finish(pid, code, &reaped) }
            }
            return reaped
        }
    }

    private static func finish(_ pid: pid_t, _ code: Int32, _ reaped: inout Status) {
        let signal = code & 0x7F
        reaped = signal == 0 ? .exited((code >> 8) & 0xFF) : .signalled(signal)
        alive.withLock { $0.removeAll { $0 == pid } }
    }

    /// Sends a signal, unless the process is gone already.
    func send(_ signal: Int32) {
        reaped.withLock { reaped in
            // Not reaped means that the pid is still ours, even if the process has ended.
            if case .running = reaped { _ = kill(pid, signal) }
        }
    }

    /// Waits for the end.
    /// - Returns: false when it still runs after `seconds`.
    func waitForExit(seconds: Double) -> Bool {
        let deadline = MonotonicClock.now() + UInt64(seconds * 1e9)
        while status == .running {
            if MonotonicClock.now() >= deadline { return false }
            MonotonicClock.sleep(seconds: 0.005)
        }
        return true
    }

    /// SIGKILL, and waits until the kernel has taken it.
    func killNow() {
        send(SIGKILL)
        _ = waitForExit(seconds: 10)
    }

    /// SIGTERM, then SIGKILL if that is not enough.
    /// - Returns: false when it had to be killed.
    func stop(graceSeconds: Double) -> Bool {
        send(SIGTERM)
        if waitForExit(seconds: graceSeconds) { return true }
        killNow()
        return false
    }

    /// For the way out when nothing else can run any more.
    static func killAll() {
        alive.withLock { alive in
            for pid in alive { _ = kill(pid, SIGKILL) }
        }
    }
}
