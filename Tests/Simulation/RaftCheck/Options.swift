// What the command line says, and what the program answers with when it says nothing useful.

import Raft

let usage = """
    RaftCheck seeds [--from N] [--count N] [--events N] [--threads N] [--minutes N] [--metrics FILE]
    RaftCheck replay SEED EVENTS [KINDS LEFT OUT, COMMA SEPARATED]
    RaftCheck regressions --file FILE
    RaftCheck scenarios --folder FOLDER [--rewrite 1]
    RaftCheck worlds [--states N] [--name NAME] [--threads N]
    RaftCheck throughput [--entries N]
    RaftCheck mutants            (their names; any command takes --mutant NAME in a build with RAFT_MUTANTS)
    """

/// What was found, or why nothing could be looked for.
struct CheckError: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

/// `--name value` pairs.
struct Options {
    private var values: [(name: String, value: String)] = []

    init(_ arguments: ArraySlice<String>) throws(CheckError) {
        var rest = arguments
        while let name = rest.popFirst() {
            guard name.hasPrefix("--"), let value = rest.popFirst() else { throw CheckError(usage) }
            values.append((name, value))
        }
    }

    func text(_ name: String) -> String? { values.last { $0.name == name }?.value }

    func number(_ name: String, _ otherwise: Int) throws(CheckError) -> Int {
        guard let text = text(name) else { return otherwise }
        guard let number = Int(text), number >= 0 else { throw CheckError("\(name) wants a number, not '\(text)'") }
        return number
    }
}

/// `--mutant NAME`, as it was given; for processes that go on with the work.
nonisolated(unsafe) private(set) var mutantArguments: [String] = []

/// Plants the bug that `--mutant` names, and takes it out of the command line. Called once, before anything runs.
func plantMutant(_ arguments: inout [String]) throws(CheckError) {
    guard let position = arguments.firstIndex(of: "--mutant") else { return }
    let name = position + 1 < arguments.count ? arguments[position + 1] : ""
    guard let mutant = Mutant(rawValue: name) else { throw CheckError("no mutant '\(name)'; see RaftCheck mutants") }
    mutantArguments = ["--mutant", name]
    arguments.removeSubrange(position...position + 1)
    #if RAFT_MUTANTS
    Mutant.active = mutant
    #else
    throw CheckError("\(mutant) can't be planted: build with -Xswiftc -DRAFT_MUTANTS")
    #endif
}
