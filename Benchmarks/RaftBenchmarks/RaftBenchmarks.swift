// The Raft core alone: three of them in one thread, messages handed over at once and every write durable at once. What
// is left is the cost of the protocol itself.
import Benchmark
import Raft

/// Headers of everything that a member has stored.
private struct Memory: LogReader {
    var log: [EntryHeader] = []

    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead {
        guard from >= 1, from <= LogIndex(log.count), from <= through else { return .pending }
        var bytes = 0
        var found: [EntryHeader] = []
        for header in log[Int(from - 1)..<Int(min(through, LogIndex(log.count)))] {
            bytes += Int(header.byteCount)
            if !found.isEmpty, bytes > maxBytes { break }
            found.append(header)
        }
        return .entries(found)
    }
}

private struct Trio {
    private var cores: [RaftCore]
    private var disks = [Memory](repeating: Memory(), count: 3)
    private var readies = [Ready](repeating: Ready(), count: 3)
    private var committed: LogIndex = 0

    init() {
        let voters = (1...3).map { NodeID(UInt64($0)) }
        cores = voters.map { id in
            RaftCore(
                id: id, voters: voters, learners: [], restored: RaftCore.Restored(), settings: RaftCore.Settings(),
                seed: id.rawValue)
        }
        step(0, .campaign)
        settle()
    }

    private mutating func step(_ member: Int, _ input: Input) {
        cores[member].step(input, log: disks[member], into: &readies[member])
    }

    /// Carries out what the members ask for until they ask for nothing more.
    private mutating func settle() {
        var isBusy = true
        while isBusy {
            isBusy = false
            for member in cores.indices {
                let ready = readies[member]
                readies[member].removeAll()
                if let cut = ready.truncateFrom { disks[member].log.removeSubrange(Int(cut - 1)...) }
                disks[member].log.append(contentsOf: ready.entries)
                if let hardState = ready.hardState { step(member, .hardStateDurable(hardState)) }
                if let last = ready.entries.last {
                    step(member, .appendDurable(index: last.index, term: last.term))
                }
                if let commit = ready.commit {
                    if member == 0 { committed = commit }
                    step(member, .applied(commit))
                }
                for message in ready.messages + ready.afterDurable {
                    isBusy = true
                    step(Int(message.to.rawValue) - 1, .receive(message))
                }
                isBusy = isBusy || ready.needsStorage || ready.commit != nil
            }
        }
    }

    /// - Returns: the commit index after the entries were proposed to the leader, `proposals` times in one turn, and
    ///   settled.
    mutating func commit(_ entries: [ProposedEntry], proposals: Int = 1) throws -> LogIndex {
        for _ in 0..<proposals { _ = try cores[0].propose(entries, log: disks[0], into: &readies[0]) }
        settle()
        return committed
    }
}

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], scalingFactor: .one, maxDuration: .seconds(2), maxIterations: 20_000)

    // One entry at a time; as a host under load does it, many proposals in one turn; and many entries in a proposal.
    for (count, proposals) in [(1, 1), (1, 64), (100, 1)] {
        let title = "three cores commit \(count * proposals) entries, \(count) in a proposal"
        Benchmark(title) { benchmark in
            var trio = Trio()
            let entries = [ProposedEntry](repeating: ProposedEntry(kind: .data, byteCount: 100), count: count)
            let before = try trio.commit(entries)
            benchmark.startMeasurement()
            var last = before
            for _ in benchmark.scaledIterations { last = try trio.commit(entries, proposals: proposals) }
            benchmark.stopMeasurement()
            precondition(last > before, "the leader commits what it is given")
        }
    }
}
