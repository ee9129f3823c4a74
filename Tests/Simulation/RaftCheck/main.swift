// The long checks of the Raft core as a program, so that a release build of three small modules is all they need:
// seeded simulations on several threads, replay of one seed, the list of past failures, bounded worlds searched in
// full, and all of it with a planted bug. Exits with 1 when something is wrong.

import Glibc
import Raft
import RaftSimulation

var arguments = Array(CommandLine.arguments.dropFirst())
do throws(CheckError) {
    try plantMutant(&arguments)
    installTrapHandler()
    switch arguments.first {
    case "seeds": try await checkSeeds(Options(arguments.dropFirst()))
    case "replay": try replay(arguments.dropFirst())
    case "shrink": try shrink(arguments.dropFirst())
    case "regressions": try checkRegressions(Options(arguments.dropFirst()))
    case "scenarios": try checkScenarios(Options(arguments.dropFirst()))
    case "worlds": try await checkWorlds(Options(arguments.dropFirst()))
    case "throughput": try measureThroughput(Options(arguments.dropFirst()))
    case "mutants": for mutant in Mutant.allCases { print(mutant.rawValue) }
    default: throw CheckError(usage)
    }
} catch {
    print(error.text)
    exit(1)
}
