// The small decisions: debug or release, options, HTTP answers, /proc, and what servers say of themselves.
import ArgumentParser
import Glibc
import LabKit
import Testing

@testable import LoadGen

@Suite struct LoadGenTests {
    @Test func onlyADebugBuildInACheckoutRebuildsItself() {
        func decide(_ isDebug: Bool, _ isAllowed: Bool, _ checkout: String?) -> ReleaseBuild.Decision {
            ReleaseBuild.decide(
                isDebug: isDebug, isDebugAllowed: isAllowed, executable: "/a/.build/triple/debug/LoadGen",
                checkout: checkout)
        }
        #expect(decide(false, false, "/a") == .goOn)
        #expect(decide(true, true, "/a") == .goOn)
        #expect(decide(true, false, nil) == .warn)
        #expect(decide(true, false, "/a") == .rebuild(checkout: "/a", scratch: "/a/.build"))
    }

    @Test func plansFollowTheOptions() throws {
        let quick = try LabOptions.parse(["--quick", "--seed", "7"]).plan(.quick, command: [])
        #expect(quick.seed == 7)
        #expect(quick.trials == 3)
        #expect(quick.writeSeconds < 5)
        let timed = try LabOptions.parse(["--duration", "1.5", "--clients", "8"]).plan(.main, command: [])
        #expect(timed.writeSeconds == 1.5 && timed.clients == 8)
        #expect(try LabOptions.parse([]).plan(.failover, command: []).trials == 30)
    }

    @Test(arguments: [
        ["--clients", "0"], ["--nodes", "99"], ["--value-size", "1"], ["--duration", "0"], ["--trials", "0"],
        ["--partitions", "0"],
        ["--endpoints", "a:1"], ["--resp-endpoints", "a:1"],
        ["--endpoints", "a:1", "--resp-endpoints", "b:1", "--nodes", "3"],
    ])
    func wrongOptionsAreRefused(arguments: [String]) throws {
        let options = try LabOptions.parse(arguments)
        #expect(throws: LoadGenError.self) { try options.plan(.main, command: []) }
    }

    @Test func everyOptionTakesOneDash() throws {
        let known = LabOptions.valueNames.union(LabOptions.flagNames)
        let help = LoadGenCommand.helpMessage(for: SuiteCommand.self)
        let words = help.split { " \n,<>[]()".contains($0) }.filter { $0.hasPrefix("--") }
        for word in words {
            #expect(known.contains(String(word.dropFirst(2))), "\(word) is missing in LabOptions' names")
        }
        let arguments = SingleDash.normalise(
            ["-quick", "-seed=3", "-name", "-x"], options: LabOptions.valueNames, flags: LabOptions.flagNames)
        #expect(arguments == ["--quick", "--seed=3", "--name", "-x"])
    }

    @Test(arguments: ["", "x", "1.2.3.4", "host:", "host:0", "host:70000", "a:b:c", "no.such.host.invalid:80"])
    func badAddressesAreRefused(text: String) {
        #expect(throws: LoadGenError.self) { try SocketAddress(parsing: text) }
    }

    @Test func addressesMayLeaveTheHostOut() throws {
        #expect(try SocketAddress(parsing: ":7001").description == "127.0.0.1:7001")
        #expect(try SocketAddress(parsing: "localhost:7001").port == 7001)
    }

