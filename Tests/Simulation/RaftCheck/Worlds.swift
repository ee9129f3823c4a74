// The bounded worlds on several threads, one world each: states, states per second, and the shortest way to a broken
// invariant. A world that is not searched to its end proves nothing, so it is a failure unless --states limits it.

import Glibc
import RaftSimulation

func checkWorlds(_ options: Options) async throws(CheckError) {
    let statesMax = try options.number("--states", 0)
    let threads = max(1, try options.number("--threads", 2))
    let only = options.text("--name")
    let worlds = Search.worlds.filter { only == nil || only == $0.name }
    if worlds.isEmpty { throw CheckError("no world is called that: \(Search.worlds.map(\.name))") }
    let begin = monotonicSeconds()
    var failures: [String] = []
    var states = 0
    await withTaskGroup(of: (name: String, verdict: Search.Verdict, seconds: Double).self) { group in
        var waiting = worlds[...]
        func startNext() {
            guard let (name, world) = waiting.popFirst() else { return }
            group.addTask {
                let start = monotonicSeconds()
                let verdict = Search.run(world, statesMax: statesMax == 0 ? Int.max : statesMax)
                return (name, verdict, monotonicSeconds() - start)
            }
        }
        for _ in 0..<threads { startNext() }
        for await (name, verdict, seconds) in group {
            startNext()
            states += verdict.states
            if let failure = verdict.failure { failures.append("FAILED world '\(name)': \(failure)") }
            let rate = Int(Double(verdict.states) / max(seconds, 0.001))
            let extent = verdict.failure != nil ? "FAILED" : verdict.isComplete ? "complete" : "not all of it"
            print("world '\(name)': \(verdict.states) states, \(extent), depth \(verdict.depth), \(rate) states/s")
            // Also into a pipe: who watches sees each result when it is there.
            fflush(nil)
        }
    }
    if !failures.isEmpty { throw CheckError(failures.joined(separator: "\n")) }
    let seconds = monotonicSeconds() - begin
    print("\(worlds.count) worlds, \(states) states in \(Int(seconds)) s")
}
