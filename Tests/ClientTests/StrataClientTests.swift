// The client against real connections: it finds leaders, retries what was not done, and stops where nobody knows.
import GRPCCore
import StrataProtocol
import Synchronization
import Testing

@testable import StrataClient

@Suite struct StrataClientTests {
    private func client(_ endpoints: [String], seconds: Int = 5) throws -> StrataClient {
        var options = ClientOptions()
        options.requestTimeout = .seconds(seconds)
        return try StrataClient(endpoints: endpoints, options: options)
    }

    /// A status as the server's front end makes it.
    private func status(_ code: RPCError.Code, _ error: Strata_V1_ErrorCode) -> FakeCluster.Step {
        .status(RPCError(code: code, message: "as the test wants", metadata: ["strata-error": "\(error.rawValue)"]))
    }

    @Test func aWrongLeaderIsCorrectedByItsHint() async throws {
        try await FakeCluster.with(nodes: 3) { cluster, addresses in
            cluster.state.withLock {
                $0.leader = 2
                $0.believedLeader = 0
            }
            let client = try client(addresses)
            let records = [OutgoingRecord(value: [1, 2, 3])]
            let receipt = try await client.produce(topic: "events", partition: 0, records: records)
            #expect(receipt.baseOffset == 0)
            let second = try await client.produce(topic: "events", partition: 0, batch: [9])
            #expect(second.baseOffset == 1)
            #expect(cluster.state.withLock { $0.calls } == 2, "the leader is remembered")
            await client.close()
        }
    }

    @Test func whatWasNotDoneIsRetried() async throws {
        let script: @Sendable (Int) -> FakeCluster.Step = { $0 < 4 ? .fail(.errorNotEnoughReplicas) : .honest }
        try await FakeCluster.with(nodes: 1, script: script) { cluster, addresses in
            let client = try client(addresses)
            _ = try await client.produce(topic: "events", partition: 0, batch: [1])
            #expect(cluster.state.withLock { $0.calls } == 4)
            #expect(cluster.state.withLock { $0.batches.count } == 1)
            await client.close()
        }
    }

