// What a seed plans, how a bit is flipped and flipped back, and what terms say about elections.
import ArgumentParser
import Foundation
import LabKit
import Testing

@testable import LoadGen

@Suite struct ChaosTests {
    @Test func aSeedPlansTheSameFaultsAgain() {
        var (one, two, other) = (ChaosSchedule(seed: 5), ChaosSchedule(seed: 5), ChaosSchedule(seed: 6))
        let steps = (0..<60).map { _ in one.next() }
        #expect(steps == (0..<60).map { _ in two.next() })
        #expect(steps != (0..<60).map { _ in other.next() })
    }

    @Test func everyFaultComesInTheFirstRound() {
        var schedule = ChaosSchedule(seed: 11)
        let faults = Set(ChaosSchedule.steps.map { _ in schedule.next().fault })
        #expect(faults == Set(ChaosFault.allCases))
    }

    /// Fewer faults are a part of the same plan.
    @Test func chosenFaultsComeInTheOrderOfTheWholePlan() {
        let chosen: Set<ChaosFault> = [.kill, .longCut, .clockBack]
        var (whole, part) = (ChaosSchedule(seed: 9), ChaosSchedule(seed: 9, faults: chosen))
        let expected = (0..<200).map { _ in whole.next() }.filter { chosen.contains($0.fault) }
        #expect(expected.map { _ in part.next() } == expected)
        #expect(expected.contains { $0.fault == .longCut })
    }

    @Test func faultsLastAsLongAsTheirKindAndTheRunAllow() {
        var schedule = ChaosSchedule(seed: 4)
        for _ in 0..<500 {
            let step = schedule.next()
            let range = step.fault.seconds(step.target)
            #expect(range.contains(step.seconds), "\(step)")
            let inAMinute = step.seconds(inRunOf: 60)
            #expect(inAMinute <= max(15, range.lowerBound) && inAMinute >= range.lowerBound, "\(step)")
            #expect(step.seconds(inRunOf: 3600) == step.seconds)
        }
        #expect(ChaosFault.longCut.seconds(.follower) == 5...60)
    }

    @Test func faultsAreChosenByName() throws {
        func plan(_ words: [String]) throws -> SuitePlan {
            let line = SingleDash.normalise(words, options: LabOptions.valueNames, flags: LabOptions.flagNames)
            let command = try #require(try LoadGenCommand.parseAsRoot(["chaos"] + line) as? ChaosCommand)
            var plan = try command.options.plan(.chaos, command: [])
            try command.adjust(&plan)
            return plan
        }
        #expect(try plan([]).chaosFaults == Set(ChaosFault.allCases))
        #expect(
            try plan(["-faults", "clock-back,lossy-links", "-minutes", "2"]).chaosFaults == [.clockBack, .lossyLinks])
        #expect(try plan(["--faults", "kill"]).chaosSeconds == 60)
        for wrong in ["clock", "", ","] {
            #expect(throws: LoadGenError.self) { try plan(["--faults", wrong]) }
        }
        do {
            _ = try ChaosFault.parse("kil")
        } catch {
            #expect(error.description.contains("kill") && error.description.contains("long-cut"))
        }
    }

    @Test func aLossyLineIsLateByTheSaidTimes() {
        var rules = LinkRules()
        rules.delayNanoseconds = 100_000_000
        rules.jitterNanoseconds = 40_000_000
        rules.lossPerMillion = 50_000
        var random = SeededRandom(seed: 7)
        let delays = (0..<10_000).map { _ in rules.delay(&random) }
        let lost = delays.count { $0 >= 60_000_000 + rules.lossNanoseconds }
        #expect((400..<600).contains(lost), "5 %: \(lost)")
        let kept = delays.filter { $0 < 60_000_000 + rules.lossNanoseconds }
        #expect(kept.allSatisfy { (60_000_000...140_000_000).contains($0) })
        #expect((kept.min() ?? 0) < 62_000_000 && (kept.max() ?? 0) > 138_000_000)
        rules = LinkRules()
        rules.delayNanoseconds = 10
        rules.jitterNanoseconds = 40
        #expect((0..<1000).allSatisfy { _ in rules.delay(&random) <= 50 }, "never below nothing")
    }

    @Test func aFlippedBitIsPutBackUnlessTheFileHasChanged() throws {
        let folder = NSTemporaryDirectory() + "strata-flip-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let content = Data((0..<100_000).map { UInt8($0 % 251) })
        let path = URL(fileURLWithPath: folder + "/000001.sst")
        var random = SeededRandom(seed: 3, stream: 1)
        try Data(content.prefix(100)).write(to: URL(fileURLWithPath: folder + "/small.log"))
        #expect(BitFlip.choose(in: folder, &random) == nil)
        try content.write(to: path)
        for _ in 0..<20 {
            let flip = try #require(BitFlip.choose(in: folder, &random))
            try flip.apply()
            let damaged = try Data(contentsOf: path)
            #expect(zip(damaged, content).count { $0 != $1 } == 1)
            #expect(try flip.revert())
            #expect(try Data(contentsOf: path) == content)
        }
        let flip = try #require(BitFlip.choose(in: folder, &random))
        try flip.apply()
        try Data(repeating: 0, count: content.count).write(to: path)
        #expect(try !flip.revert())
    }

    @Test func leaderFaultsAndDiskFaultsShareAnOption() throws {
        let plans = try LabOptions.parse(["--fault", "kill,disk-stall,power-loss,disk-stall=20"])
            .plans(.failover, command: [])
        #expect(plans.map(\.fault) == [.kill, .diskStall])
        #expect(plans[0].switches == ["--fault", "power-loss,disk-stall=20"])
        #expect(plans[1].switches == ["--fault", "power-loss,disk-stall=20,disk-control"])
        let suite = try LabOptions.parse(["--fault", "disk-stall"]).plans(.main, command: [])
        #expect(suite.map(\.switches) == [["--fault", "disk-stall"]])
    }

    @Test func partitionsBringTheProxyAlong() throws {
        let plans = try LabOptions.parse(["--fault", "kill,partition"]).plans(.failover, command: [])
        #expect(plans.map(\.network) == [.loopback, .proxy])
        #expect(try LabOptions.parse([]).plan(.chaos, command: []).network == .proxy)
        #expect(throws: LoadGenError.self) {
            try LabOptions.parse(["--network", "loopback"]).plan(.chaos, command: [])
        }
        #expect(throws: LoadGenError.self) { try LabOptions.parse(["--network", "x"]).plan(.main, command: []) }
    }

    @Test func termsAreReadFromMetrics() {
        let terms = ElectionWatch.terms(
            "# TYPE strata_raft_term gauge\nstrata_raft_term{group=\"keyvalue\"} 3\nstrata_raft_term_x{group=\"a\"} 9\n"
                + "strata_raft_term{group=\"partition-16\"} 12\n")
        #expect(terms.map(\.term) == [3, 12])
    }
}
