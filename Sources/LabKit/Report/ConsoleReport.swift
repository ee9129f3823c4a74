// What is printed when a run ends: the verdict, where it was measured, one line per scenario, the faults, the check of
// the data. Plain text, so that it can be pasted into a note.

/// The closing text of a run.
public enum ConsoleReport {
    /// Of more trials only the worst are listed; run.json has all.
    private static let trialsShownMax = 10

    public static func render(_ report: RunReport, files: [String]) -> String {
        var text = "\n" + verdict(report) + "\n" + surroundings(report) + "\n\n"
        text += scenarios(report)
        if let failover = report.failover {
            text += "\n" + self.failover(failover)
        }
        if let chaos = report.chaos {
            text += "\n" + self.chaos(chaos)
        }
        if let verification = report.verification {
            text += "\n" + self.verification(verification)
        }
        text += "\n" + caveats(report)
        if !files.isEmpty {
            text += "files  " + files.joined(separator: "\n       ") + "\n"
        }
        return text
    }

    private static func verdict(_ report: RunReport) -> String {
        let passed = report.checks.count(where: \.passed)
        let word: String
        if report.dataCheckFailed {
            word = "DATA LOST OR WRONG"
        } else if report.state != .complete {
            word = report.state.rawValue.uppercased()
        } else {
            word = report.valid ? "VALID" : "INVALID"
        }
        var text = "run \(report.run)   \(word) (\(passed)/\(report.checks.count) checks)   "
        text += "\(NumberText.fixed(report.seconds, 0)) s"
        if let failure = report.failure {
            text += "\n  failed: \(failure)"
        }
        for check in report.checks where !check.passed {
            text += "\n  \(check.voidsRun ? "✗" : "⚠") \(check.check): \(check.detail)"
        }
        return text
    }

    private static func surroundings(_ report: RunReport) -> String {
        let machine = report.environment
        let memory = NumberText.fixed(Double(machine.memoryBytes) / 1_073_741_824, 0)
        let identity = report.identity
        var text = "host \(machine.host): \(machine.cpu), \(machine.vcpus) vCPU, \(memory) GiB, \(machine.fileSystem), "
        text += "Linux \(machine.kernel) · Swift \(machine.swift) \(machine.build)\n"
        text +=
            "\(report.nodes) nodes, \(identity.topology) · disk \(identity.backend) · allocator \(identity.allocator)"
        text += " · \(identity.durability) · peers \(identity.transport) · seed \(report.seed)"
        if let floor = report.floor {
            text += "\nfloor: fdatasync 4 KiB min \(NumberText.milliseconds(floor.minimumSeconds)) "
            text += "p50 \(NumberText.milliseconds(floor.p50Seconds)) "
            text += "p99 \(NumberText.milliseconds(floor.p99Seconds)) ms"
        }
        return text
    }

    private static func scenarios(_ report: RunReport) -> String {
        var table = ConsoleTable([
            ("scenario", .left), ("loop", .left), ("clock", .left), ("ops/s", .right), ("MB/s", .right),
            ("p50", .right), ("p99", .right), ("p99.9", .right), ("max", .right), ("ok", .right), ("err", .right),
            ("unknown", .right),
        ])
        var titles: [String] = []
        for result in report.scenarios {
            let clock = result.response != nil ? "response" : result.service != nil ? "service" : "–"
            let latency = result.response ?? result.service
            let loop: String
            switch result.loop {
            case .closed: loop = "closed c=\(result.clients)"
            case .open: loop = "open \(NumberText.rate(result.offeredPerSecond ?? 0))/s"
            case .inProcess: loop = "in process"
            }
            table.add([
                result.scenario, loop, clock, NumberText.rate(result.operationsPerSecond),
                NumberText.fixed(result.payloadBytesPerSecond / 1e6, 1),
                NumberText.milliseconds(latency?.value(at: 0.5)), NumberText.milliseconds(latency?.value(at: 0.99)),
                NumberText.milliseconds(latency?.value(at: 0.999)), NumberText.milliseconds(latency?.maximum),
                NumberText.grouped(result.counts.ok), NumberText.grouped(result.counts.error),
                NumberText.grouped(result.counts.unknown),
            ])
            titles.append("  \(result.scenario): \(result.title)\n")
        }
        return table.text + titles.joined()
    }

    /// One line for each kind of fault.
    public static func table(_ results: [FailoverResult]) -> String {
        var table = ConsoleTable([
            ("fault", .left), ("trials", .right), ("gap min", .right), ("p50", .right), ("p99", .right),
            ("max ms", .right), ("replaced max", .right), ("elections", .right), ("refused", .right),
            ("unknown", .right), ("retries", .right),
        ])
        for result in results {
            let (gaps, counts) = (result.gaps, result.counts)
            table.add([
                result.fault, "\(result.trials.count)", NumberText.milliseconds(gaps.minimum),
                NumberText.milliseconds(gaps.median), NumberText.milliseconds(gaps.quantile(0.99)),
                (result.isCensored ? "≥ " : "") + NumberText.milliseconds(gaps.maximum),
                NumberText.milliseconds(result.replacements.maximum), "\(result.elections)", "\(counts.error)",
                "\(counts.unknown)", "\(counts.retries)",
            ])
        }
        return table.text
    }

