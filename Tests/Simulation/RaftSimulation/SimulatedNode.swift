// One node of the simulation: a core, the host around it, and a disk. The host keeps to the contract of `RaftCore`: it
// stages payloads beside `ready.entries`, indexes them when it drains, and hands storage work to a FIFO that finishes
// when the simulation says so. A crash keeps what was synced and any prefix of the rest; of the commit index only what
// a hard state carried.

import Raft

/// An entry with what stands for its bytes.
struct SimulatedEntry: Hashable {
    var header: EntryHeader
    var payload: UInt64
}

/// A message on the way, with the bytes that a host attaches.
struct SimulatedMessage {
    var message: Message
    var payloads: [UInt64] = []
    /// State machine hash and members of a snapshot.
    var state: UInt64 = 0
    var configuration: Configuration?
    /// Number of a snapshot transfer, whose fate the sender learns; 0 for other messages.
    var transfer: Int = 0
}

/// What survives a crash.
struct SimulatedDisk {
    var hardState = HardState()
    var base = SnapshotPoint()
    var baseState: UInt64 = 0
    var baseConfiguration: Configuration
    var log: [SimulatedEntry] = []
    /// What the log lost, while the member is not whole again.
    var lost = SimulatedLoss()

    var lastIndex: LogIndex { base.index + UInt64(log.count) }

    /// The term of a durable entry; nil when the disk does not have it.
    func term(at index: LogIndex) -> Term? {
        if index == base.index { return base.term }
        if index < base.index || index > lastIndex { return nil }
        return log[Int(index - base.index - 1)].header.term
    }

    func holds(_ index: LogIndex, _ term: Term) -> Bool {
        index < base.index || self.term(at: index) == term
    }

    mutating func cut(from index: LogIndex) {
        if index <= lastIndex { log.removeLast(Int(lastIndex - index + 1)) }
    }

    mutating func compact(to point: SnapshotPoint, state: UInt64, configuration: Configuration) {
        if point.index <= base.index { return }
        log.removeFirst(Swift.min(log.count, Int(point.index - base.index)))
        base = point
        baseState = state
        baseConfiguration = configuration
    }

    var restored: RaftCore.Restored {
        var starts: [TermStart] = []
        for entry in log where entry.header.term != starts.last?.term {
            starts.append(TermStart(index: entry.header.index, term: entry.header.term))
        }
        let changes = log.filter { $0.header.kind == .configuration }.map(\.header.index)
        var restored = RaftCore.Restored(
            hardState: hardState, snapshot: base, lastIndex: lastIndex, termStarts: starts, commit: base.index,
            applied: base.index, configurationEntries: changes)
        restored.isDamaged = lost.isUnmarked
        return restored
    }

    /// Takes the entries after `index` away, and with all of them the snapshot before them.
    mutating func lose(after index: LogIndex, initial: Configuration) {
        for entry in log where entry.header.index > index {
            lost.entries.insert(SnapshotPoint(index: entry.header.index, term: entry.header.term))
        }
        cut(from: Swift.max(index, base.index) + 1)
        if index < base.index {
            lost.base = Swift.max(lost.base, base.index)
            base = SnapshotPoint()
            baseState = 0
            baseConfiguration = initial
        }
        lost.isUnmarked = true
    }

    /// The entry is here, or was before a loss that a leader has not made good yet.
    func held(_ index: LogIndex, _ term: Term) -> Bool {
        if holds(index, term) { return true }
        guard lost.isUnmarked || hardState.isRecovering else { return false }
        return index <= lost.base || lost.entries.contains(SnapshotPoint(index: index, term: term))
    }
}

/// What a disk once had. It counts as a copy until the member votes again: it is one of the few that may be damaged.
struct SimulatedLoss {
    var entries: Set<SnapshotPoint> = []
    var base: LogIndex = 0
    /// The evidence of the loss is there, but not yet the mark in the hard state.
    var isUnmarked = false
}

/// One drained turn of storage work.
struct StorageJob {
    var snapshot: (point: SnapshotPoint, state: UInt64, configuration: Configuration)?
    var truncateFrom: LogIndex?
    var entries: [SimulatedEntry] = []
    var hardState: HardState?
    var compaction: (point: SnapshotPoint, state: UInt64, configuration: Configuration)?
    var afterDurable: [SimulatedMessage] = []
}

/// Answers for the host's index of drained headers.
struct SimulatedReader: LogReader {
    var base: LogIndex
    var entries: ArraySlice<SimulatedEntry>
    var isPending: Bool
    /// Set when the core asks for what the host can't know.
    let misuse: Misuse

    final class Misuse {
        var message: String?
    }

