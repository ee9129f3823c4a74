// Ctrl-C and its kin: the first one ends the run in order (partial results are kept, children go), the second one at
// once. Signals are taken by one thread with sigwait, so nothing ever runs inside a signal handler.
import Glibc

enum SignalThread {
    /// Call once, on the main thread, before any other thread is started.
    static func start() {
        signal(SIGPIPE, SIG_IGN)
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, number) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        let waited = set
        WorkerThread {
            var set = waited
            var number: Int32 = 0
            while true {
                guard sigwait(&set, &number) == 0 else { continue }
                if Interruption.isRequested {
                    ChildProcess.killAll()
                    _exit(ExitStatus.interrupted.rawValue)
                }
                Interruption.request()
                StandardError.write("\ninterrupted: ending the run, results so far are kept (again: stop at once)\n")
            }
        }.detach()
    }
}
