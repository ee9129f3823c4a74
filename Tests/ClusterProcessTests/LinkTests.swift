// Real processes, each in a network namespace, whose packets are lost without a word: a way that heals is used at once,
// however long it was cut (issue 15, 7.3). Needs root and iproute2.
import Foundation
import LabKit
import StrataClient
import TestSupport
import Testing

@testable import LoadGen

extension ProcessTests {
    @Suite(.enabled(if: NamespaceNetwork.isPossible, "needs root and iproute2 for network namespaces")) struct LinkTests
    {
        private static func cluster(_ folder: TemporaryFolder, _ arguments: [String]) throws -> EmbeddedCluster {
            var options = EmbeddedCluster.Options(folder: folder.path, seed: UInt64.random(in: 0 ... .max))
            options.network = .namespaces
            options.serverArguments = arguments
            return try EmbeddedCluster(options, serverExecutable: Program.server)
        }

        private static func set(_ key: String, at node: EmbeddedNode, _ folder: TemporaryFolder) throws -> String {
            try Program.shell(
                "curl -s -m 5 -o /dev/null -w '%{http_code}' 'http://\(node.http)/put?key=\(key)&val=v'",
                folder: folder.path
            ).output
        }

        /// The last retransmission before the end of the cut comes after 6.2 s, the next after 12.6 s: without help the
        /// way would be used again 3.6 s after it has healed.
        @Test(arguments: [["--transport", "tcp"], ["--transport", "grpc"]])
        func aHealedWayIsUsedAgainWithinASecond(arguments: [String]) throws {
            let folder = try TemporaryFolder()
            let cluster = try Self.cluster(folder, arguments)
            defer { cluster.close(keepLogs: false) }
            try cluster.startAll()
            let leader = try cluster.waitForLeader()
            let (one, other) = ((leader + 1) % 3, (leader + 2) % 3)
            #expect(try Self.set("before", at: cluster.nodes[leader], folder) == "200")
            try cluster.network.isolate(one, of: 3)
            #expect(try Self.set("while", at: cluster.nodes[leader], folder) == "200")
            let cutAt = MonotonicClock.now()
            while MonotonicClock.now() < cutAt + 9_000_000_000 { MonotonicClock.sleep(seconds: 0.05) }
            let target = try #require(cluster.nodes[leader].probe.status()).commitIndex
            // Now the node that was cut off is needed for a quorum.
            _ = cluster.kill(other)
            let healedAt = MonotonicClock.now()
            try cluster.network.heal()
            while cluster.nodes[one].probe.status()?.commitIndex ?? 0 < target {
                try #require(MonotonicClock.now() < healedAt + 20_000_000_000, "\(cluster.logTails())")
                MonotonicClock.sleep(seconds: 0.01)
            }
            let caughtUp = MonotonicClock.seconds(from: healedAt, to: MonotonicClock.now())
            #expect(try Self.set("after", at: cluster.nodes[one], folder) == "200")
            let written = MonotonicClock.seconds(from: healedAt, to: MonotonicClock.now())
            print("\(arguments): caught up \(caughtUp) s after the cut, a write acknowledged after \(written) s")
            #expect(caughtUp < 1 && written < 1.5)
        }

        /// A client keeps its connections over a cut; the retransmission that would show it the healed way comes up to
        /// as long after the cut as the cut was long.
        @Test func aClientUsesAHealedWayAgainWithinTwoSeconds() async throws {
            let folder = try TemporaryFolder()
            let cluster = try Self.cluster(folder, [])
            defer { cluster.close(keepLogs: false) }
            try cluster.startAll()
            _ = try cluster.waitForLeader()
            guard case .namespaces(let network) = cluster.network else { preconditionFailure("asked for namespaces") }
            var options = ClientOptions()
            options.requestTimeout = .seconds(5)
            let client = try StrataClient(endpoints: cluster.nodes.map { "\($0.grpc)" }, options: options)
            let key = Array("key".utf8)
            try await client.put(key, [1])
            for node in cluster.nodes.indices { try network.cutFromClients(node) }
            let cutAt = ContinuousClock.now
            var failures = 0
            while ContinuousClock.now - cutAt < .seconds(20) {
                do {
                    try await client.put(key, [2])
                    Issue.record("a write was answered through the cut")
                } catch {
                    failures += 1
                }
            }
            let healedAt = ContinuousClock.now
            try network.heal()
            while true {
                do {
                    try await client.put(key, [3])
                    break
                } catch {
                    try #require(ContinuousClock.now - healedAt < .seconds(30), "\(error)")
                }
            }
            let waited = ContinuousClock.now - healedAt
            print("\(failures) requests failed in the cut; the first after it was answered after \(waited)")
            #expect(waited < .seconds(2))
            #expect(try await client.get(key) == [3])
            await client.close()
        }
    }
}
