// A reason to end is said once, and the end comes whatever the services do.
import Logging
import Synchronization
import Testing

@testable import Server

@Suite struct FatalSignalTests {
    @Test func theFirstReasonEndsTheProcessWhoeverStillWaits() async {
        let (ends, end) = AsyncStream<String>.makeStream()
        let signal = FatalSignal(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, patience: 20) {
            end.yield($0.description)
        }
        signal.fail(.refused("first"))
        signal.fail(.storageFailed("second"))
        #expect(await signal.wait()?.description == "first")
        var iterator = ends.makeAsyncIterator()
        #expect(await iterator.next() == "first", "nobody has stopped, and it ends all the same")
    }
}
