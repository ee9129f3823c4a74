// Says which input was being read when the process ends by a trap, a bad address or a parser that does not come back.
import Glibc

enum Watch {
    /// Seconds that one input may take.
    private static let secondsMax: UInt32 = 20

    // One thread; the handler runs on it.
    nonisolated(unsafe) private static var line: UnsafeMutablePointer<CChar>?
    nonisolated(unsafe) private static var length = 0

    static func install() {
        line = UnsafeMutablePointer<CChar>.allocate(capacity: 256)
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM] {
            signal(number) { _ in
                // Only what is allowed in a handler.
                write(1, Watch.line, Watch.length)
                _exit(1)
            }
        }
    }

    static func begin(_ parser: String, _ seed: UInt64, _ input: UInt64) {
        let text = "CRASH or hang: ParserFuzz --parser \(parser) --seed \(seed) --input \(input)\n"
        length = min(text.utf8.count, 256)
        text.withCString { source in line?.update(from: source, count: length) }
        alarm(secondsMax)
    }

    static func end() { alarm(0) }
}
