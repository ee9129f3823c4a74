// From checked options to an exit status: sets the stage, runs the suite, prints and stores what came out.
import Foundation
import Glibc
import LabKit

enum LabRun {
    /// Must be called on the main thread, which starts the servers.
    static func run(_ command: any LabCommand, arguments: [String]) throws(LoadGenError) -> ExitStatus {
        let options = command.options
        var plans = try options.plans(command.kind, command: ["LoadGen"] + arguments)
        for index in plans.indices { try command.adjust(&plans[index]) }
        try ReleaseBuild.enter(arguments: arguments, isDebugAllowed: options.debugOk)
        let external = try options.externalTarget()
        SignalThread.start()
        var worst = ExitStatus.success
        var failovers: [FailoverResult] = []
        for plan in plans {
            let report = try run(plan, external)
            finish(report, options)
            if let failover = report.failover { failovers.append(failover) }
            let status = status(of: report, isStrict: options.strict)
            if worst == .success || status == .dataLost { worst = status }
            if status == .interrupted { return status }
        }
        if failovers.count > 1 { StandardOutput.write("\n" + ConsoleReport.table(failovers)) }
        return worst
    }

    private static func run(_ plan: SuitePlan, _ external: Target?) throws(LoadGenError) -> RunReport {
        let started = WallTime.now()
        let folder = FileManager.default.currentDirectoryPath
        var report = emptyReport(plan, started: started, folder: folder, external)
        let target: Target
        if let external {
            target = external
        } else {
            // The run's full name holds what the servers say of themselves, so it is not known before they run.
            let data = "\(folder)/.bench-data/\(started.compact)-\(getpid())"
            target = try embedded(plan, folder: data)
            report.floor = try probe(folder: data)
        }
        return Suite(plan, target: target, report: report, started: started).run()
    }

    static func emptyReport(
        _ plan: SuitePlan, started: WallTime, folder: String, _ external: Target?
    ) -> RunReport {
        let executable = try? PackageCheckout.runningExecutable()
        let checkout = executable.flatMap { PackageCheckout.containing(executable: $0)?.folder }
        let environment = RunEnvironment.capture(dataFolder: folder, checkout: checkout)
        let nodes = external?.respEndpoints.count ?? plan.nodes
        let unknown = ServerFacts.unknown
        let identity = RunIdentity(
            host: environment.host, backend: unknown, allocator: unknown, durability: unknown,
            topology: external == nil ? "colocated-\(nodes)" : "external", engine: unknown, transport: unknown)
        var report = RunReport(
            run: "", suite: plan.kind.rawValue, name: plan.name, command: plan.command, started: started,
            seed: plan.seed, nodes: nodes, identity: identity, environment: environment)
        report.nameRun(started: started)
        return report
    }

    private static func embedded(_ plan: SuitePlan, folder: String) throws(LoadGenError) -> Target {
        let server = try EmbeddedCluster.serverExecutable()
        var options = EmbeddedCluster.Options(
            nodes: plan.nodes, folder: folder, keepData: plan.keepData, seed: plan.seed ^ UInt64(getpid()),
            serverArguments: plan.switches, network: plan.network)
        options.hasFalseClocks =
            plan.kind == .chaos && plan.chaosFaults.contains(where: \.needsFalseClock) && ClockShift.isPossible
        return .embedded(try EmbeddedCluster(options, serverExecutable: server))
    }

    private static func probe(folder: String) throws(LoadGenError) -> DiskFloor {
        do {
            return try DiskFloor.probe(folder: folder)
        } catch {
            throw LoadGenError.failed(error.description)
        }
    }

    private static func finish(_ report: RunReport, _ options: LabOptions) {
        var files: [String] = []
        if !options.noWrite {
            do {
                files = try RunFiles.write(report, results: options.results)
            } catch {
                StandardError.write("the results could not be written: \(error)\n")
            }
        }
        StandardOutput.write(ConsoleReport.render(report, files: files))
    }

    /// What a finished run tells its caller: lost data before anything else.
    static func status(of report: RunReport, isStrict: Bool) -> ExitStatus {
        if report.dataCheckFailed { return .dataLost }
        switch report.state {
        case .aborted: return .interrupted
        case .failed: return .failed
        case .complete: return isStrict && !report.valid ? .invalid : .success
        }
    }
}
