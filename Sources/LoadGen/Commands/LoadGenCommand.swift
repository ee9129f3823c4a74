// The command line of LoadGen. Without arguments it runs the main suite against a cluster of its own.
import ArgumentParser

struct LoadGenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "LoadGen",
        abstract: "Measures Strata, breaks it, and checks that nothing acknowledged is lost.",
        discussion: """
            Without arguments: three server processes on this machine, about a minute of load, three killed leaders, \
            and everything that was acknowledged read back after a restart.

            Exit codes: 0 done · 1 failed · 2 wrong usage · 3 acknowledged data lost or wrong · 4 not valid (--strict) \
            · 130 interrupted.
            """,
        subcommands: [SuiteCommand.self, FailoverCommand.self, StorageCommand.self, DiskCommand.self],
        defaultSubcommand: SuiteCommand.self)
}

/// A command that runs the lab.
protocol LabCommand {
    var options: LabOptions { get }
    var kind: SuitePlan.Kind { get }
}

struct SuiteCommand: ParsableCommand, LabCommand {
    static let configuration = CommandConfiguration(
        commandName: "suite", abstract: "Skip list, ingest, key-value writes and reads, failover, verification.")

    enum Name: String, ExpressibleByArgument, CaseIterable {
        case main, quick
    }

    @Argument(help: "Which suite: main (about a minute) or quick (about 20 seconds).")
    var suite = Name.main

    @OptionGroup var options: LabOptions

    var kind: SuitePlan.Kind { suite == .quick || options.quick ? .quick : .main }
}

struct FailoverCommand: ParsableCommand, LabCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover", abstract: "Kills the leader again and again under load; then verifies.")

    @OptionGroup var options: LabOptions

    var kind: SuitePlan.Kind { .failover }
}
