// run.prom: the report as Prometheus text 0.0.4. Identity labels stand on every sample and have few values each; what
// is particular to one run stands on loadgen_run_info only. Metric names are a promise to dashboards: add, don't
// rename.
internal import Telemetry

/// Rendering of run.prom.
public enum PrometheusReport {
    typealias Labels = [(name: String, value: String)]

    public static func render(_ report: RunReport) -> String {
        var text = PrometheusText()
        let identity = report.identity.labels
        run(report, identity, &text)
        throughput(report, identity, &text)
        operations(report, identity, &text)
        latencies(report, identity, &text)
        if let failover = report.failover {
            self.failover(failover, identity, &text)
        }
        if let chaos = report.chaos {
            self.chaos(chaos, identity, &text)
        }
        if let verification = report.verification {
            self.verification(verification, identity, &text)
        }
        return text.text
    }

    private static func run(_ report: RunReport, _ identity: Labels, _ text: inout PrometheusText) {
        let machine = report.environment
        let facts: Labels = [
            ("run", report.run), ("suite", report.suite), ("commit", machine.commit), ("branch", machine.branch),
            ("dirty", String(machine.dirty)), ("build", machine.build), ("swift", machine.swift),
            ("kernel", machine.kernel), ("cpu", machine.cpu), ("vcpus", String(machine.vcpus)),
            ("fs", machine.fileSystem), ("nodes", String(report.nodes)), ("seed", String(report.seed)),
            ("schema", report.schema),
        ]
        text.family("loadgen_run_info", .gauge, "Identity of the run that produced this file.")
        text.sample("loadgen_run_info", identity + facts, 1)
        text.family("loadgen_run_valid", .gauge, "1 when every check that voids a run passed.")
        text.sample("loadgen_run_valid", identity, report.valid ? 1 : 0)
        text.family("loadgen_run_duration_seconds", .gauge, "Wall time of the whole run.")
        text.sample("loadgen_run_duration_seconds", identity, report.seconds)
        if !report.checks.isEmpty {
            text.family("loadgen_check_passed", .gauge, "Result of one check of honesty.")
            for check in report.checks {
                text.sample("loadgen_check_passed", identity + [("check", check.check)], check.passed ? 1 : 0)
            }
        }
        guard let floor = report.floor else { return }
        text.family("loadgen_disk_floor_seconds", .summary, "Time of one 4 KiB append with fdatasync on the data disk.")
        text.sample("loadgen_disk_floor_seconds", identity + [("quantile", "0")], floor.minimumSeconds)
        text.sample("loadgen_disk_floor_seconds", identity + [("quantile", "0.5")], floor.p50Seconds)
        text.sample("loadgen_disk_floor_seconds", identity + [("quantile", "0.99")], floor.p99Seconds)
    }

    private static func labels(_ result: ScenarioResult, _ identity: Labels) -> Labels {
        identity + [("scenario", result.scenario), ("op", result.operation)]
    }

    private static func throughput(_ report: RunReport, _ identity: Labels, _ text: inout PrometheusText) {
        guard !report.scenarios.isEmpty else { return }
        let rate = "loadgen_throughput_operations_per_second"
        text.family(rate, .gauge, "Operations completed inside the measured window, per second.")
        for result in report.scenarios {
            text.sample(rate, labels(result, identity), result.operationsPerSecond)
        }
        let bytes = "loadgen_throughput_bytes_per_second"
        text.family(bytes, .gauge, "Payload bytes completed inside the measured window, per second.")
        for result in report.scenarios {
            text.sample(bytes, labels(result, identity), result.payloadBytesPerSecond)
        }
        let open = report.scenarios.filter { $0.offeredPerSecond != nil }
        guard !open.isEmpty else { return }
        let offered = "loadgen_offered_operations_per_second"
        text.family(offered, .gauge, "Planned rate of an open loop.")
        for result in open {
            text.sample(offered, labels(result, identity), result.offeredPerSecond ?? 0)
        }
    }

    private static func operations(_ report: RunReport, _ identity: Labels, _ text: inout PrometheusText) {
        guard !report.scenarios.isEmpty else { return }
        let name = "loadgen_operations_total"
        text.family(name, .counter, "Operations by outcome.")
        for result in report.scenarios {
            let counts = result.counts
            for (outcome, count) in [("ok", counts.ok), ("error", counts.error), ("unknown", counts.unknown)] {
                text.sample(name, labels(result, identity) + [("outcome", outcome)], Double(count))
            }
        }
        let retries = "loadgen_retries_total"
        text.family(retries, .counter, "Further attempts of operations that are counted once.")
        for result in report.scenarios {
            text.sample(retries, labels(result, identity), Double(result.counts.retries))
        }
    }

    private static func latencies(_ report: RunReport, _ identity: Labels, _ text: inout PrometheusText) {
        let kinds: [(name: String, help: String, summary: (ScenarioResult) -> LatencySummary?)] = [
            ("response", "Response time from the intended start.", { $0.response }),
            ("service", "Service time from the send.", { $0.service }),
        ]
        for kind in kinds {
            let rows = report.scenarios.compactMap { result in
                kind.summary(result).map { (labels: labels(result, identity), latency: $0) }
            }
            guard !rows.isEmpty else { continue }
            let histogram = "loadgen_\(kind.name)_seconds"
            text.family(histogram, .histogram, kind.help)
            for row in rows {
                self.histogram(histogram, row.labels, row.latency.buckets, row.latency.count, row.latency.sum, &text)
            }
            let quantiles = "loadgen_\(kind.name)_quantile_seconds"
            text.family(quantiles, .summary, "Exact quantiles (HDR, 3 digits). " + kind.help)
            for row in rows {
                for entry in row.latency.quantiles {
                    let quantile = PrometheusText.number(entry.quantile)
                    text.sample(quantiles, row.labels + [("quantile", quantile)], entry.seconds)
                }
                text.sample(quantiles + "_sum", row.labels, row.latency.sum)
                text.sample(quantiles + "_count", row.labels, Double(row.latency.count))
            }
        }
    }

