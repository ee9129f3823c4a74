// What becomes of a run in which a precondition of the core ends the process: the handler of the signal says which seed
// ran, and under `seeds` turns the process into one that makes the run smaller. It may do only what a signal handler
// may: no allocation, no locks, memory that was there before.

import Glibc

private let workersMax = 64
private let textMax = 24

/// What each worker is at, in memory that is always there.
private struct Running {
    var seed: UInt64?
    var thread: pthread_t = 0
    var seeds = 0
}

nonisolated(unsafe) private let running: UnsafeMutablePointer<Running> = {
    let workers = UnsafeMutablePointer<Running>.allocate(capacity: workersMax)
    workers.initialize(repeating: Running(), count: workersMax)
    return workers
}()

/// The command line that makes a run smaller, with room for the numbers at 2 and 4; nil unless under `seeds`.
nonisolated(unsafe) private var shrinkCommand: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?

let threadsMax = workersMax

/// The worker of this thread begins with `seed`, or has nothing more to do.
func noteRunning(_ seed: UInt64?, _ worker: Int) {
    running[worker].thread = pthread_self()
    running[worker].seed = seed
    running[worker].seeds += 1
}

/// From now on a trap goes on as `RaftCheck shrink`. Call it before the first worker starts.
func shrinksTraps(events: Int) {
    let blank = String(repeating: " ", count: textMax)
    let words = ["RaftCheck", "shrink", blank, "\(events)", blank] + mutantArguments
    let command = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: words.count + 1)
    for (position, word) in words.enumerated() { command[position] = strdup(word) }
    command[words.count] = nil
    shrinkCommand = command
}

func installTrapHandler() {
    _ = running
    // After an exec from the handler the signal is still blocked.
    var none = sigset_t()
    sigemptyset(&none)
    sigprocmask(SIG_SETMASK, &none, nil)
    for number in [SIGILL, SIGTRAP, SIGSEGV] {
        signal(number) { _ in
            var seeds = 0
            var culprit: UInt64 = 0
            for worker in 0..<workersMax {
                seeds += running[worker].seeds
                let isHere = pthread_equal(running[worker].thread, pthread_self()) != 0
                if isHere, let seed = running[worker].seed { culprit = seed }
            }
            if let command = shrinkCommand, let seedText = command[2], let countText = command[4] {
                writeDigits(culprit, seedText)
                writeDigits(UInt64(seeds), countText)
                execv("/proc/self/exe", command)
            }
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: textMax + 1) { text in
                guard let start = text.baseAddress else { return }
                writeDigits(culprit, start)
                write(1, "trapped while seed ran: ", 24)
                write(1, start, textMax)
                write(1, "\n", 1)
            }
            _exit(1)
        }
    }
}

/// `textMax` digits.
private func writeDigits(_ number: UInt64, _ text: UnsafeMutablePointer<CChar>) {
    var rest = number
    for position in (0..<textMax).reversed() {
        text[position] = CChar(48 + rest % 10)
        rest /= 10
    }
}
