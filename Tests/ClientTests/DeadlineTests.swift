// A deadline is one: of all attempts, pauses, look-ups and sessions of a request together, whatever the servers do. The
// bound here is far above the deadlines, for machines that are busy, and far below what a server that never answers
// takes.
import GRPCCore
import NIOCore
import NIOPosix
import StrataProtocol
import Testing

@testable import StrataClient

@Suite struct DeadlineTests {
    private static let bound = Duration.seconds(120)

    private func options() -> ClientOptions {
        var options = ClientOptions()
        options.requestTimeout = .milliseconds(400)
        return options
    }

    /// Every kind of request fails in time.
    private func everyRequestEndsInTime(_ endpoints: [String]) async throws {
        let client = try StrataClient(endpoints: endpoints, options: options())
        let requests: [(String, @Sendable () async throws -> Void)] = [
            ("put", { try await client.put([1], [2]) }),
            ("put, idempotent", { try await client.put([1], [2], isIdempotent: true) }),
            ("increment", { try await client.increment([1]) }), ("get", { _ = try await client.get([1]) }),
            ("produce", { _ = try await client.produce(topic: "events", partition: 0, batch: [1]) }),
            ("createTopic", { try await client.createTopic("events", partitions: 1) }),
        ]
        for (name, request) in requests {
            let begun = ContinuousClock.now
            await #expect(throws: ClientError.self, "\(name)") { try await request() }
            #expect(ContinuousClock.now - begun < Self.bound, "\(name)")
        }
        let begun = ContinuousClock.now
        await client.close()
        #expect(ContinuousClock.now - begun < Self.bound, "close")
    }

    @Test func aServerThatNeverAnswers() async throws {
        try await FakeCluster.with(nodes: 2, script: { _ in .hang }) { _, addresses in
            try await everyRequestEndsInTime(addresses)
        }
    }

    /// The kernel takes the connection and nobody ever speaks HTTP/2 on it.
    @Test func aListenerThatNeverSpeaks() async throws {
        let silent = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.autoRead, value: false)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = silent.localAddress?.port ?? 0
        try await everyRequestEndsInTime(["127.0.0.1:\(port)"])
        let client = try StrataClient(endpoints: ["127.0.0.1:\(port)"], options: options())
        let begun = ContinuousClock.now
        await #expect(throws: ClientError.self) {
            try await client.consume(topic: "events", partition: 0, from: .latest, follow: true) { _ in true }
        }
        #expect(ContinuousClock.now - begun < Self.bound)
        await client.close()
        try await silent.close()
    }

    @Test func nobodyListens() async throws {
        try await everyRequestEndsInTime(["127.0.0.1:1"])
    }

    /// One of two servers never answers: a request that may be sent again is, and succeeds.
    @Test func aServerThatNeverAnswersIsLeftForTheNext() async throws {
        try await FakeCluster.with(nodes: 2, script: { $0 % 2 == 1 ? .hang : .honest }) { _, addresses in
            var options = ClientOptions()
            options.attemptTimeout = .milliseconds(200)
            let client = try StrataClient(endpoints: addresses, options: options)
            for _ in 0..<3 { #expect(try await client.get([1]) == nil) }
            #expect(try await client.increment([1]) == 1)
            await client.close()
        }
    }

    /// The batches of a pipelined producer are given up at their own deadline, not at the end of a look-up for a
    /// leader.
    @Test func aPipelinedBatchIsGivenUpAtItsDeadline() async throws {
        try await FakeCluster.with(nodes: 1, script: { _ in .fail(.errorNotEnoughReplicas) }) { _, addresses in
            let client = try StrataClient(endpoints: addresses, options: options())
            let begun = ContinuousClock.now
            let failures = Counter()
            let producer = PartitionProducer(client, topic: "events", partition: 0) { _, result in
                if case .failure(let error) = result, [.unavailable, .unknown].contains(error.code) { failures.add() }
            }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await producer.run() }
                for id in 0..<3 as Range<UInt64> { try? await producer.send([1], id: id) }
                producer.finish()
            }
            #expect(failures.value == 3)
            #expect(ContinuousClock.now - begun < Self.bound)
            await client.close()
        }
    }
}
