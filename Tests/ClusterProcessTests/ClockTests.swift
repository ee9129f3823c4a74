// Real processes whose wall clock is set: nothing in a node waits for it, so nothing may stand still or give up (issue
// 15, 7.2).
import Foundation
import TestSupport
import Testing

@testable import LoadGen

extension ProcessTests {
    @Suite(.enabled(if: ClockShift.isPossible, "needs a C compiler for the false clock")) struct ClockTests {
        /// Set back by an hour, a lone node stopped flushing, held its writers back at one memtable and refused them at
        /// two.
        @Test(arguments: [-3600.0, 3600.0])
        func aLoneNodeFlushesAndServesThoughTheClockIsSet(seconds: Double) throws {
            let cluster = try TestCluster(size: 1)
            let node = cluster.nodes[0]
            let clock = try ClockShift(folder: cluster.folder.path, name: node.name)
            node.environment = clock.environment
            try cluster.start()
            // Before the set clock, so that every thread has gone to sleep by the true one.
            #expect(try node.set("before", "it") == 200)
            try clock.set(seconds: seconds)
            let file = "\(cluster.folder.path)/value"
            try Data(repeating: 0x61, count: 900 << 10).write(to: URL(fileURLWithPath: file))
            let begun = ContinuousClock.now
            // 147 MB: more than two memtables, at which writes were refused.
            let load = try Program.shell(
                """
                for i in $(seq 160); do
                  (printf '{"key":"k%s","value":"' $i; cat value; printf '"}') | curl -s -m 10 -o /dev/null \\
                    -w '%{http_code}\\n' -H 'Content-Type: application/json' --data-binary @- localhost:\(node.http)/set &
                  [ $((i % 4)) = 0 ] && wait
                done; wait
                """, folder: cluster.folder.path, seconds: 120)
            let answers = load.output.split(separator: "\n")
            #expect(
                answers.count == 160 && answers.allSatisfy { $0 == "200" }, "\(Set(answers)) \(node.log.suffix(1000))")
            print("147 MB with the clock set by \(seconds) s: \(ContinuousClock.now - begun)")
            let tables = try FileManager.default.subpathsOfDirectory(atPath: "\(cluster.folder.path)/\(node.name)")
                .filter { $0.hasSuffix(".sst") }
            #expect(!tables.isEmpty, "no memtable was written out")
        }

        /// An idle node's turns, and elections, go on by the monotonic clock.
        @Test func aClusterElectsAndSessionsLastThoughTheClocksAreSet() throws {
            let cluster = try TestCluster()
            var clocks: [ClockShift] = []
            for node in cluster.nodes {
                clocks.append(try ClockShift(folder: cluster.folder.path, name: node.name))
                node.environment = clocks[clocks.count - 1].environment
            }
            try cluster.start()
            #expect(try cluster.nodes[0].set("before", "it") == 200)
            for (clock, seconds) in zip(clocks, [-3600.0, 3600, -86_400]) { try clock.set(seconds: seconds) }
            // Long enough for beats, leases and the sleep of idle groups.
            usleep(3_000_000)
            let leader = try cluster.waitForLeader()
            #expect(try leader.set("after", "it") == 200)
            try leader.kill()
            let others = cluster.nodes.filter { $0 !== leader }
            let begun = ContinuousClock.now
            try eventually("the others have a leader", seconds: 5) {
                let names = try others.map { try $0.status()["leader"] as? String ?? "" }
                return names.allSatisfy { $0 != "" && $0 != leader.name && $0 == names[0] }
            }
            print("a leader after \(ContinuousClock.now - begun)")
            #expect(try others[0].set("later", "it") == 200)
            #expect(try others[1].get("after") == "it")
            for node in others {
                let result = try #require(try node.stop())
                #expect(result.status == 0, "\(result.errors.suffix(1000))")
            }
        }
    }
}
