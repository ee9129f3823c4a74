// Whether the user asked to stop. Set by the signal thread, looked at by every loop that runs longer than a blink.
import Synchronization

enum Interruption {
    private static let flag = Atomic<Bool>(false)

    static var isRequested: Bool { flag.load(ordering: .relaxed) }

    static func request() {
        flag.store(true, ordering: .relaxed)
    }

    static func check() throws(LoadGenError) {
        if isRequested { throw LoadGenError.interrupted }
    }
}