    private static func histogram(
        _ name: String, _ labels: Labels, _ buckets: [LatencySummary.Bucket], _ count: UInt64, _ sum: Double,
        _ text: inout PrometheusText
    ) {
        for bucket in buckets {
            text.sample(
                name + "_bucket", labels + [("le", PrometheusText.number(bucket.seconds))], Double(bucket.count))
        }
        text.sample(name + "_bucket", labels + [("le", "+Inf")], Double(count))
        text.sample(name + "_sum", labels, sum)
        text.sample(name + "_count", labels, Double(count))
    }

    private static func failover(_ result: FailoverResult, _ identity: Labels, _ text: inout PrometheusText) {
        let labels = identity + [("fault", result.fault)]
        let measures: [(name: String, help: String, values: [Double])] = [
            ("gap", "Longest time without an acknowledged write around a fault.", result.trials.map(\.gapSeconds)),
            (
                "first_success", "From the fault to the first acknowledgement of a write that was due after it.",
                result.trials.compactMap(\.firstSuccessSeconds)
            ),
            (
                "catch_up", "From the restart of the node that was hit until it had caught up.",
                result.trials.compactMap(\.caughtUpSeconds)
            ),
        ]
        for measure in measures {
            let name = "loadgen_failover_\(measure.name)_seconds"
            text.family(name, .histogram, measure.help)
            let buckets = LatencySummary.bucketLadder.map { bound in
                let seconds = Double(bound) / 1e9
                return LatencySummary.Bucket(
                    seconds: seconds, count: UInt64(measure.values.count { $0 <= seconds }))
            }
            let sum = measure.values.reduce(0, +)
            histogram(name, labels, buckets, UInt64(measure.values.count), sum, &text)
        }
        let replaced = result.replacements
        if let longest = replaced.maximum {
            text.family("loadgen_failover_replaced_max_seconds", .gauge, "The longest time until another node led.")
            text.sample("loadgen_failover_replaced_max_seconds", labels, longest)
        }
        text.family("loadgen_failover_elections_total", .counter, "Terms that began in all trials.")
        text.sample("loadgen_failover_elections_total", labels, Double(result.elections))
        text.family("loadgen_failover_gap_max_seconds", .gauge, "The worst gap of all trials.")
        text.sample("loadgen_failover_gap_max_seconds", labels, result.gaps.maximum ?? 0)
    }

    private static func chaos(_ result: ChaosResult, _ identity: Labels, _ text: inout PrometheusText) {
        text.family("loadgen_chaos_faults_total", .counter, "Faults that were done to the cluster.")
        for (fault, count) in result.counts {
            text.sample("loadgen_chaos_faults_total", identity + [("fault", fault)], Double(count))
        }
        text.family("loadgen_chaos_recovery_max_seconds", .gauge, "Longest time until all nodes had caught up.")
        text.sample("loadgen_chaos_recovery_max_seconds", identity, result.events.map(\.recovery).max() ?? 0)
        let kinds = result.unavailability ?? []
        guard !kinds.isEmpty else { return }
        let name = "loadgen_chaos_unavailability_seconds"
        text.family(name, .gauge, "Longest time without an acknowledged write, of all faults of a kind.")
        for kind in kinds {
            let labels = identity + [("fault", kind.fault), ("target", kind.target)]
            text.sample(name, labels + [("statistic", "p50")], kind.p50Seconds)
            text.sample(name, labels + [("statistic", "max")], kind.maxSeconds)
            text.sample(name, labels + [("statistic", "bound")], kind.boundSeconds)
        }
        let exceeded = "loadgen_chaos_unavailability_exceeded_total"
        text.family(exceeded, .counter, "Faults whose unavailability exceeded the bound of their kind.")
        for kind in kinds {
            text.sample(exceeded, identity + [("fault", kind.fault), ("target", kind.target)], Double(kind.exceeded))
        }
        let counted = result.events.compactMap(\.catchUp)
        guard !counted.isEmpty else { return }
        let bytes = "loadgen_chaos_catch_up_bytes_total"
        text.family(bytes, .counter, "Bytes to nodes that came back, and what they lacked.")
        text.sample(bytes, identity + [("what", "sent")], Double(counted.reduce(0) { $0 + $1.sentBytes }))
        text.sample(bytes, identity + [("what", "lacked")], Double(counted.reduce(0) { $0 + $1.lackedBytes }))
    }

    private static func verification(_ result: VerificationResult, _ identity: Labels, _ text: inout PrometheusText) {
        let counters: [(name: String, help: String, keys: UInt64?, records: UInt64)] = [
            ("verified_writes", "Acknowledged writes read back.", result.keysChecked, result.recordsChecked),
            ("lost_writes", "Acknowledged writes that were not there.", result.keysLost, result.recordsLost),
            ("corrupt_writes", "Writes that came back wrong.", result.keysCorrupt, result.recordsCorrupt),
            ("duplicate_records", "Records that appear twice.", nil, result.recordsDuplicated),
        ]
        for counter in counters {
            let name = "loadgen_\(counter.name)_total"
            text.family(name, .counter, counter.help)
            if let keys = counter.keys {
                text.sample(name, identity + [("scenario", "key_value")], Double(keys))
            }
            text.sample(name, identity + [("scenario", "ingest")], Double(counter.records))
        }
    }
}
