// What the command line asks for, and the loop that does it.
import Glibc
import TestSupport

struct FuzzOptions {
    private var parser: String?
    private var seconds = 1.0
    private var seed: UInt64 = 1
    /// The only input to read.
    private var single: UInt64?
    private var fixtures = "Tests/Fixtures"

    private static let usage =
        "ParserFuzz [--parser NAME] [--seconds N] [--seed N] [--input N] [--fixtures FOLDER]"

    init(_ arguments: ArraySlice<String>) throws {
        var rest = arguments
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { throw TestFailure(Self.usage) }
            switch name {
            case "--parser": parser = value
            case "--seconds": seconds = Double(value) ?? seconds
            case "--seed": seed = UInt64(value) ?? seed
            case "--input": single = UInt64(value)
            case "--fixtures": fixtures = value
            default: throw TestFailure(Self.usage)
            }
        }
    }

    func targets() throws -> [FuzzTarget] {
        let all = try FuzzTarget.all(fixtures)
        guard let parser else { return all }
        guard let target = all.first(where: { $0.name == parser }) else {
            throw TestFailure("there is no parser '\(parser)'; there are \(all.map(\.name).joined(separator: ", "))")
        }
        return [target]
    }

    /// Runs one target until its time is over.
    func run(_ target: FuzzTarget) {
        let end = monotonicSeconds() + seconds
        var accepted = 0
        var input = single ?? 0
        repeat {
            Watch.begin(target.name, seed, input)
            // Each input has numbers of its own, so that it can be repeated alone.
            var mutator = Mutator(seed: seed &* 0x9e37_79b9_7f4a_7c15 ^ input &* 0xd1b5_4a32_d192_ed03)
            do {
                try target.attempt(&mutator)
                accepted += 1
            } catch {
                if single != nil { print("\(target.name): \(error)") }
            }
            input += 1
        } while single == nil && monotonicSeconds() < end
        Watch.end()
        print("\(target.name): \(input - (single ?? 0)) inputs, \(accepted) accepted, seed \(seed)")
        // A target that fails ends the process at once, and what is only buffered with it.
        fflush(nil)
    }
}

private func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
