// Three real processes on loopback: they find each other, replicate, lose their leader, all lose power at once, and
// forget nothing that they acknowledged.
import Foundation
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct ClusterProcessTests {
        @Test func threeFreshNodesFormOneClusterAndAnswerFromEveryNode() throws {
            let cluster = try TestCluster()
            try cluster.start()
            for (number, node) in cluster.nodes.enumerated() {
                #expect(try node.set("key\(number)", "value\(number)") == 200)
            }
            for node in cluster.nodes {
                for number in cluster.nodes.indices { #expect(try node.get("key\(number)") == "value\(number)") }
            }
            let metrics = try Program.shell(
                "curl -s localhost:\(cluster.nodes[0].http)/metrics | tee metrics | promtool check metrics && cat metrics",
                folder: cluster.folder.path)
            #expect(metrics.status == 0, "\(metrics.output)\(metrics.errors)")
            let families = metrics.output.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }
                .map { String($0.split(separator: " ")[2]) }
            // Of memory and disk; other families have tests of their own.
            let wanted = [
                "strata_node_info", "strata_node_healthy", "strata_log_write_seconds", "strata_memory_live_bytes",
                "strata_memory_mapped_bytes", "strata_malloc_bytes", "strata_log_tail_bytes",
                "strata_store_memory_bytes",
                "strata_store_memory_budget_bytes", "strata_store_cache_capacity_bytes",
                "strata_process_page_faults_total", "strata_process_resident_bytes",
            ]
            #expect(Set(families).isSuperset(of: wanted), "missing: \(Set(wanted).subtracting(families))")
            #expect(families.count == Set(families).count)
            for sample in [
                #"strata_memory_live_bytes{allocator="arena",use="memtable"} "#,
                #"strata_malloc_bytes{state="resident"} "#, #"strata_store_memory_bytes{use="cache"} "#,
                #"strata_process_page_faults_total{kind="major"} "#,
            ] {
                #expect(metrics.output.contains("\n" + sample), "\(sample)")
            }
        }

        @Test(arguments: [
            ["--transport", "tcp"], ["--transport", "grpc", "--engine", "hashlog", "--allocator", "jemalloc"],
        ])
        func theLeaderIsKilledAndNothingIsLost(switches: [String]) throws {
            let cluster = try TestCluster()
            for node in cluster.nodes { node.extraArguments = switches }
            try cluster.start()
            for number in 0..<20 { #expect(try cluster.nodes[number % 3].set("k\(number)", "v\(number)") == 200) }
            let leader = try cluster.waitForLeader()
            try leader.kill()
            let survivors = cluster.nodes.filter { $0 !== leader }
            #expect(try survivors[0].set("after", "kill") == 200)
            #expect(try survivors[1].get("after") == "kill")
            for number in 0..<20 { #expect(try survivors[number % 2].get("k\(number)") == "v\(number)") }
            try leader.start()
            try eventually("the killed node has caught up") { try leader.get("after") == "kill" }
        }

        @Test func everythingSurvivesTheDeathOfAllNodes() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let endpoint = "--endpoint :\(cluster.nodes[0].grpc)"
            let produced = try Program.shell(
                "for i in 1 2 3; do Server produce --topic t --message m$i \(endpoint); done",
                folder: cluster.folder.path)
            #expect(produced.status == 0, "\(produced.errors)")
            for number in 0..<20 { #expect(try cluster.nodes[number % 3].set("k\(number)", "v\(number)") == 200) }
            for node in cluster.nodes { try node.kill() }
            for node in cluster.nodes { try node.start() }
            try cluster.waitForLeader()
            for number in 0..<20 { #expect(try cluster.nodes[(number + 1) % 3].get("k\(number)") == "v\(number)") }
            let consumed = try Program.shell(
                "Server consume --topic t --from-beginning --max-messages 3 \(endpoint)", folder: cluster.folder.path)
            #expect(consumed.output == "m1\nm2\nm3\n", "\(consumed.errors)")
        }

        /// What was not synced is in the killed processes' memory only, so that an acknowledgement before the sync
        /// shows.
        @Test(arguments: [["--io", "posix"], ["--io", "auto", "--engine", "hashlog"]])
        func everythingAcknowledgedSurvivesALossOfPowerEverywhere(switches: [String]) throws {
            let cluster = try TestCluster()
            for node in cluster.nodes { node.extraArguments = ["--fault", "power-loss"] + switches }
            try cluster.start()
            let endpoint = "--endpoint :\(cluster.nodes[0].grpc)"
            let folder = cluster.folder.path
            var messages = ""
            for round in 0..<2 {
                for number in 0..<20 {
                    #expect(try cluster.nodes[number % 3].set("k\(round)-\(number)", "v\(number)") == 200)
                }
                let produced = try Program.shell(
                    "Server produce --topic t --message m\(round) \(endpoint)", folder: folder)
                #expect(produced.status == 0, "\(produced.errors)")
                messages += "m\(round)\n"
                for node in cluster.nodes { try node.kill() }
                for node in cluster.nodes { try node.start() }
                try cluster.waitForLeader()
                for past in 0...round {
                    for number in 0..<20 {
                        #expect(try cluster.nodes[(number + 1) % 3].get("k\(past)-\(number)") == "v\(number)")
                    }
                }
                let consumed = try Program.shell(
                    "Server consume --topic t --from-beginning --max-messages \(round + 1) \(endpoint)", folder: folder)
                #expect(consumed.output == messages, "\(consumed.errors)")
            }
        }

        @Test func aNodeWhoseDiskFailsStopsAndTheOthersGoOn() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let victim = try cluster.waitForLeader()
            _ = try victim.stop()
            victim.extraArguments = ["--fault", "sync-failure=40"]
            try victim.start()
            let others = cluster.nodes.filter { $0 !== victim }
            var number = 0
            try eventually("the node with the failing disk stops") {
                number += 1
                _ = try others[number % 2].set("key\(number)", "value")
                return victim.program?.isRunning == false
            }
            #expect(victim.log.contains("fault sync-failure=40"), "\(victim.log)")
            #expect(try others[0].set("after", "it") == 200)
        }

        /// From the first failed write to the end of the process: what is said, and how long it takes.
        @Test(arguments: [1, 3])
        func aNodeWhoseDiskIsFullSaysSoAndEndsAtOnce(size: Int) throws {
            let cluster = try TestCluster(size: size)
            for node in cluster.nodes { node.extraArguments = ["--fault", "disk-control"] }
            try cluster.start()
            let victim = try cluster.waitForLeader()
            #expect(try victim.set("a", "b") == 200)
            let program = try #require(victim.program)
            let control = URL(fileURLWithPath: "\(cluster.folder.path)/\(victim.name)/disk-control")
            // An idle client that holds its connections open must not keep the node alive.
            let idle = try Program.init(
                "/bin/bash",
                ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(victim.http) 4<>/dev/tcp/127.0.0.1/\(victim.resp); sleep 20"],
                folder: cluster.folder.path, name: "idle")
            defer { idle.signal(SIGKILL) }
            try Data("full".utf8).write(to: control)
            let start = ContinuousClock.now
            _ = try? victim.set("c", "d")
            let ended = try program.wait(seconds: 10)
            let took = ContinuousClock.now - start
            #expect(ended.status == 1)
            #expect(
                ended.errors.contains("the node ends") && ended.errors.contains("free some space"), "\(ended.errors)")
            #expect(ended.errors.contains("Server: the node's storage failed"), "\(ended.errors)")
            #expect(took < .seconds(3), "it lived on for \(took)")
            print("full disk, \(size) node(s): ended after \(took)")
            try FileManager.default.removeItem(at: control)
            try victim.start()
            try eventually("it is back") { try victim.get("a") == "b" }
        }

        @Test func sigtermEndsANodeCleanlyAndItsStateStays() throws {
            let cluster = try TestCluster(size: 1)
            try cluster.start()
            #expect(try cluster.nodes[0].set("a", "b") == 200)
            let result = try #require(try cluster.nodes[0].stop())
            #expect(result.status == 0, "\(result.errors)")
            try cluster.nodes[0].start()
            try cluster.waitForLeader()
            #expect(try cluster.nodes[0].get("a") == "b")
        }

        @Test func aMinorityRefusesWritesWithoutLosingThem() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let leader = try cluster.waitForLeader()
            for node in cluster.nodes where node !== leader { try node.kill() }
            let status = try leader.set("lonely", "write")
            #expect(status == 503 || status == 504)
        }

        @Test func aStrangerIsRefused() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let stranger = try TestNode(name: "stranger", folder: cluster.folder.path)
            stranger.peers = [cluster.nodes[0].grpc, cluster.nodes[1].grpc]
            try stranger.start()
            let result = try #require(try stranger.program?.wait(seconds: 20))
            #expect(result.status == 1)
            #expect(result.errors.contains("stranger is not a member of cluster"), "\(result.errors)")
            #expect(try cluster.nodes[2].set("still", "fine") == 200)
        }

        @Test func aWipedNodeIsRefusedUnderItsOldName() throws {
            let cluster = try TestCluster()
            try cluster.start()
            let node = cluster.nodes[2]
            try node.kill()
            try FileManager.default.removeItem(atPath: "\(cluster.folder.path)/node3")
            try node.start()
            let result = try #require(try node.program?.wait(seconds: 20))
            #expect(result.status == 1)
            #expect(result.errors.contains("another data folder"), "\(result.errors)")
        }
    }
}
