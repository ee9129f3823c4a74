// How many entries per second three cores in one process commit, without disk or network: the cost of the protocol
// alone. Logs live in memory, storage is durable at once, messages arrive in order. `batch` is entries per proposal,
// `depth` proposals per turn; three cores share one thread.

import Raft

private struct MemoryLog: LogReader {
    var base: LogIndex = 0
    var entries: [EntryHeader] = []

    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead {
        if from <= base { return .compacted }
        return .entries(Array(entries[Int(from - base - 1)...Int(through - base - 1)]))
    }
}

private struct Member {
    var core: RaftCore
    var ready = Ready()
    var log = MemoryLog()

    mutating func step(_ input: Input) { core.step(input, log: log, into: &ready) }

    mutating func propose(_ entries: [ProposedEntry]) throws(ProposalDropped) {
        _ = try core.propose(entries, log: log, into: &ready)
    }

    /// Drains, with storage done at once.
    mutating func drain(into network: inout [Message]) {
        let hardState = ready.hardState
        let last = ready.entries.last
        log.entries += ready.entries
        network += ready.messages
        network += ready.afterDurable
        ready.removeAll()
        if let hardState { step(.hardStateDurable(hardState)) }
        if let last { step(.appendDurable(index: last.index, term: last.term)) }
    }

    var isIdle: Bool { !ready.needsStorage && ready.messages.isEmpty && ready.afterDurable.isEmpty }

    mutating func compact() {
        let commit = core.commitIndex
        step(.applied(commit))
        core.compact(through: commit)
        log.entries.removeFirst(Int(commit - log.base))
        log.base = commit
    }
}

private struct Trio {
    var members: [Member]
    var network: [Message] = []

    init() {
        let ids = (1...3).map { NodeID(UInt64($0)) }
        members = ids.map { id in
            Member(
                core: RaftCore(
                    id: id, voters: ids, restored: RaftCore.Restored(), settings: RaftCore.Settings(),
                    seed: id.rawValue))
        }
    }

    mutating func settle() {
        while true {
            for position in members.indices { members[position].drain(into: &network) }
            if network.isEmpty && members.allSatisfy(\.isIdle) { return }
            let messages = network
            network.removeAll(keepingCapacity: true)
            for message in messages { members[Int(message.to.rawValue) - 1].step(.receive(message)) }
        }
    }
}

func measureThroughput(_ options: Options) throws(CheckError) {
    let total = try options.number("--entries", 2_000_000)
    for (batch, depth) in [(1, 1), (1, 64), (16, 1), (64, 1), (256, 1)] {
        var trio = Trio()
        trio.members[0].step(.campaign)
        trio.settle()
        let entries = Array(repeating: ProposedEntry(kind: .data, byteCount: 100), count: batch)
        let start = monotonicSeconds()
        var done = 0
        var turns = 0
        while done < total {
            for _ in 0..<depth {
                do throws(ProposalDropped) {
                    try trio.members[0].propose(entries)
                } catch {
                    throw CheckError("a proposal was dropped: \(error)")
                }
                done += batch
            }
            trio.settle()
            turns += 1
            if turns % 64 == 0 { for position in trio.members.indices { trio.members[position].compact() } }
        }
        let seconds = monotonicSeconds() - start
        let committed = trio.members[0].core.commitIndex
        guard committed > UInt64(done) else { throw CheckError("only \(committed) of \(done) entries were committed") }
        print("batch \(batch), \(depth) proposals a turn: \(Int(Double(done) / seconds)) committed entries/s")
    }
}