    @Test func retriesEndAtTheDeadline() async throws {
        try await FakeCluster.with(nodes: 1, script: { _ in .fail(.errorNotEnoughReplicas) }) { _, addresses in
            let client = try client(addresses, seconds: 1)
            let begun = ContinuousClock.now
            let error = await #expect(throws: ClientError.self) {
                _ = try await client.produce(topic: "events", partition: 0, batch: [1])
            }
            // An attempt that is under way at the deadline may be carried out after it.
            #expect(error?.code == .unavailable || error?.code == .unknown, "\(String(describing: error))")
            #expect(ContinuousClock.now - begun >= .milliseconds(900))
            await client.close()
        }
    }

    @Test func unknownOutcomesAreRetriedOnlyOnRequest() async throws {
        let script: @Sendable (Int) -> FakeCluster.Step = { $0 % 2 == 1 ? .fail(.errorRequestTimedOut) : .honest }
        try await FakeCluster.with(nodes: 1, script: script) { _, addresses in
            let client = try client(addresses)
            await expect(.unknown) { _ = try await client.produce(topic: "events", partition: 0, batch: [1]) }
            _ = try await client.produce(topic: "events", partition: 0, batch: [1])
            _ = try await client.produce(topic: "events", partition: 0, batch: [1], isIdempotent: true)
            await client.close()
        }
    }

    @Test func refusalsAreFinal() async throws {
        try await FakeCluster.with(nodes: 1, script: { _ in .fail(.errorCorruptMessage) }) { cluster, addresses in
            let client = try client(addresses)
            await expect(.invalid) { _ = try await client.produce(topic: "events", partition: 0, batch: [1]) }
            #expect(cluster.state.withLock { $0.calls } == 1)
            await expect(.unknownTopic) { _ = try await client.produce(topic: "none", partition: 0, batch: [1]) }
            await expect(.unknownTopic) { _ = try await client.produce(topic: "events", partition: 9, batch: [1]) }
            await client.close()
        }
    }

    @Test func keysAreStoredReadAndRemoved() async throws {
        try await FakeCluster.with(nodes: 2) { _, addresses in
            let client = try client(addresses)
            #expect(try await client.put([1], [2, 3]) == 1)
            #expect(try await client.get([1]) == [2, 3])
            #expect(try await client.get([1], freshness: .stale) == [2, 3])
            try await client.delete([1])
            #expect(try await client.get([1]) == nil)
            await client.close()
        }
    }

    @Test func aKeyThatWasNotWrittenIsTriedAgain() async throws {
        let unavailable = status(.unavailable, .errorNotEnoughReplicas)
        try await FakeCluster.with(nodes: 1, script: { $0 < 3 ? unavailable : .honest }) { cluster, addresses in
            let client = try client(addresses)
            try await client.put([1], [2])
            #expect(cluster.state.withLock { $0.calls } == 3)
            await client.close()
        }
    }

    @Test func aKeyOfUnknownFateIsNot() async throws {
        let timedOut = status(.deadlineExceeded, .errorRequestTimedOut)
        let broken = FakeCluster.Step.status(RPCError(code: .unavailable, message: "the connection's own words"))
        try await FakeCluster.with(nodes: 1, script: { $0 == 1 ? timedOut : $0 == 2 ? broken : .honest }) {
            _, addresses in
            var options = ClientOptions()
            options.usesSessions = false
            let client = try StrataClient(endpoints: addresses, options: options)
            await expect(.unknown) { try await client.put([1], [2]) }
            await expect(.unknown) { try await client.put([1], [2]) }
            try await client.put([1], [2])
            await client.close()
        }
    }

    /// Answers get lost behind what was done; the session makes each increment count once.
    @Test func aLostAnswerIsAskedForAgain() async throws {
        let timedOut = status(.deadlineExceeded, .errorRequestTimedOut)
        let broken = FakeCluster.Step.status(RPCError(code: .unavailable, message: "the connection's own words"))
        try await FakeCluster.with(nodes: 1, script: { $0 % 3 == 1 ? timedOut : $0 % 3 == 2 ? broken : .honest }) {
            cluster, addresses in
            let client = try client(addresses)
            for number in 1...5 as ClosedRange<Int64> {
                #expect(try await client.increment([7], by: 2) == 2 * number)
            }
            #expect(cluster.state.withLock { $0.calls } == 15)
            // The session is over; the first attempt under it wrote nothing, so a new one is opened.
            cluster.state.withLock { $0.sessions = [] }
            #expect(try await client.increment([7]) == 11)
            await client.close()
        }
    }

    /// Nobody listens at the first address: nothing can have been written there, so the next one is asked.
    @Test func aDeadNodeIsLeftForTheNext() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            let client = try client(["127.0.0.1:1"] + addresses)
            for number in 0..<4 as Range<UInt8> { try await client.put([number], [number]) }
            #expect(cluster.state.withLock { $0.values.count } == 4)
            await client.close()
        }
    }

    @Test func creationsAreRetriedWhenThatIsHarmless() async throws {
        let script: @Sendable (Int) -> FakeCluster.Step = { $0 % 2 == 1 ? .fail(.errorRequestTimedOut) : .honest }
        try await FakeCluster.with(nodes: 1, script: script) { _, addresses in
            let client = try client(addresses)
            try await client.createTopic("events", partitions: 3)
            await expect(.unknown) { try await client.createTopic("events", partitions: 3, failIfExists: true) }
            await client.close()
        }
    }

    @Test func readingResumesBehindTheLastRecord() async throws {
        let broken = FakeCluster.Step.status(RPCError(code: .unavailable, message: "gone"))
        try await FakeCluster.with(nodes: 1, script: { $0 == 15 ? broken : .honest }) { cluster, addresses in
            let client = try client(addresses)
            for number in 0..<10 as Range<UInt8> {
                _ = try await client.produce(topic: "events", partition: 0, batch: [number])
            }
            let seen = Counter()
            try await client.consume(topic: "events", partition: 0, from: .earliest) { record in
                #expect(record.offset == UInt64(seen.value))
                #expect(record.value == [UInt8(seen.value)])
                seen.add()
                return true
            }
            #expect(seen.value == 10)
            let raw = Counter()
            try await client.consumeBatches(topic: "events", partition: 0, from: .offset(4)) { batches in
                #expect(batches.bytes == [4, 5, 6, 7, 8, 9])
                raw.add()
                return batches.highWatermark
            }
            #expect(raw.value == 1)
            await client.close()
        }
    }

    @Test func aConsumersOwnErrorEndsTheReading() async throws {
        struct Enough: Error {}
        try await FakeCluster.with(nodes: 1) { _, addresses in
            let client = try client(addresses)
            _ = try await client.produce(topic: "events", partition: 0, batch: [1])
            await #expect(throws: Enough.self) {
                try await client.consume(topic: "events", partition: 0, from: .earliest) { _ in throw Enough() }
            }
            await client.close()
            await expect(.closed) { try await client.put([1], [1]) }
        }
    }

    @Test(arguments: ["", "x", ":", "host:", "host:0", "host:99999"])
    func badAddressesAreRefused(address: String) {
        #expect(throws: ClientError.self) { try StrataClient(endpoints: [address]) }
        #expect(throws: ClientError.self) { try StrataClient(endpoints: []) }
    }
}

func expect(_ code: ClientError.Code, _ body: () async throws -> Void) async {
    do {
        try await body()
        Issue.record("expected \(code), but it went well")
    } catch let error as ClientError {
        #expect(error.code == code, "\(error)")
    } catch {
        Issue.record("expected \(code), got \(error)")
    }
}
