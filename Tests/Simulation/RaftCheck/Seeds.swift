// Many seeds on several threads, one seed again, and the seeds that failed once. A failure is made smaller and printed
// with the command that replays it.

import Glibc
import Raft
import RaftSimulation

func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

private struct Outcome: Sendable {
    var counts = SimulationCounts()
    var seeds = 0
    var events = 0
    var failure: (run: SeedRun, text: String)?
}

func checkSeeds(_ options: Options) async throws(CheckError) {
    let from = try options.number("--from", 0)
    let count = try options.number("--count", 3000)
    let events = try options.number("--events", 10_000)
    let threads = min(try options.number("--threads", 2), threadsMax)
    let minutes = try options.number("--minutes", 0)
    let start = monotonicSeconds()
    shrinksTraps(events: events)
    let deadline = minutes > 0 ? start + Double(minutes) * 60 : .infinity
    let last = minutes > 0 ? Int.max : from + count
    let outcomes = await withTaskGroup(of: Outcome.self) { group in
        for worker in 0..<threads {
            group.addTask {
                runSeeds(stride(from: from + worker, to: last, by: threads), events, worker, deadline)
            }
        }
        var all: [Outcome] = []
        for await outcome in group { all.append(outcome) }
        return all
    }
    var sum = Outcome()
    for outcome in outcomes {
        sum.counts.add(outcome.counts)
        sum.seeds += outcome.seeds
        sum.events += outcome.events
        if let failure = outcome.failure { sum.failure = failure }
    }
    let seconds = monotonicSeconds() - start
    if let file = options.text("--metrics") { try writeMetrics(sum, seconds, to: file) }
    if let (run, text) = sum.failure {
        throw CheckError(try verdict(on: run, after: sum.seeds, text))
    }
    try requireCoverage(sum)
    print(
        "\(sum.seeds) seeds of \(events) events in \(Int(seconds * 10) / 10) s: "
            + "\(Int(Double(sum.seeds) / seconds)) seeds/s, \(Int(Double(sum.events) / seconds)) events/s")
    let hours = Double(sum.counts.ticks) / 360_000
    print("\(sum.counts.faults) faults, \(Double(Int(hours * 10)) / 10) simulated hours")
    print(sum.counts.all.map { "\($0.name) \($0.value)" }.joined(separator: ", "))
}

private func runSeeds(
    _ seeds: StrideTo<Int>, _ events: Int, _ worker: Int, _ deadline: Double
) -> Outcome {
    var outcome = Outcome()
    for seed in seeds {
        if monotonicSeconds() > deadline { break }
        let run = SeedRun(seed: UInt64(seed), events: events)
        noteRunning(run.seed, worker)
        do {
            let simulation = try run.simulate()
            outcome.counts.add(simulation.counts)
            outcome.events += simulation.eventCount
            // One seed in fifty runs twice: equal seeds must give equal runs.
            if seed % 50 == 0, try run.simulate().eventHash != simulation.eventHash {
                outcome.failure = (run, "two runs of the seed differ")
            }
        } catch {
            outcome.failure = (run, "\(error)")
        }
        outcome.seeds += 1
        if outcome.failure != nil { break }
    }
    noteRunning(nil, worker)
    return outcome
}

/// A simulation that never meets its faults proves nothing.
private func requireCoverage(_ sum: Outcome) throws(CheckError) {
    if sum.seeds < 100 { return }
    for (name, value) in sum.counts.all where value == 0 {
        throw CheckError("FAILED: \(sum.seeds) seeds and never once '\(name)'")
    }
}

func replay(_ arguments: ArraySlice<String>) throws(CheckError) {
    guard let run = SeedRun(arguments.map { Substring($0) }) else { throw CheckError(usage) }
    noteRunning(run.seed, 0)
    // A run without an end has failed too.
    alarm(120)
    do {
        let simulation = try run.simulate()
        print("seed \(run.seed) holds; hash \(simulation.eventHash)")
    } catch {
        throw CheckError("FAILED \(run.command): \(error)")
    }
}

/// Every line `seed events [kinds]` of a file; what follows a # is a remark.
func checkRegressions(_ options: Options) throws(CheckError) {
    guard let name = options.text("--file"), let file = fopen(name, "r") else {
        throw CheckError("the list of regressions can't be read; name it with --file")
    }
    defer { fclose(file) }
    var count = 0
    var line = [CChar](repeating: 0, count: 4096)
    while fgets(&line, Int32(line.count), file) != nil {
        let bytes = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let text = String(decoding: bytes, as: UTF8.self).split(separator: "#", omittingEmptySubsequences: false)[0]
        let words = text.split { $0 == " " || $0 == "\n" }
        if words.isEmpty { continue }
        guard let run = SeedRun(words) else { throw CheckError("not a regression: \(text)") }
        noteRunning(run.seed, 0)
        do {
            _ = try run.simulate()
        } catch {
            throw CheckError("FAILED regression \(run.command): \(error)")
        }
        count += 1
    }
    print("\(count) regressions hold")
}

/// Prometheus text: what a soak did, for Results.
private func writeMetrics(_ sum: Outcome, _ seconds: Double, to name: String) throws(CheckError) {
    guard let file = fopen(name, "w") else { throw CheckError("\(name) can't be written") }
    defer { fclose(file) }
    var text = ""
    func add(_ name: String, _ help: String, _ value: String) {
        text += "# HELP loadgen_raft_soak_\(name) \(help)\n# TYPE loadgen_raft_soak_\(name) gauge\n"
        text += "loadgen_raft_soak_\(name) \(value)\n"
    }
    add("seconds", "Wall time of the soak.", "\(seconds)")
    add("seeds", "Seeds that ran.", "\(sum.seeds)")
    add("seeds_per_second", "Seeds by wall time.", "\(Double(sum.seeds) / seconds)")
    add("events", "Events that the simulated groups went through.", "\(sum.events)")
    add("faults", "Crashes, pauses, cut links, lost messages and lost writes.", "\(sum.counts.faults)")
    // A tick stands for 10 ms.
    add("simulated_seconds", "Time that passed in the simulated groups.", "\(Double(sum.counts.ticks) / 100)")
    add("failed", "1 when an invariant broke.", sum.failure == nil ? "0" : "1")
    for (name, value) in sum.counts.all { add("count_\(name)", "Times this happened.", "\(value)") }
    fputs(text, file)
}
