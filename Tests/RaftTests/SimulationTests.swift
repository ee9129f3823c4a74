// Seeded runs of the simulation. RAFT_SEEDS and RAFT_EVENTS make longer runs, RAFT_SEED replays one; RAFT_TRACE prints
// each seed before it runs, which names the culprit when a precondition of the core stops the process.

import Glibc
import Testing

@testable import Raft
@testable import RaftSimulation

private func number(_ name: String) -> Int? {
    getenv(name).flatMap { Int(String(cString: $0)) }
}

private let eventCount = number("RAFT_EVENTS") ?? 1500
private let seedCount = number("RAFT_SEEDS") ?? 320
private let chunkCount = 8

@discardableResult
private func simulate(_ seed: UInt64) -> Simulation? {
    if number("RAFT_TRACE") != nil { print("seed \(seed)") }
    do {
        return try SeedRun(seed: seed, events: eventCount).simulate()
    } catch {
        Issue.record("seed \(seed): \(error); replay: RaftCheck replay \(seed) \(eventCount)")
        return nil
    }
}

@Suite struct SimulationTests {
    @Test(.enabled(if: number("RAFT_SEED") == nil), arguments: 0..<chunkCount)
    func invariantsHoldUnderFaults(chunk: Int) {
        var counts = SimulationCounts()
        var failures = 0
        // One after the other, because the kinds of seeds take turns.
        for seed in seedCount * chunk / chunkCount..<seedCount * (chunk + 1) / chunkCount {
            if let simulation = simulate(UInt64(seed)) {
                counts.add(simulation.counts)
            } else {
                failures += 1
            }
            if failures == 3 { break }
        }
        // A simulation that never meets its faults proves nothing.
        #expect(counts.elections > 0 && counts.commits > 0 && counts.cuts > 0, "\(counts)")
        #expect(counts.crashes > 0 && counts.lostJobs > 0 && counts.snapshots > 0, "\(counts)")
        #expect(counts.readsServed > 0 && counts.readsDropped > 0 && counts.transfers > 0, "\(counts)")
        #expect(counts.pendingReads > 0, "\(counts)")
        if number("RAFT_TRACE") != nil { print(counts) }
    }

    @Test func sameSeedGivesTheSameRun() {
        for seed in [3, 17, 99] as [UInt64] {
            let first = simulate(seed)
            let second = simulate(seed)
            #expect(first?.eventHash == second?.eventHash, "seed \(seed)")
            #expect(first?.nodes.map(\.core) == second?.nodes.map(\.core), "seed \(seed)")
        }
    }

    @Test(.enabled(if: number("RAFT_SEED") != nil))
    func replay() {
        if let seed = number("RAFT_SEED") { simulate(UInt64(seed)) }
    }
}
