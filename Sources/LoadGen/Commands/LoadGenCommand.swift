// The command line of LoadGen. Without arguments it runs the main suite against a cluster of its own.
import ArgumentParser
import LabKit

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
        subcommands: [
            SuiteCommand.self, FailoverCommand.self, ChaosCommand.self, StorageCommand.self, DiskCommand.self,
        ],
        defaultSubcommand: SuiteCommand.self)
}

/// A command that runs the lab.
protocol LabCommand {
    var options: LabOptions { get }
    var kind: SuitePlan.Kind { get }
    /// Changes what the options alone say.
    func adjust(_ plan: inout SuitePlan) throws(LoadGenError)
}

extension LabCommand {
    func adjust(_ plan: inout SuitePlan) throws(LoadGenError) {}
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
        commandName: "failover", abstract: "Disturbs the leader again and again under load (--fault); then verifies.")

    @OptionGroup var options: LabOptions

    var kind: SuitePlan.Kind { .failover }
}

struct ChaosCommand: ParsableCommand, LabCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos",
        abstract: "Does everything to a cluster that a seed can think of, under load; then proves that nothing broke.")

    @Option(help: "How long (default: 1).")
    var minutes: Double?

    @Option(
        help: """
            Which faults, separated by commas (default: all): \
            \(ChaosFault.allCases.map(\.rawValue).joined(separator: ", ")).
            """)
    var faults: String?

    @OptionGroup var options: LabOptions

    var kind: SuitePlan.Kind { .chaos }

    static let minutesMax = 24.0 * 60

    func adjust(_ plan: inout SuitePlan) throws(LoadGenError) {
        if let faults { plan.chaosFaults = try ChaosFault.parse(faults) }
        guard let minutes else { return }
        guard minutes > 0, minutes <= Self.minutesMax else {
            throw LoadGenError.usage("--minutes must be above 0 and at most \(NumberText.fixed(Self.minutesMax, 0))")
        }
        plan.chaosSeconds = minutes * 60
    }
}
