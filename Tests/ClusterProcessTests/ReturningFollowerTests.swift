// What a follower costs that comes back: the bytes that its leaders send it stay near what it lacks (issue 15, 7.1; it
// was a hundred times as much, once for each heartbeat that had waited in a socket).
import Foundation
import LabKit
import TestSupport
import Testing

@testable import LoadGen

/// Bytes that nodes have sent to one other node, from their metrics.
private func sentBytes(to peer: String, by addresses: [String], in folder: String) throws -> Double {
    var sum = 0.0
    for address in addresses {
        let text = try Program.shell("curl -s -m 5 '\(address)/metrics'", folder: folder).output
        let name = "strata_peer_sent_bytes_total{peer=\"\(peer)\"} "
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        sum += try #require(line.flatMap { Double($0.dropFirst(name.count)) }, "no count for \(peer)")
    }
    return sum
}

extension ProcessTests {
    @Suite struct ReturningFollowerTests {
        @Test(arguments: [["--transport", "tcp"], ["--transport", "grpc"]])
        func aFollowerThatWasStoppedIsSentLittleMoreThanItLacks(arguments: [String]) throws {
            let cluster = try TestCluster()
            for node in cluster.nodes { node.extraArguments = arguments }
            try cluster.start()
            let leader = try cluster.waitForLeader()
            let follower = try #require(cluster.nodes.first { $0 !== leader })
            let others = cluster.nodes.filter { $0 !== follower }.map { "localhost:\($0.http)" }
            func sent() throws -> Double { try sentBytes(to: follower.name, by: others, in: cluster.folder.path) }
            let value = String(repeating: "v", count: 16 << 10)
            #expect(try leader.set("before", value) == 200)
            let before = try sent()
            follower.program?.signal(SIGSTOP)
            let stoppedAt = ContinuousClock.now
            var lacked = 0
            for number in 0..<60 {
                #expect(try leader.set("k\(number)", value) == 200)
                lacked += value.utf8.count
            }
            // What it is sent in the last seconds is heartbeats.
            let restAt = ContinuousClock.now
            let rest = try sent()
            // So long that some hundred heartbeats wait for it.
            while ContinuousClock.now - stoppedAt < .seconds(8) { usleep(50_000) }
            let returning = try sent()
            let heartbeatsPerSecond = (returning - rest) / ((ContinuousClock.now - restAt) / .seconds(1))
            follower.program?.signal(SIGCONT)
            let returnedAt = ContinuousClock.now
            try eventually("the follower has everything") { try follower.get("k59") == value }
            let target = try leader.status()["commitIndex"] as? Int
            try eventually("and has applied it") { try follower.status()["commitIndex"] as? Int ?? 0 >= target ?? .max }
            usleep(1_000_000)
            let after = try sent()
            let now = ContinuousClock.now
            let whole = after - before - heartbeatsPerSecond * ((now - stoppedAt) / .seconds(1))
            let afterReturn = after - returning - heartbeatsPerSecond * ((now - returnedAt) / .seconds(1))
            print(
                "\(arguments): lacked \(lacked) bytes, was sent \(Int(whole)), \(Int(afterReturn)) of it after its return, "
                    + "beside \(Int(heartbeatsPerSecond)) bytes of heartbeats a second")
            #expect(afterReturn < 1.5 * Double(lacked))
            // Also with what had left for it before its leader missed it.
            #expect(whole < 1.5 * Double(lacked))
        }

        /// Several groups, a way that loses what is sent, and connections made anew.
        @Test(
            .enabled(if: NamespaceNetwork.isPossible, "needs root and iproute2 for network namespaces"),
            arguments: [["--transport", "tcp"], ["--transport", "grpc"]])
        func aNodeThatWasCutOffIsSentLittleMoreThanItLacks(arguments: [String]) throws {
            let folder = try TemporaryFolder()
            var options = EmbeddedCluster.Options(folder: folder.path, seed: UInt64.random(in: 0 ... .max))
            options.network = .namespaces
            options.serverArguments = arguments
            let cluster = try EmbeddedCluster(options, serverExecutable: Program.server)
            defer { cluster.close(keepLogs: false) }
            try cluster.startAll()
            let leader = try cluster.waitForLeader()
            let cut = (leader + 1) % 3
            let others = cluster.nodes.indices.filter { $0 != cut }.map { "\(cluster.nodes[$0].http)" }
            func sent() throws -> Double { try sentBytes(to: cluster.nodes[cut].name, by: others, in: folder.path) }
            let endpoint = "--endpoint \(cluster.nodes[leader].grpc)"
            let made = try Program.shell(
                "Server topics --create t --partitions 4 \(endpoint) && yes v | tr -d '\\n' | head -c 16384 > value "
                    + "&& for i in $(seq 30); do cat value; echo; done > values", folder: folder.path)
            #expect(made.status == 0, "\(made.errors)")
            try cluster.network.isolate(cut, of: 3)
            let cutAt = MonotonicClock.now()
            let before = try sent()
            // Groups that the node led need another leader first, which the client waits for.
            for partition in 0..<4 {
                let produced = try Program.shell(
                    "Server produce --topic t --partition \(partition) \(endpoint) < values > /dev/null",
                    folder: folder.path, seconds: 30)
                #expect(produced.status == 0, "\(produced.errors)")
            }
            let lacked = 4.0 * 30 * 16384
            while MonotonicClock.now() < cutAt + 16_000_000_000 { MonotonicClock.sleep(seconds: 0.05) }
            let returning = try sent()
            try cluster.network.heal()
            let healedAt = MonotonicClock.now()
            MonotonicClock.sleep(seconds: 4)
            let settled = try sent()
            let settledAt = MonotonicClock.now()
            MonotonicClock.sleep(seconds: 2)
            let end = try sent()
            let endAt = MonotonicClock.now()
            let heartbeatsPerSecond = (end - settled) / MonotonicClock.seconds(from: settledAt, to: endAt)
            let afterReturn =
                end - returning - heartbeatsPerSecond * MonotonicClock.seconds(from: healedAt, to: endAt)
            print(
                "\(arguments): lacked \(Int(lacked)) bytes, was sent \(Int(returning - before)) while it was cut off, "
                    + "\(Int(afterReturn)) after it, beside \(Int(heartbeatsPerSecond)) bytes of heartbeats a second")
            #expect(afterReturn < 1.5 * lacked)
            #expect(afterReturn > 0.9 * lacked || returning - before > 0.9 * lacked, "it has not caught up")
        }
    }
}
