// A cluster for tests of single rules: cores with ids 1...n, their logs in memory, messages delivered in order when the
// test says so. Storage finishes at `completeStorage`, and with it `afterDurable` leaves.

@testable import Raft

/// What one node's host holds.
struct TestDisk: LogReader {
    /// Headers as the host sees them, contiguous; what the storage has been asked to keep.
    var log: [EntryHeader] = []
    var hardState = HardState()
    /// Indexes up to here are "on disk only".
    var pendingThrough: LogIndex = 0

    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead {
        guard let first = log.first?.index, from >= first else { return .compacted }
        if from <= pendingThrough { return .pending }
        var found: [EntryHeader] = []
        var bytes = 0
        for entry in log where entry.index >= from && entry.index <= through {
            bytes += Int(entry.byteCount)
            if !found.isEmpty && bytes > maxBytes { break }
            found.append(entry)
        }
        return .entries(found)
    }
}

struct Cluster {
    var cores: [RaftCore]
    var readies: [Ready]
    var disks: [TestDisk]
    var network: [Message] = []
    /// Links on which messages vanish.
    var isCut: (NodeID, NodeID) -> Bool = { _, _ in false }

    init(size: Int, learners: Int = 0, seed: UInt64, settings: RaftCore.Settings = RaftCore.Settings()) {
        let voters = (1...size).map { NodeID(UInt64($0)) }
        let learnerIDs = (0..<learners).map { NodeID(UInt64(size + 1 + $0)) }
        cores = (voters + learnerIDs).map { id in
            RaftCore(
                id: id, voters: voters, learners: learnerIDs, restored: RaftCore.Restored(), settings: settings,
                seed: seed &+ id.rawValue)
        }
        readies = cores.map { _ in Ready() }
        disks = cores.map { _ in TestDisk() }
    }

    subscript(node: Int) -> RaftCore {
        get { cores[node - 1] }
        set { cores[node - 1] = newValue }
    }

    /// One input; messages that may leave at once are put on the network.
    mutating func step(_ node: Int, _ input: Input) {
        cores[node - 1].step(input, log: disks[node - 1], into: &readies[node - 1])
        flush(node)
    }

    @discardableResult
    mutating func propose(_ node: Int, count: Int = 1, bytes: UInt32 = 10) throws(ProposalDropped) -> LogIndex {
        let entries = Array(repeating: ProposedEntry(kind: .data, byteCount: bytes), count: count)
        let index = try cores[node - 1].propose(entries, log: disks[node - 1], into: &readies[node - 1])
        flush(node)
        return index
    }

    mutating func flush(_ node: Int) {
        network += readies[node - 1].messages
        readies[node - 1].messages.removeAll()
    }

    /// Drains the node's `Ready` and finishes its storage work at once.
    mutating func completeStorage(_ node: Int) {
        let ready = readies[node - 1]
        readies[node - 1].removeAll()
        if let snapshot = ready.snapshot {
            disks[node - 1].log = []
            step(node, .appendDurable(index: snapshot.index, term: snapshot.term))
        }
        if let cut = ready.truncateFrom { disks[node - 1].log.removeAll { $0.index >= cut } }
        disks[node - 1].log += ready.entries
        network += ready.afterDurable
        if let state = ready.hardState {
            disks[node - 1].hardState = state
            step(node, .hardStateDurable(state))
        }
        if let last = ready.entries.last { step(node, .appendDurable(index: last.index, term: last.term)) }
    }

    /// Delivers what is on the network now, in order. Returns the messages, cut ones too.
    @discardableResult
    mutating func deliver() -> [Message] {
        let messages = network
        network.removeAll()
        for message in messages where !isCut(message.from, message.to) {
            step(Int(message.to.rawValue), .receive(message))
        }
        return messages
    }

    /// Delivers and stores until nothing is left to do.
    mutating func settle(rounds: Int = 100) {
        for _ in 0..<rounds {
            for node in 1...cores.count { completeStorage(node) }
            if network.isEmpty { return }
            deliver()
        }
        preconditionFailure("the cluster does not settle")
    }

    mutating func tick(_ count: Int = 1) {
        for _ in 0..<count {
            for node in 1...cores.count { step(node, .tick) }
            settle()
        }
    }

    mutating func elect(_ node: Int) {
        step(node, .campaign)
        settle()
        precondition(self[node].role == .leader, "the node must win")
    }
}
