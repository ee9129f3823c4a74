// Instruments count right from many threads, and what is exposed is what Prometheus reads: a golden text, and the
// verdict of promtool where it is installed.
import Foundation
import Telemetry
import Testing

@Suite struct InstrumentTests {
    @Test func oneNameAndLabelsIsOneInstrument() {
        let registry = MetricsRegistry()
        let first = registry.counter("strata_reads_total", help: "Reads.", labels: [("engine", "lsm")])
        let same = registry.counter("strata_reads_total", help: "Reads.", labels: [("engine", "lsm")])
        let other = registry.counter("strata_reads_total", help: "Reads.", labels: [("engine", "hash")])
        first.increment()
        same.increment(by: 4)
        #expect(first === same && first !== other)
        #expect(first.value == 5 && other.value == 0)
    }

    @Test func manyThreadsLoseNothing() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("strata_reads_total", help: "Reads.")
        let gauge = registry.gauge("strata_open_files", help: "Open files.")
        let histogram = registry.histogram("strata_wait_seconds", help: "Waits.")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for step in 0..<2000 as Range<UInt64> {
                        counter.increment()
                        gauge.add(step % 2 == 0 ? 2 : -1)
                        histogram.record(nanoseconds: step * 1000)
                    }
                }
            }
        }
        #expect(counter.value == 8000)
        #expect(gauge.value == 4000)
        #expect(registry.exposition().contains("strata_wait_seconds_count 8000\n"))
    }

    @Test func durationsFallIntoTheirBuckets() {
        for (position, bound) in Histogram.bounds.enumerated() {
            let registry = MetricsRegistry()
            let histogram = registry.histogram("strata_wait_seconds", help: "Waits.")
            histogram.record(nanoseconds: bound)
            histogram.record(nanoseconds: bound + 1)
            let counts = registry.exposition().split(separator: "\n").filter { $0.contains("_bucket") }
                .compactMap { $0.split(separator: " ").last.map(String.init) }
            #expect(counts.count == Histogram.bounds.count + 1)
            #expect(counts[position] == "1" && counts[position + 1] == "2")
            #expect(counts.prefix(position).allSatisfy { $0 == "0" })
        }
    }
}

@Suite struct ExpositionTests {
    /// One of everything.
    static func sample() -> MetricsRegistry {
        let registry = MetricsRegistry()
        registry.counter("strata_reads_total", help: "Reads by engine.", labels: [("engine", "lsm")]).increment(by: 7)
        registry.gauge("strata_open_files", help: "Open files.").set(2.5)
        registry.counter("strata_reads_total", help: "Reads by engine.", labels: [("engine", "a\"b\\c\nd")]).increment()
        let histogram = registry.histogram(
            "strata_wait_seconds", help: "Waits, in \\ and\nlines.", labels: [("op", "put")])
        histogram.record(nanoseconds: 10_000)
        histogram.record(nanoseconds: 1_500_000)
        histogram.record(nanoseconds: 60_000_000_000)
        registry.collect { text in
            text.family("strata_node_info", .gauge, "Who this is; always 1.")
            text.sample("strata_node_info", [("node", "n1")], 1)
        }
        return registry
    }

    @Test func theTextIsGolden() {
        let lines = Self.sample().exposition().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        #expect(
            Array(lines.prefix(8)) == [
                "# HELP strata_reads_total Reads by engine.", "# TYPE strata_reads_total counter",
                #"strata_reads_total{engine="lsm"} 7"#, #"strata_reads_total{engine="a\"b\\c\nd"} 1"#,
                "# HELP strata_open_files Open files.", "# TYPE strata_open_files gauge", "strata_open_files 2.5",
                #"# HELP strata_wait_seconds Waits, in \\ and\nlines."#,
            ])
        #expect(lines[9] == #"strata_wait_seconds_bucket{op="put",le="1e-05"} 1"#)
        #expect(lines.contains(#"strata_wait_seconds_bucket{op="put",le="0.002"} 2"#))
        #expect(lines.contains(#"strata_wait_seconds_bucket{op="put",le="10"} 2"#))
        #expect(
            Array(lines.suffix(7)) == [
                #"strata_wait_seconds_bucket{op="put",le="+Inf"} 3"#, #"strata_wait_seconds_sum{op="put"} 60.00151"#,
                #"strata_wait_seconds_count{op="put"} 3"#, "# HELP strata_node_info Who this is; always 1.",
                "# TYPE strata_node_info gauge", #"strata_node_info{node="n1"} 1"#, "",
            ])
    }

    @Test func aFamilyBeginsOnce() {
        var text = PrometheusText()
        text.family("x_total", .counter, "X.")
        text.sample("x_total", [("a", "1")], 1)
        text.family("x_total", .counter, "X.")
        text.sample("x_total", [("a", "2")], 2)
        #expect(text.text == "# HELP x_total X.\n# TYPE x_total counter\nx_total{a=\"1\"} 1\nx_total{a=\"2\"} 2\n")
    }

    @Test func numbersReadBackTheSame() {
        for number in [0, -1, 0.1, 1e-9, 123_456_789, 1e15, 1e300, .leastNonzeroMagnitude, 0x1p53] as [Double] {
            #expect(Double(PrometheusText.number(number)) == number)
        }
        #expect(PrometheusText.number(.nan) == "NaN")
        #expect(PrometheusText.number(.infinity) == "+Inf" && PrometheusText.number(-.infinity) == "-Inf")
        #expect(PrometheusText.number(3) == "3")
    }

    static let promtool = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .map { $0 + "/promtool" }.first { FileManager.default.isExecutableFile(atPath: $0) }

    /// What promtool says about a text: its exit code and its complaints.
    static func verdict(on text: String) throws -> (code: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(promtool))
        process.arguments = ["check", "metrics"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
        try input.fileHandleForWriting.close()
        let said = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: said, as: UTF8.self))
    }

    @Test(.enabled(if: promtool != nil, "promtool is not installed"))
    func promtoolFindsNothing() throws {
        let clean = try Self.verdict(on: Self.sample().exposition())
        #expect(clean.code == 0 && clean.output.isEmpty, "\(clean.output)")
        // The check itself must be able to fail.
        let bad = try Self.verdict(on: "# TYPE x_milliseconds counter\nx_milliseconds 1\n")
        #expect(bad.code != 0)
    }
}
