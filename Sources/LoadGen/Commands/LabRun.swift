// From checked options to an exit status: sets the stage, runs the suite, prints and stores what came out.
import Foundation
import Glibc
import LabKit

enum LabRun {
    /// Must be called on the main thread, which starts the servers.
    static func run(_ command: any LabCommand, arguments: [String]) throws(LoadGenError) -> ExitStatus {
        let options = command.options
        let plan = try options.plan(command.kind, command: ["LoadGen"] + arguments)
        try ReleaseBuild.enter(arguments: arguments, isDebugAllowed: options.debugOk)
        let external = try options.externalTarget()
        SignalThread.start()
        let started = WallTime.now()
        let folder = FileManager.default.currentDirectoryPath
        var report = try emptyReport(plan, started: started, folder: folder, isEmbedded: external == nil)
        let target: Target
        if let external { target = external } else { target = try embedded(plan, run: report.run, folder: folder) }
        if target.cluster != nil {
            report.floor = try probe(folder: "\(folder)/.bench-data/\(report.run)")
        }
        report = Suite(plan, target: target, report: report, started: started).run()
        return finish(report, options)
    }

    private static func emptyReport(
        _ plan: SuitePlan, started: WallTime, folder: String, isEmbedded: Bool
    ) throws(LoadGenError) -> RunReport {
        let executable = try? PackageCheckout.runningExecutable()
        let checkout = executable.flatMap { PackageCheckout.containing(executable: $0)?.folder }
        let environment = RunEnvironment.capture(dataFolder: folder, checkout: checkout)
        let topology = isEmbedded ? "colocated-\(plan.nodes)" : "external"
        let unknown = ServerFacts.unknown
        let identity = RunIdentity(
            host: environment.host, backend: unknown, allocator: unknown, durability: unknown, topology: topology,
            engine: unknown, transport: unknown)
        // The switches are known only once the servers run; the name says what was asked for: the servers' defaults.
        let run = RunID.make(
            started: started, environment: environment, suite: plan.name ?? plan.kind.rawValue, backend: "auto",
            allocator: "auto", seed: plan.seed ^ UInt64(bitPattern: started.milliseconds))
        return RunReport(
            run: run, suite: plan.kind.rawValue, name: plan.name, command: plan.command, started: started,
            seed: plan.seed, nodes: plan.nodes, identity: identity, environment: environment)
    }

    private static func embedded(_ plan: SuitePlan, run: String, folder: String) throws(LoadGenError) -> Target {
        let server = try EmbeddedCluster.serverExecutable()
        let options = EmbeddedCluster.Options(
            nodes: plan.nodes, folder: "\(folder)/.bench-data/\(run)", keepData: plan.keepData,
            seed: plan.seed ^ UInt64(getpid()))
        return .embedded(try EmbeddedCluster(options, serverExecutable: server))
    }

    private static func probe(folder: String) throws(LoadGenError) -> DiskFloor {
        do {
            return try DiskFloor.probe(folder: folder)
        } catch {
            throw LoadGenError.failed(error.description)
        }
    }

    private static func finish(_ report: RunReport, _ options: LabOptions) -> ExitStatus {
        var files: [String] = []
        if !options.noWrite {
            do {
                files = try RunFiles.write(report, results: options.results)
            } catch {
                StandardError.write("the results could not be written: \(error)\n")
            }
        }
        StandardOutput.write(ConsoleReport.render(report, files: files))
        if report.dataCheckFailed { return .dataLost }
        switch report.state {
        case .aborted: return .interrupted
        case .failed: return .failed
        case .complete: return options.strict && !report.valid ? .invalid : .success
        }
    }
}