    func entries(from: LogIndex, through: LogIndex, maxBytes: Int) -> LogRead {
        if from <= base { return .compacted }
        guard from <= through, through <= base + UInt64(entries.count) else {
            misuse.message = "asked for \(from)...\(through) of \(base + 1)...\(base + UInt64(entries.count))"
            return .compacted
        }
        if isPending { return .pending }
        var found: [EntryHeader] = []
        var bytes = 0
        for entry in entries[Int(from - base - 1)...Int(through - base - 1)] {
            bytes += Int(entry.header.byteCount)
            if !found.isEmpty && bytes > maxBytes { break }
            found.append(entry.header)
        }
        return .entries(found)
    }
}

struct SimulatedNode {
    let id: NodeID
    /// Nil while the node is down.
    var core: RaftCore?
    var ready = Ready()
    var disk: SimulatedDisk
    var settings: RaftCore.Settings

    // The host's memory; void after a crash.
    var base = SnapshotPoint()
    var baseState: UInt64 = 0
    /// Drained entries after `base`.
    var log: [SimulatedEntry] = []
    /// Payloads of `ready.entries`.
    var staged: [SimulatedEntry] = []
    /// The state that came with the snapshot in `ready.snapshot`.
    var stagedState: UInt64 = 0
    var stagedConfiguration: Configuration
    var baseConfiguration: Configuration
    /// As of `applied`.
    var configuration: Configuration
    var jobs: [StorageJob] = []
    var completions: [Input] = []
    var applied: LogIndex = 0
    /// What the core gave to apply.
    var applicable: LogIndex = 0
    var state: UInt64 = 0
    var incarnation = 0
    var recoveries = 0
    var isPaused = false
    /// Taken out of service for good: the group removed it.
    var isRetired = false
    /// Time of the next tick and time between ticks, where the simulation has a clock.
    var nextTick = 0
    var tickPeriod = 10

    init(id: NodeID, configuration: Configuration, settings: RaftCore.Settings) {
        self.id = id
        self.settings = settings
        self.configuration = configuration
        baseConfiguration = configuration
        stagedConfiguration = configuration
        disk = SimulatedDisk(baseConfiguration: configuration)
    }

    /// It may have acknowledged what its disk has no more.
    var isDamaged: Bool { disk.hardState.isRecovering || disk.lost.isUnmarked }

    mutating func step(_ input: Input, _ reader: SimulatedReader) {
        core?.step(input, log: reader, into: &ready)
    }

    mutating func propose(_ entries: [ProposedEntry], _ reader: SimulatedReader) throws(ProposalDropped) {
        _ = try core?.propose(entries, log: reader, into: &ready)
    }

    mutating func propose(_ change: ConfigurationChange, _ reader: SimulatedReader) throws(ConfigurationRefused) {
        _ = try core?.propose(change, byteCount: change.isLeave ? 0 : 8, log: reader, into: &ready)
    }

    var hasOutput: Bool {
        ready.needsStorage || ready.commit != nil || !ready.messages.isEmpty || !ready.afterDurable.isEmpty
            || !ready.reads.isEmpty || !ready.droppedReads.isEmpty || !ready.snapshotsNeeded.isEmpty
    }

    /// The entry at `index` as the host knows it, drained or not.
    func entry(at index: LogIndex) -> SimulatedEntry? {
        if let first = staged.first?.header.index, index >= first {
            let position = Int(index - first)
            return position < staged.count ? staged[position] : nil
        }
        guard index > base.index, index <= base.index + UInt64(log.count) else { return nil }
        return log[Int(index - base.index - 1)]
    }

    /// Writes a job to the disk. With `torn`, only a part: some first entries, and the hard state or not.
    mutating func write(_ job: StorageJob, tornAfter kept: Int? = nil, keepsHardState: Bool = true) {
        if let snapshot = job.snapshot {
            disk.log = []
            disk.base = snapshot.point
            disk.baseState = snapshot.state
            disk.baseConfiguration = snapshot.configuration
        }
        if let cut = job.truncateFrom { disk.cut(from: cut) }
        disk.log += job.entries.prefix(kept ?? job.entries.count)
        if let hardState = job.hardState, keepsHardState { write(hardState) }
        if kept != nil { return }
        if let compaction = job.compaction {
            disk.compact(
                to: compaction.point, state: compaction.state, configuration: compaction.configuration)
        }
    }

    private mutating func write(_ hardState: HardState) {
        if hardState.isRecovering { disk.lost.isUnmarked = false }
        if disk.hardState.isRecovering && !hardState.isRecovering {
            disk.lost = SimulatedLoss()
            recoveries += 1
        }
        disk.hardState = hardState
    }

    /// What the host reports once `job` is durable.
    static func completions(of job: StorageJob) -> [Input] {
        var inputs: [Input] = []
        if let hardState = job.hardState { inputs.append(.hardStateDurable(hardState)) }
        if let last = job.entries.last?.header {
            inputs.append(.appendDurable(index: last.index, term: last.term))
        } else if let point = job.snapshot?.point {
            inputs.append(.appendDurable(index: point.index, term: point.term))
        }
        return inputs
    }
}
