// Reading on when servers go away: a follow ends only with a reason, "latest" is one offset for good, and an end is an
// end only when everything was delivered.
import Foundation
import GRPCCore
import StrataProtocol
import Synchronization
import Testing

@testable import StrataClient

@Suite struct ConsumeTests {
    private func client(_ endpoints: [String], milliseconds: Int = 10_000) throws -> StrataClient {
        var options = ClientOptions()
        options.requestTimeout = .milliseconds(milliseconds)
        return try StrataClient(endpoints: endpoints, options: options)
    }

    private static let stopping = RPCError(
        code: .unavailable, message: "the node is shutting down", metadata: ["strata-error": "19"])

    /// Reads until `count` records have come; their first bytes.
    private func read(
        _ count: Int, _ client: StrataClient, from start: ConsumeStart, follow: Bool
    ) async throws -> [UInt8] {
        let (values, value) = AsyncStream.makeStream(of: UInt8.self)
        let seen = Counter()
        try await client.consume(topic: "events", partition: 0, from: start, follow: follow) { record in
            #expect(record.offset == UInt64(record.value?.first ?? 0))
            value.yield(record.value?.first ?? 0)
            seen.add()
            return seen.value < count
        }
        value.finish()
        return await values.reduce(into: []) { $0.append($1) }
    }

    /// As version 21de153 does on SIGTERM: the stream ends, and no status says why.
    @Test func aFollowGoesOnWhenItsStreamEndsWithoutAReason() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            cluster.state.withLock { state in
                state.batches = (0..<6).map { Data([$0]) }
                state.recordsPerStream = 2
            }
            let client = try client(addresses)
            #expect(try await read(6, client, from: .offset(0), follow: true) == [0, 1, 2, 3, 4, 5])
            #expect(cluster.state.withLock { $0.consumes.map(\.offset) } == [0, 2, 4])
            await client.close()
        }
    }

    @Test func aFollowGoesOnWhenTheNodeStopsAndIsThereAgain() async throws {
        try await FakeCluster.with(nodes: 2) { cluster, addresses in
            cluster.state.withLock { state in
                state.batches = (0..<4).map { Data([$0]) }
                state.recordsPerStream = 1
                state.onConsume = { call, _ in if call % 3 != 1 { throw Self.stopping } }
            }
            let client = try client(addresses)
            #expect(try await read(4, client, from: .earliest, follow: true) == [0, 1, 2, 3])
            await client.close()
        }
    }

    @Test func aFollowWhoseServersStayAwayFailsWithTheirReason() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            cluster.state.withLock { $0.onConsume = { _, _ in throw Self.stopping } }
            let client = try client(addresses, milliseconds: 3000)
            let error = await #expect(throws: ClientError.self) {
                _ = try await read(1, client, from: .earliest, follow: true)
            }
            #expect(error?.code == .unavailable && error?.description.contains("shutting down") == true)
            await client.close()
        }
    }

    @Test func latestIsLookedUpOnceWhateverBreaks() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            cluster.state.withLock { state in
                state.batches = (0..<3).map { Data([$0]) }
                state.onConsume = { call, state in
                    guard call < 3 else { return }
                    // Committed between two streams, before the first record was delivered.
                    state.batches.append(Data([UInt8(state.batches.count)]))
                    throw RPCError(code: .unavailable, message: "the connection broke")
                }
            }
            let client = try client(addresses)
            #expect(try await read(2, client, from: .latest, follow: true) == [3, 4])
            #expect(cluster.state.withLock { $0.consumes.map(\.offset) } == [3, 3, 3])
            await client.close()
        }
    }

    @Test func anEndBeforeTheHighWatermarkIsNoEnd() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            cluster.state.withLock { state in
                state.batches = (0..<5).map { Data([$0]) }
                state.recordsPerStream = 2
            }
            let client = try client(addresses)
            #expect(try await read(.max, client, from: .earliest, follow: false) == [0, 1, 2, 3, 4])
            await client.close()
        }
    }

    @Test func aBatchThatCannotBeReadSaysWhereToGoOn() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            cluster.state.withLock { state in
                state.onConsume = { _, _ in
                    let metadata: Metadata = ["strata-error": "2", "strata-next-offset": "7"]
                    throw RPCError(code: .dataLoss, message: "the batch at offset 2", metadata: metadata)
                }
            }
            let client = try client(addresses)
            let error = await #expect(throws: ClientError.self) {
                _ = try await read(1, client, from: .offset(2), follow: true)
            }
            #expect(error?.code == .corruptBatch && error?.nextOffset == 7)
            #expect(cluster.state.withLock { $0.consumes.count } == 1, "not tried again")
            await client.close()
        }
    }
}
