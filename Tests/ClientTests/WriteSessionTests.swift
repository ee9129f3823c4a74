// The client's sessions: few, opened one after the other, and ended with the client, because the cluster has room for
// so many and one more pushes another client's out.
import GRPCCore
import StrataProtocol
import Synchronization
import Testing

@testable import StrataClient

@Suite struct WriteSessionTests {
    private func client(_ endpoints: [String]) throws -> StrataClient {
        var options = ClientOptions()
        options.requestTimeout = .seconds(20)
        return try StrataClient(endpoints: endpoints, options: options)
    }

    /// Increments as many keys at once.
    private func increment(_ count: Int, _ client: StrataClient, to value: Int64) async {
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                group.addTask {
                    let answer = try? await client.increment([UInt8(number % 256), UInt8(number / 256)])
                    #expect(answer == value)
                }
            }
        }
    }

    @Test(arguments: [1, 32, 100, 200])
    func firstWritesAtOnceOpenNoMoreSessionsThanTheyNeed(writes: Int) async throws {
        try await FakeCluster.with(nodes: 2) { cluster, addresses in
            let client = try client(addresses)
            await increment(writes, client, to: 1)
            let needed = UInt64((writes + WriteSessions.writesMax - 1) / WriteSessions.writesMax)
            #expect(cluster.state.withLock { $0.sessionsOpened } <= needed)
            await client.close()
        }
    }

    @Test func closingEndsTheSessions() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            let client = try client(addresses)
            await increment(70, client, to: 1)
            let opened = cluster.state.withLock { $0.sessions }
            #expect(!opened.isEmpty)
            await client.close()
            #expect(cluster.state.withLock { $0.sessions }.isEmpty)
            #expect(Set(cluster.state.withLock { $0.sessionsClosed }) == opened)
            await expect(.closed) { try await client.increment([1]) }
        }
    }

    @Test func aSessionThatIsBeingOpenedWhenTheClientClosesIsEndedToo() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            let client = try client(addresses)
            // The connection is there, so that the opening is under way soon.
            _ = try await client.get([1])
            let write = Task { try? await client.increment([1]) }
            while !client.sessions.isOpening { await Task.yield() }
            await client.closeSessions(within: .seconds(20))
            await client.close()
            _ = await write.value
            #expect(cluster.state.withLock { $0.sessions }.isEmpty)
        }
    }

    @Test func anExpiredSessionIsRenewedOnceForAllWrites() async throws {
        try await FakeCluster.with(nodes: 1) { cluster, addresses in
            let client = try client(addresses)
            await increment(20, client, to: 1)
            #expect(cluster.state.withLock { $0.sessionsOpened } == 1)
            cluster.state.withLock { $0.sessions = [] }
            await increment(20, client, to: 2)
            #expect(cluster.state.withLock { $0.sessionsOpened } == 2)
            await client.close()
        }
    }
}
