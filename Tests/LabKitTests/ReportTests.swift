// The files that a run leaves: the same report always gives the same bytes, JSON comes back as it went, and Prometheus'
// own tool accepts the metrics.
import Foundation
import LabKit
import Testing

@Suite struct ReportTests {
    @Test func jsonComesBack() throws {
        let report = ReportFixture.report()
        let text = try JSONReport.encode(report)
        #expect(try JSONReport.decode(text) == report)
        #expect(text.contains("\"schema\" : \"strata.run/1\""))
        #expect(text.contains("\"valid\" : true"))
        #expect(text.contains("\"operations_per_second\" : 12140"))
        #expect(throws: LabError.self) { try JSONReport.decode("{}") }
        #expect(throws: LabError.self) {
            try JSONReport.decode(text.replacingOccurrences(of: "strata.run/1", with: "strata.run/9"))
        }
    }

    @Test func runIDsAreSortableAndSafe() {
        let run = ReportFixture.report().run
        #expect(run.hasPrefix("20261121T101502Z-3f9c1ab-main-posix-arena-"))
        #expect(run.allSatisfy { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" })
        var environment = ReportFixture.report().environment
        environment.dirty = true
        let odd = RunID.make(
            started: WallTime(milliseconds: 0), environment: environment, suite: "a/b c", backend: "x", allocator: "y",
            seed: 1)
        #expect(odd.hasPrefix("19700101T000000Z-3f9c1ab-dirty-a_b_c-x-y-"))
    }

    /// The golden file is compared byte for byte: names and labels are a promise to dashboards.
    @Test func prometheusTextIsAsPromised() throws {
        let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures/run.prom")
        let text = PrometheusReport.render(ReportFixture.report())
        if ProcessInfo.processInfo.environment["STRATA_WRITE_GOLDEN"] != nil {
            try text.write(to: golden, atomically: true, encoding: .utf8)
        }
        #expect(text == (try String(contentsOf: golden, encoding: .utf8)))
    }

    @Test(.enabled(if: CommandCapture.run(["promtool", "--version"]) != nil))
    func promtoolAcceptsTheFile() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        let files = try RunFiles.write(ReportFixture.report(), results: folder.path)
        let path = try #require(files.first { $0.hasSuffix("run.prom") })
        let output = try #require(CommandCapture.run(["sh", "-c", "promtool check metrics < '\(path)' 2>&1"]))
        #expect(output.status == 0, "\(output.text)")
    }

    @Test func filesReplaceEachOtherWhole() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        let report = ReportFixture.report()
        let first = try RunFiles.write(report, results: folder.path)
        let second = try RunFiles.write(report, results: folder.path)
        #expect(first == second)
        let names = try FileManager.default.contentsOfDirectory(
            atPath: RunFiles.folder(of: report, results: folder.path))
        #expect(names.sorted() == ["run.json", "run.prom"])
        #expect(throws: LabError.self) { try RunFiles.write(report, results: "/proc/nothing") }
    }

    @Test func aLostWriteVoidsTheRun() {
        var report = ReportFixture.report()
        #expect(report.valid)
        #expect(!report.dataCheckFailed)
        report.checks.append(Check("late", passed: false, detail: "", voidsRun: false))
        #expect(report.valid)
        report.checks.append(Check("lost", passed: false, detail: "", isAboutData: true))
        #expect(!report.valid)
        #expect(report.dataCheckFailed)
        #expect(ConsoleReport.render(report, files: []).contains("DATA LOST"))
        var aborted = ReportFixture.report()
        aborted.state = .aborted
        #expect(!aborted.valid)
    }

    @Test func theTableSaysWhatMatters() {
        let text = ConsoleReport.render(ReportFixture.report(), files: ["a/run.json"])
        for word in [
            "VALID", "kv_write", "closed c=64", "service", "response", "12 140", "write gap", "391", "0 lost",
            "after a restart of every node", "seed 71", "a/run.json",
        ] {
            #expect(text.contains(word), "\(word) is missing in:\n\(text)")
        }
        #expect(text.split(separator: "\n").allSatisfy { !$0.hasSuffix(" ") })
    }

    @Test(arguments: [
        (0.0, "0.000"), (0.000115, "0.115"), (0.00492, "4.92"), (0.0391, "39.1"), (0.391, "391"), (12.0, "12000"),
    ])
    func millisecondsHaveThreeDigits(seconds: Double, text: String) {
        #expect(NumberText.milliseconds(seconds) == text)
    }

    @Test func numbersAreGrouped() {
        #expect(NumberText.grouped(1_204_331) == "1 204 331")
        #expect(NumberText.grouped(999) == "999")
        #expect(NumberText.rate(12_140.4) == "12 140")
        #expect(NumberText.rate(0.25) == "0.3")
        #expect(NumberText.rate(.nan) == "–")
        #expect(NumberText.fixed(-1.25, 1) == "-1.3")
        #expect(NumberText.fixed(0.005, 2) == "0.01")
    }
}
