// From a checked command line to report lines and result files: opens the store, runs the verbs one after the other,
// and cleans up what it made. Report lines go to standard output as soon as a verb ends.
import Foundation
import Glibc
import LabKit
import Memory
import Storage
import UringIO

enum StorageRun {
    /// Must be called on the main thread, before any other thread is started.
    static func run(_ command: StorageCommand, arguments: [String]) throws(LoadGenError) -> ExitStatus {
        let plan = try command.plan()
        try ReleaseBuild.enter(arguments: arguments, isDebugAllowed: command.debugOk)
        SignalThread.start()
        let started = WallTime.now()
        let begun = MonotonicClock.now()
        let folder =
            command.db ?? FileManager.default.currentDirectoryPath
            + "/.bench-data/storage-\(started.compact)-\(getpid())"
        defer { if command.db == nil { StorageSubject.remove(folder) } }
        let backend = IOBackend(plan.io)
        StandardError.write(header(plan, backend, folder))
        var outcomes: [StorageOutcome] = []
        var failure: LoadGenError?
        do throws(LoadGenError) {
            try measure(plan, backend, folder: folder) { outcomes.append($0) }
        } catch {
            failure = error
        }
        if command.noWrite {
            // The environment is asked of other programs, whose memory would count as this run's.
            if let failure { throw failure }
            return .success
        }
        var report = emptyReport(command, plan, backend, arguments, started: started)
        report.scenarios = outcomes.map { $0.result(title: title(plan)) }
        report.seconds = MonotonicClock.seconds(from: begun, to: MonotonicClock.now())
        if let failure {
            if case .usage = failure { throw failure }
            report.state = failure == .interrupted ? .aborted : .failed
            report.failure = failure.description
        }
        try store(report, outcomes, results: command.results)
        if let failure { throw failure }
        return .success
    }

    private static func measure(
        _ plan: StoragePlan, _ backend: IOBackend, folder: String, _ done: (StorageOutcome) -> Void
    ) throws(LoadGenError) {
        var subject = try StorageSubject(plan, backend, folder: folder, isFresh: !plan.usesExisting)
        var isUsed = false
        for verb in plan.verbs {
            if verb.startsFresh, !plan.usesExisting, isUsed {
                try close(subject)
                subject = try StorageSubject(plan, backend, folder: folder, isFresh: true)
            }
            isUsed = true
            let outcome = measure(verb, plan, subject)
            StandardOutput.write(outcome.line + "\n" + outcome.factsLine + "\n")
            if let text = outcome.histogramText { StandardOutput.write(text + "\n") }
            done(outcome)
            if Interruption.isRequested || outcome.failure != nil {
                // What closing would say now is not the news.
                try? close(subject)
                throw outcome.failure.map { .failed("\(verb.rawValue): \($0)") } ?? LoadGenError.interrupted
            }
        }
        try close(subject)
    }

    private static func measure(
        _ verb: StorageVerb, _ plan: StoragePlan, _ subject: StorageSubject
    ) -> StorageOutcome {
        let isPeakOwn = ProcessFacts.resetPeak()
        let writtenBefore = ProcessFacts.writtenBytes
        var tallies = StorageBench(plan: plan, subject: subject).run(verb)
        var outcome = StorageOutcome(verb: verb, plan: plan, tallies: [])
        if let before = writtenBefore, let after = ProcessFacts.writtenBytes {
            outcome.writtenBytes = after - min(before, after)
        }
        outcome.peakBytes = isPeakOwn ? ProcessFacts.peakResidentBytes : nil
        // The writer is the load under which the readers are measured; only its failure counts.
        if verb == .readwhilewriting, let writer = tallies.popLast(), let failure = writer.failure {
            tallies[0].failure = tallies[0].failure ?? failure
        }
        outcome.tallies = tallies
        return outcome
    }

    private static func close(_ subject: StorageSubject) throws(LoadGenError) {
        do throws(StorageError) {
            try subject.close()
        } catch {
            throw LoadGenError.failed("the store could not be closed in order: \(error)")
        }
    }

    private static func title(_ plan: StoragePlan) -> String {
        let log = plan.hasLog ? "" : ", no write-ahead log"
        return "\(plan.threads) threads, \(NumberText.grouped(UInt64(plan.keys))) keys of \(plan.keyBytes) + "
            + "\(plan.valueBytes) B, batches of \(plan.batch)\(log)"
    }

    private static func header(_ plan: StoragePlan, _ backend: IOBackend, _ folder: String) -> String {
        var text = "LoadGen · storage · \(RunEnvironment.isDebugBuild ? "debug" : "release") · seed \(plan.seed)\n"
        text += "\(title(plan))\n"
        text += "engine \(plan.engine.rawValue), allocator \(plan.allocator.rawValue), disk \(backend.reason)\n"
        text += "store in \(folder); every block read from disk is checked against its CRC\n"
        return text
    }

    private static func emptyReport(
        _ command: StorageCommand, _ plan: StoragePlan, _ backend: IOBackend, _ arguments: [String], started: WallTime
    ) -> RunReport {
        let executable = try? PackageCheckout.runningExecutable()
        let checkout = executable.flatMap { PackageCheckout.containing(executable: $0)?.folder }
        let environment = RunEnvironment.capture(
            dataFolder: FileManager.default.currentDirectoryPath, checkout: checkout)
        let durability = plan.isSynced ? "power" : plan.hasLog ? "process" : "none"
        let identity = RunIdentity(
            host: environment.host, backend: backend.kind.rawValue, allocator: plan.allocator.rawValue,
            durability: durability, topology: "in-process", engine: plan.engine.rawValue, transport: "none")
        var report = RunReport(
            run: "", suite: "storage", name: command.name, command: ["LoadGen"] + arguments, started: started,
            seed: plan.seed, nodes: 1, identity: identity, environment: environment)
        report.nameRun(started: started)
        report.checks = [
            Check(
                "release_build", passed: !RunEnvironment.isDebugBuild,
                detail: "LoadGen was built for \(environment.build)")
        ]
        return report
    }

    private static func store(
        _ report: RunReport, _ outcomes: [StorageOutcome], results: String
    ) throws(LoadGenError) {
        do throws(LabError) {
            let files = try RunFiles.write(report, results: results)
            let text =
                PrometheusReport.render(report)
                + StorageOutcome.families(outcomes, identity: report.identity)
            try RunFiles.replace(RunFiles.folder(of: report, results: results) + "/run.prom", with: text)
            StandardError.write("files  " + files.joined(separator: "\n       ") + "\n")
        } catch {
            throw LoadGenError.failed(error.description)
        }
    }
}
