// Each request is resolved once: by its answer or by its deadline.
import Cluster
import NIOPosix
import Synchronization
import Testing

@testable import Server

@Suite struct PendingRequestsTests {
    private let pending = PendingRequests(group: MultiThreadedEventLoopGroup.singleton)

    @Test func theAnswerComesThrough() async throws {
        let answer: Result<Int, RequestError> = await pending.run(.read) { $0(.success(7)) }
        #expect(try answer.get() == 7)
    }

    @Test func theDeadlineResolvesWhatIsNeverAnswered() async {
        let late = Mutex<(@Sendable (Result<Int, RequestError>) -> Void)?>(nil)
        let write: Result<Int, RequestError> = await pending.run(.write, within: 1) { done in
            late.withLock { $0 = done }
        }
        guard case .failure(.unknown) = write else {
            Issue.record("a write without an answer has an unknown fate, not \(write)")
            return
        }
        // The answer that comes too late is dropped; resolving twice would trap.
        late.withLock { $0 }?(.success(1))
        let read: Result<Int, RequestError> = await pending.run(.read, within: 1) { _ in }
        guard case .failure(.unavailable) = read else {
            Issue.record("a read without an answer may be asked again, not \(read)")
            return
        }
    }

    @Test func tooManyAreRefused() async {
        let many = PendingRequests(group: MultiThreadedEventLoopGroup.singleton)
        for _ in 0..<PendingRequests.requestsMax {
            let request: PendingRequests.Request<Int>? = many.begin(.read, within: 60_000) { _ in }
            #expect(request != nil)
        }
        let answer: Result<Int, RequestError> = await many.run(.read) { $0(.success(1)) }
        #expect(answer == .failure(.unavailable("65536 requests are in flight already; try again")))
    }
}
