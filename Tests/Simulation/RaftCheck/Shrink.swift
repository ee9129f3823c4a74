// Makes a failed run smaller: fewer events by halving, then without one kind of fault after the other. Every try is a
// process of its own, because a broken precondition of the core ends the process.

import Glibc
import RaftSimulation

/// What to say about `run`, which failed after `seeds` seeds: the reason and the command that replays it, made smaller.
func verdict(on run: SeedRun, after seeds: Int, _ reason: String) throws(CheckError) -> String {
    let small = try shrunk(run)
    let planted = mutantArguments.isEmpty ? "" : " " + mutantArguments.joined(separator: " ")
    return
        "FAILED seed \(run.seed) after \(seeds) seeds: \(reason)\nreplay: RaftCheck replay \(small.command)\(planted)"
}

/// `RaftCheck shrink SEED EVENTS SEEDS`: what the trap handler turns the process into.
func shrink(_ words: ArraySlice<String>) throws(CheckError) {
    let words = words.map { Substring($0) }
    guard words.count == 3, let run = SeedRun(Array(words.prefix(2))), let seeds = Int(words[2]) else {
        throw CheckError(usage)
    }
    throw CheckError(try verdict(on: run, after: seeds, "a precondition of the core failed (trap)"))
}

private func shrunk(_ run: SeedRun) throws(CheckError) -> SeedRun {
    var smallest = run
    guard try fails(smallest) else { return run }
    try halve(&smallest)
    let needed: Set<Simulation.Action> = [.deliver, .tick, .drain, .sync, .report]
    for kind in Simulation.Action.allCases where !needed.contains(kind) {
        var candidate = smallest
        candidate.without.insert(kind)
        // Other events are drawn now: the bug may need more of them.
        candidate.events = run.events
        guard try fails(candidate) else { continue }
        try halve(&candidate)
        if candidate.events <= smallest.events { smallest = candidate }
    }
    return smallest
}

/// The fewest events with which it still fails, if fewer never fail where more don't.
private func halve(_ run: inout SeedRun) throws(CheckError) {
    var low = 0
    while low < run.events {
        var candidate = run
        candidate.events = (low + run.events) / 2
        if try fails(candidate) { run.events = candidate.events } else { low = candidate.events + 1 }
    }
}

private func fails(_ run: SeedRun) throws(CheckError) -> Bool {
    let words = ["RaftCheck", "replay"] + run.command.split(separator: " ").map(String.init) + mutantArguments
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for output in [STDOUT_FILENO, STDERR_FILENO] {
        posix_spawn_file_actions_addopen(&actions, output, "/dev/null", O_WRONLY, 0)
    }
    var child: pid_t = 0
    let code = posix_spawn(&child, "/proc/self/exe", &actions, nil, arguments, environ)
    guard code == 0 else { throw CheckError("no process could be started to replay a seed: error \(code)") }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 {
        guard errno == EINTR else { throw CheckError("the process that replays a seed was lost: error \(errno)") }
    }
    return status != 0
}
