// The bounded worlds, one after the other: states, states per second, and the shortest way to a broken invariant.

import RaftSimulation

func checkWorlds(_ options: Options) throws(CheckError) {
    let statesMax = try options.number("--states", 400_000)
    let only = options.text("--name")
    for (name, world) in Search.worlds where only == nil || only == name {
        let start = monotonicSeconds()
        let verdict = Search.run(world, statesMax: statesMax)
        let seconds = monotonicSeconds() - start
        if let failure = verdict.failure { throw CheckError("FAILED world '\(name)': \(failure)") }
        let rate = Int(Double(verdict.states) / max(seconds, 0.001))
        let extent = verdict.isComplete ? "all of it" : "not all of it"
        print("world '\(name)': \(verdict.states) states, \(extent), depth \(verdict.depth), \(rate) states/s")
    }
}