    @Test func httpBodiesAreCutRight() {
        func body(_ text: String, complete: Bool = false) -> String? {
            NodeProbe.body(of: Array(text.utf8), isComplete: complete).map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") == "hi")
        #expect(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi") == nil)
        #expect(body("HTTP/1.1 200 OK\r\n\r\nhi") == nil)
        #expect(body("HTTP/1.1 200 OK\r\n\r\nhi", complete: true) == "hi")
        #expect(body("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nhi", complete: true) == nil)
        #expect(body("HTTP/1.1 200", complete: true) == nil)
    }

    @Test func serversSayWhatTheyRun() {
        let text = """
            # HELP strata_node_info x
            strata_node_info{backend="posix",allocator="arena",durability="fsync",engine="lsm",transport="grpc"} 1
            """
        let facts = ServerFacts.parse(text)
        #expect(facts.backend == "posix" && facts.transport == "grpc" && facts.durability == "fsync")
        #expect(ServerFacts.parse("nothing") == ServerFacts())
        #expect(ServerFacts.parse("strata_node_info{broken") == ServerFacts())
        #expect(ServerFacts.parse("strata_node_info{fault=\"disk-slow=5\",engine=\"lsm\"} 1\n").fault == "disk-slow=5")
    }

    @Test func processUsageSurvivesOddNames() throws {
        let stat = "42 (a) b (c)) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 9 0 100 1000000 2560 1 2 3"
        let usage = try #require(ProcessUsage.parse(stat, at: 0))
        #expect(usage.processorTicks == 300)
        #expect(usage.residentBytes == 2560 * UInt64(sysconf(Int32(_SC_PAGESIZE))))
        let later = ProcessUsage(time: 1_000_000_000, processorTicks: 350, residentBytes: 0)
        #expect(later.processorShare(since: usage) == 50 / Double(sysconf(Int32(_SC_CLK_TCK))))
        #expect(ProcessUsage.parse("nonsense", at: 0) == nil)
        #expect(ProcessUsage.of(getpid(), at: 0) != nil)
    }

    @Test func portsAreFreeAndDifferent() throws {
        let ports = try FreePorts.find(9, seed: 3)
        #expect(Set(ports).count == 9)
        let server = try FakeRESPServer(port: ports[0])
        defer { server.stop() }
        #expect(!(try FreePorts.find(9, seed: 3).contains(ports[0])))
    }

    @Test func childrenAreStartedWatchedAndEnded() throws {
        let log = "/tmp/loadgen-child-\(getpid()).log"
        defer { unlink(log) }
        let short = try ChildProcess(executable: "/bin/sh", arguments: ["-c", "echo hello; exit 7"], logPath: log)
        #expect(short.waitForExit(seconds: 10))
        #expect(short.status == .exited(7))
        let long = try ChildProcess(executable: "/bin/sleep", arguments: ["600"], logPath: log)
        #expect(long.status == .running)
        #expect(!long.waitForExit(seconds: 0.02))
        long.killNow()
        #expect(long.status == .signalled(SIGKILL))
        long.send(SIGTERM)
        let deaf = try ChildProcess(
            executable: "/bin/sh", arguments: ["-c", "trap '' TERM; while :; do sleep 1; done"], logPath: log)
        MonotonicClock.sleep(seconds: 0.1)
        #expect(!deaf.stop(graceSeconds: 0.1))
        #expect(throws: LoadGenError.self) {
            _ = try ChildProcess(executable: "/nonexistent", arguments: [], logPath: "/nonexistent/log")
        }
    }

    @Test func lostDataDecidesTheExitStatus() {
        let environment = RunEnvironment.capture(dataFolder: "/", checkout: nil)
        let identity = RunIdentity(
            host: "h", backend: "b", allocator: "a", durability: "d", topology: "t", engine: "e", transport: "p")
        var report = RunReport(
            run: "r", suite: "main", name: nil, command: [], started: .now(), seed: 1, nodes: 3, identity: identity,
            environment: environment)
        #expect(LabRun.status(of: report, isStrict: true) == .success)
        report.checks = [Check("late", passed: false, detail: "")]
        #expect(LabRun.status(of: report, isStrict: false) == .success)
        #expect(LabRun.status(of: report, isStrict: true) == .invalid)
        report.state = .aborted
        #expect(LabRun.status(of: report, isStrict: true) == .interrupted)
        report.state = .failed
        #expect(LabRun.status(of: report, isStrict: true) == .failed)
        report.checks.append(Check("lost", passed: false, detail: "", isAboutData: true))
        #expect(LabRun.status(of: report, isStrict: false) == .dataLost)
        #expect(ExitStatus.dataLost.rawValue == 3)
    }
}
