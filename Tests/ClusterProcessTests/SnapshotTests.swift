// Real processes whose logs are cut: a node that was away for longer than the log reaches back comes back by a snapshot
// over real sockets, serves what the others serve, and survives the loss of its own memory right after.
import Foundation
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct SnapshotTests {
        @Test(arguments: [
            ["--transport", "tcp"], ["--transport", "grpc", "--engine", "hashlog"],
        ])
        func aNodeThatWasAwayTooLongComesBackBySnapshot(switches: [String]) throws {
            let cluster = try TestCluster()
            for node in cluster.nodes { node.extraArguments = switches + ["--log-retained", "65536"] }
            try cluster.start()
            let leader = try cluster.waitForLeader()
            let away = try #require(cluster.nodes.first { $0 !== leader })
            #expect(try leader.set("before", "it") == 200)
            try away.kill()
            let value = String(repeating: "v", count: 16 * 1024)
            for number in 0..<30 { #expect(try leader.set("k\(number)", "\(number)\(value)") == 200) }
            try eventually("the leader's log begins later") {
                (try Self.metric("strata_raft_first_index{group=\"keyvalue\"}", of: leader) ?? 0) > 2
            }
            try away.start()
            try eventually("the node has installed a snapshot") {
                try Self.metric("strata_snapshots_received_total", of: away) == 1
            }
            #expect(try leader.set("after", "it") == 200)
            #expect(try away.get("after") == "it")
            #expect(try away.get("before") == "it")
            for number in 0..<30 { #expect(try away.get("k\(number)") == "\(number)\(value)") }
            // One that reads, two that write, one that hashes, and over TCP two that send and two that receive; no
            // thread that serves clients.
            for node in cluster.nodes { #expect(try Self.niceThreads(of: node) <= (switches[1] == "tcp" ? 8 : 4)) }
            try eventually("the leader knows") { try Self.metric("strata_snapshots_sent_total", of: leader) == 1 }
            try away.kill()
            try away.start()
            try cluster.waitForLeader()
            for number in 0..<30 { #expect(try away.get("k\(number)") == "\(number)\(value)") }
        }

        /// How many threads of a node let others go first.
        private static func niceThreads(of node: TestNode) throws -> Int {
            let tasks = "/proc/\(try #require(node.program).identifier)/task"
            return try FileManager.default.contentsOfDirectory(atPath: tasks).filter { task in
                // A thread may have ended meanwhile.
                guard let stat = try? String(contentsOfFile: "\(tasks)/\(task)/stat", encoding: .utf8),
                    let end = stat.lastIndex(of: ")")
                else { return false }
                // Behind the name the third field comes first; the nineteenth is the niceness (proc(5)).
                return (Int(stat[end...].split(separator: " ")[17]) ?? 0) > 0
            }.count
        }

        /// The value of a sample by its name with labels; nil when there is none.
        private static func metric(_ name: String, of node: TestNode) throws -> Double? {
            let text = try node.curl("HOST/metrics").body
            let line = text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
            return line.flatMap { Double($0.split(separator: " ")[1]) }
        }
    }
}
