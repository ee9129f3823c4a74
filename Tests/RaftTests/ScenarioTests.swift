// The scenario files of Scenarios/: each is a conversation with a simulated group (see Scenario.swift for the
// commands). To accept what the core does today, run `RaftCheck scenarios --folder Tests/RaftTests/Scenarios --rewrite
// 1` and read the difference.

import Foundation
import RaftSimulation
import Testing

private let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios")

private func scenarios() -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path())) ?? []
    return names.filter { $0.hasSuffix(".txt") }.sorted()
}

@Suite struct ScenarioTests {
    @Test(arguments: scenarios())
    func holds(name: String) throws {
        let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
        let now = Scenario.run(text)
        let differences = zip(text.split(separator: "\n"), now.split(separator: "\n")).filter { $0 != $1 }
        #expect(now == text, "first difference: \(differences.first.map { "\($0)" } ?? "length")")
        #expect(!now.contains("    error:"), "an invariant broke")
    }

    /// At least one for each edge case of Docs/Raft.md.
    @Test func coverEveryEdgeCase() {
        let names = scenarios()
        for number in 1...24 {
            let prefix = number < 10 ? "0\(number)-" : "\(number)-"
            #expect(names.contains { $0.hasPrefix(prefix) }, "edge case \(number)")
        }
    }
}
