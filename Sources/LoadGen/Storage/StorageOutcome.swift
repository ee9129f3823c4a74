// What a verb measured, as db_bench's report line, as LabKit's result, and as the families that only storage runs have.
import LabKit
import Telemetry

/// One verb's result.
struct StorageOutcome: Sendable {
    var verb: StorageVerb
    var plan: StoragePlan
    /// The threads that are counted.
    var tallies: [StorageTally]
    /// Bytes sent to storage in the verb's time, background work included; nil where /proc does not say.
    var writtenBytes: UInt64?
    /// The most memory in the verb's time; nil where /proc does not say.
    var peakBytes: UInt64?

    private static let mebibyte = 1_048_576.0

    var operations: Int { tallies.reduce(0) { $0 + $1.operations } }
    var found: Int { tallies.reduce(0) { $0 + $1.found } }
    var bytes: Int { tallies.reduce(0) { $0 + $1.bytes } }
    var failure: String? { tallies.lazy.compactMap(\.failure).first }

    /// From the first thread's start to the last one's end.
    var seconds: Double {
        guard let start = tallies.map(\.start).min(), let end = tallies.map(\.end).max() else { return 0 }
        return max(MonotonicClock.seconds(from: start, to: end), 1e-9)
    }

    var rate: Double { Double(operations) / seconds }

    /// The same fields as db_bench 7's, so that one parser reads both. MB are 2^20 bytes there.
    var line: String {
        let micros = tallies.reduce(0) { $0 + $1.seconds } * 1e6 / Double(max(operations, 1))
        let padding = String(repeating: " ", count: max(0, 12 - verb.rawValue.count))
        var text = "\(verb.rawValue)\(padding) : \(Self.padded(NumberText.fixed(micros, 3), 11)) micros/op "
        text += "\(UInt64(rate)) ops/sec \(NumberText.fixed(seconds, 3)) seconds \(operations) operations;"
        if bytes > 0 {
            text += " \(Self.padded(NumberText.fixed(Double(bytes) / Self.mebibyte / seconds, 1), 6)) MB/s"
        }
        switch verb {
        case .readrandom, .multireadrandom, .readmissing, .seekrandom, .readwhilewriting:
            text += " (\(found) of \(operations) found)"
        default: break
        }
        return text
    }

    /// What db_bench does not print: bytes written and memory.
    var factsLine: String {
        var text = "  "
        if let writtenBytes {
            text += "wrote \(NumberText.grouped(writtenBytes)) B"
            if verb.writes, verb != .readwhilewriting, bytes > 0 {
                text += " (\(NumberText.fixed(Double(writtenBytes) / Double(bytes), 2)) for each byte put)"
            }
        } else {
            text += "bytes written unknown"
        }
        text += ", peak memory " + (peakBytes.map { "\($0 >> 20) MiB" } ?? "unknown")
        if let steadyBytes { text += ", steady memory \(steadyBytes >> 20) MiB" }
        if verb == .mixed, let budget = plan.budgetBytes { text += " of a budget of \(budget >> 20) MiB" }
        return text
    }

    /// The median of the second half of the samples.
    var steadyBytes: UInt64? {
        let samples = tallies.flatMap(\.residentBytes)
        let later = samples[(samples.count / 2)...].sorted()
        return later.isEmpty ? nil : later[later.count / 2]
    }

    /// Nil unless operations were timed.
    var histogram: LatencyHistogram? {
        guard plan.isTimed else { return nil }
        var merged = LatencyHistogram()
        for tally in tallies { if let latencies = tally.latencies { merged.merge(latencies) } }
        return merged
    }

    /// In microseconds, like db_bench's.
    var histogramText: String? {
        guard let histogram, histogram.count > 0 else { return nil }
        func micros(_ nanoseconds: Double) -> String { NumberText.fixed(nanoseconds / 1000, 2) }
        var text = "Microseconds per op:\nCount: \(histogram.count) Average: \(micros(histogram.mean))\n"
        text += "Min: \(micros(Double(histogram.minimum)))  Max: \(micros(Double(histogram.maximum)))\nPercentiles:"
        for (name, quantile) in [("P50", 0.5), ("P75", 0.75), ("P99", 0.99), ("P99.9", 0.999), ("P99.99", 0.9999)] {
            text += " \(name): \(micros(Double(histogram.value(at: quantile))))"
        }
        return text
    }

    /// - Parameter title: the run's shape, one line for people.
    func result(title: String) -> ScenarioResult {
        var result = ScenarioResult(
            scenario: "storage_\(verb.rawValue)", operation: verb.operation, title: title, loop: .inProcess,
            clients: tallies.count, windowSeconds: seconds, counts: OperationCounts(ok: UInt64(operations)),
            operationsPerSecond: rate, payloadBytesPerSecond: Double(bytes) / seconds)
        if let histogram { result.service = LatencySummary(histogram) }
        return result
    }

    /// Families beside those of LabKit's report.
    static func families(_ outcomes: [StorageOutcome], identity: RunIdentity) -> String {
        var text = PrometheusText()
        func gauge(_ name: String, _ help: String, _ value: (StorageOutcome) -> Double?) {
            text.family(name, .gauge, help)
            for outcome in outcomes {
                guard let value = value(outcome) else { continue }
                text.sample(
                    name, identity.labels + [("scenario", "storage_\(outcome.verb.rawValue)")], value)
            }
        }
        gauge("loadgen_storage_written_bytes", "Bytes sent to storage during the verb (/proc/self/io).") {
            $0.writtenBytes.map { Double($0) }
        }
        gauge("loadgen_storage_payload_bytes", "Keys and values that the verb moved.") { Double($0.bytes) }
        gauge("loadgen_storage_peak_resident_bytes", "Peak memory of the process during the verb.") {
            $0.peakBytes.map { Double($0) }
        }
        gauge("loadgen_storage_steady_resident_bytes", "Memory of the process in the second half of mixed, median.") {
            $0.steadyBytes.map { Double($0) }
        }
        gauge("loadgen_storage_budget_bytes", "The memory budget that mixed was given.") {
            $0.verb == .mixed ? $0.plan.budgetBytes.map { Double($0) } : nil
        }
        gauge("loadgen_storage_found", "Reads and seeks that found their key.") { Double($0.found) }
        return text.text
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
