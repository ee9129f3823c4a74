// The scenario files of a folder against what they say, or rewritten to what is.

import Glibc
import RaftSimulation

private func contents(of name: String) -> String? {
    guard let file = fopen(name, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&chunk, 1, chunk.count, file)
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += chunk[..<count]
    }
}

/// Names of the `.txt` files of a folder, in order.
private func scenarioNames(_ folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name.hasSuffix(".txt") { names.append(name) }
    }
    return names.sorted()
}

func checkScenarios(_ options: Options) throws(CheckError) {
    guard let folder = options.text("--folder") else { throw CheckError(usage) }
    let isRewrite = try options.number("--rewrite", 0) == 1
    let names = scenarioNames(folder)
    if names.isEmpty { throw CheckError("no scenario (*.txt) in \(folder)") }
    for name in names {
        guard let text = contents(of: "\(folder)/\(name)") else { throw CheckError("\(name) can't be read") }
        let now = Scenario.run(text)
        if now == text { continue }
        if isRewrite, let file = fopen("\(folder)/\(name)", "w") {
            fputs(now, file)
            fclose(file)
            continue
        }
        let lines = zip(text.split(separator: "\n"), now.split(separator: "\n"))
        let first = lines.first { $0 != $1 }.map { "expected \($0)\n     got \($1)" } ?? "more or fewer lines"
        throw CheckError("FAILED scenario \(name): \(first)")
    }
    print("\(names.count) scenarios hold")
}