    private static func failover(_ result: FailoverResult) -> String {
        let gaps = result.gaps
        let bound = result.isCensored ? "at least " : ""
        var text = "failover \(result.fault) ×\(result.trials.count)   write gap "
        text += "min \(NumberText.milliseconds(gaps.minimum)) p50 \(NumberText.milliseconds(gaps.median)) "
        text += "p99 \(NumberText.milliseconds(gaps.quantile(0.99))) "
        text += "max \(bound)\(NumberText.milliseconds(gaps.maximum)) ms   "
        text += "under \(NumberText.rate(result.offeredPerSecond)) writes/s\n"
        let counts = result.counts
        text += "  \(result.elections) elections   refused \(counts.error)   unknown \(counts.unknown)"
        text += "   retries \(counts.retries)"
        if let longest = result.replacements.maximum {
            let median = NumberText.milliseconds(result.replacements.median)
            text += "   replaced after p50 \(median) max \(NumberText.milliseconds(longest)) ms"
            text += " (\(result.replacements.count) of \(result.trials.count))"
        }
        text += "\n"
        let shown =
            result.trials.count <= trialsShownMax
            ? result.trials
            : Array(result.trials.sorted { $0.gapSeconds > $1.gapSeconds }.prefix(trialsShownMax))
        if shown.count < result.trials.count {
            text += "  the \(shown.count) longest:\n"
        }
        for trial in shown {
            text += "  #\(trial.trial) \(trial.victim) → \(trial.successor)   gap "
            text += "\(trial.censored ? "≥ " : "")\(NumberText.milliseconds(trial.gapSeconds)) ms"
            text += "   first success \(NumberText.milliseconds(trial.firstSuccessSeconds)) ms"
            text += "   caught up after \(NumberText.milliseconds(trial.caughtUpSeconds)) ms"
            text += "   ok \(trial.counts.ok) err \(trial.counts.error) unknown \(trial.counts.unknown)"
            text += " retries \(trial.counts.retries)\n"
        }
        return text
    }

    private static func chaos(_ result: ChaosResult) -> String {
        var text = "chaos of seed \(result.seed): \(result.events.count) faults"
        if let slowest = result.events.max(by: { $0.recovery < $1.recovery }) {
            text += ", longest way back \(NumberText.fixed(slowest.recovery, 1)) s after \(slowest.fault)"
        }
        text += "\n  " + result.counts.map { "\($0.fault) ×\($0.count)" }.joined(separator: "  ") + "\n"
        return text + unavailability(result.unavailability ?? []) + catchUp(result.events)
    }

    private static func unavailability(_ kinds: [ChaosResult.Unavailability]) -> String {
        guard !kinds.isEmpty else { return "" }
        var table = ConsoleTable([
            ("fault", .left), ("of", .left), ("times", .right), ("p50", .right), ("max", .right), ("bound", .right),
            ("counted", .left), ("", .left),
        ])
        for kind in kinds {
            table.add([
                kind.fault, kind.target, "\(kind.times)", NumberText.fixed(kind.p50Seconds, 2),
                NumberText.fixed(kind.maxSeconds, 2), NumberText.fixed(kind.boundSeconds, 2),
                kind.afterFault ? "from its end" : "from its start",
                kind.exceeded > 0 ? "EXCEEDED ×\(kind.exceeded)" : "",
            ])
        }
        return "unavailability: longest time without an acknowledged write until the next fault, in seconds\n"
            + table.text
    }

    private static func catchUp(_ events: [ChaosResult.Event]) -> String {
        var text = ""
        for event in events {
            guard let bytes = event.catchUp else { continue }
            text += "  \(event.nodes.joined(separator: "+")) after \(event.fault): sent "
            text += "\(NumberText.grouped(bytes.sentBytes)) bytes, lacked \(NumberText.grouped(bytes.lackedBytes)), "
            text += "bound \(NumberText.grouped(bytes.boundBytes))\(bytes.isExceeded ? "   EXCEEDED" : "")\n"
        }
        return text
    }

    private static func verification(_ result: VerificationResult) -> String {
        let how = result.afterRestart ? "after a restart of every node" : "without a restart"
        var text = "verify \(how): \(NumberText.grouped(result.keysChecked)) keys and "
        text += "\(NumberText.grouped(result.recordsChecked)) records read back in "
        text += "\(NumberText.fixed(result.seconds, 1)) s: \(NumberText.grouped(result.lost)) lost, "
        text +=
            "\(NumberText.grouped(result.corrupt)) corrupt, \(NumberText.grouped(result.recordsDuplicated)) duplicated"
        text += " (\(NumberText.grouped(result.unknownFound)) of unknown outcome were there)\n"
        for example in result.examples {
            text += "  ✗ \(example)\n"
        }
        return text
    }

    private static func caveats(_ report: RunReport) -> String {
        var text =
            "latencies in ms; \"service\" is timed from the send in a closed loop and says nothing about waiting "
        text += "under load\n"
        if report.identity.topology.hasPrefix("colocated") {
            text +=
                "client and servers share this machine's \(report.environment.vcpus) vCPU; one run, so no confidence "
            text += "interval\n"
        }
        return text
    }
}
