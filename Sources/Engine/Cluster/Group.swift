// One Raft group on this node: its core, its log, its state machine, and the requests that wait on them. Lives on the
// host's thread; does no I/O itself. Every step of the core is followed by `absorb`, which turns what the core asked
// for into log work, messages and answers, in the order that the core's contract demands.
import FileIO
import Raft
import SegmentedLog

final class Group {
    let id: GroupID
    let log: SegmentedLog
    let hardStateFile: HardStateFile
    /// Who the members were, and every change of them in the log.
    var history: MembershipHistory
    /// The declaration that the members are known to satisfy.
    var settledVersion: UInt64?
    let machine: any StateMachine
    let durability: WriteDurability
    var core: RaftCore
    var tail = LogTail()
    var catchUp = CatchUpCache()
    let wish = FetchWish()
    var ready = Ready()
    /// Offset of the next record, as the end of `tail` (or of the log) implies it.
    var nextOffset: UInt64

    /// Log work of this turn, not submitted yet.
    var work: StorageWork?
    var workLast: (index: LogIndex, term: Term)?
    var workMessages: [Message] = []
    var workAnswers: [@Sendable () -> Void] = []
    var workInstalled: SnapshotPoint?
    var storageSequence: UInt64 = 0
    var awaiting: [AwaitingStorage] = []

    var proposals: [Proposal] = []
    var pending: [PendingEntry] = []
    var reads: [ReadRequest] = []
    /// Reads whose confirmation was lost; they go back in line with the next tick.
    var retryingReads: [ReadRequest] = []
    var nextReadContext: UInt64
    var confirming: [(context: UInt64, requests: [ReadRequest])] = []
    var confirmed: [(index: LogIndex, requests: [ReadRequest])] = []

    /// When the leader last sent anything after which this node was as far as the leader, on the host's clock.
    var leaderHeardAt: UInt64 = 0
    /// What the leader had committed when it was last heard, until this node has applied it.
    var heard: (commit: LogIndex, at: UInt64)?
    /// The leader has committed more than this node's log holds, as far as known.
    var isBehind = true
    /// Proposals wait until then, because the store is behind.
    var heldUntil: UInt64 = 0
    /// Proposals wait until then for those before them; 0 when they don't.
    var gatherUntil: UInt64 = 0

    var applied: LogIndex
    var commit: LogIndex
    var applyFetchOutstanding = false
    var replicationFetchOutstanding = false
    /// Entries fetched for apply, when they are not in `tail`.
    var applyBuffer = FrameBatch()
    var softStateChanged = true
    /// Who waits for the moment at which an entry is the newest applied one.
    var moments: [AppliedMoment] = []
    /// Who decides which groups a turn looks at; see ``GroupSchedule`` for the two flags.
    unowned var schedule: GroupSchedule?
    unowned var counters: HostCounters?
    /// Where trouble is reported that no request waits for.
    unowned var diagnostics: Diagnostics?
    /// Why the group can't go on, found where nothing could be thrown.
    var trouble: StateMachineFailure?
    var isDirty = false
    var isAwake = false
    /// Nil for a machine without files of its own.
    var snapshots: GroupSnapshots?
    /// What the host's observer was last told.
    var publishedStatus: GroupStatus?

    /// Entries were stored since the log was sealed, or a crash left it unsealed.
    var isUnsealed = false
    /// When entries became durable last, and when this was last recorded apart from the log; see
    /// ``ClusterHost/sealIdleLogs()``.
    var lastStoredAt: UInt64 = 0
    var sealedAt: UInt64 = 0

    /// What has to happen when a ``StorageWork`` is done.
    struct AwaitingStorage {
        var sequence: UInt64
        var last: (index: LogIndex, term: Term)?
        var hardState: HardState?
        var messages: [Message]
        var answers: [@Sendable () -> Void]
        var installed: SnapshotPoint?
    }

    /// An entry that this node proposed and whose proposers wait.
    struct PendingEntry {
        var index: LogIndex
        var term: Term
        /// Answer offset of each proposal within the entry.
        var proposals: [(offset: UInt64, proposal: Proposal)]
    }

    init(
        id: GroupID, log: SegmentedLog, hardStateFile: HardStateFile, history: MembershipHistory,
        machine: any StateMachine, core: RaftCore, durability: WriteDurability, readContextSeed: UInt64
    ) {
        self.id = id
        self.log = log
        self.hardStateFile = hardStateFile
        self.history = history
        self.machine = machine
        self.core = core
        self.durability = durability
        nextOffset = log.nextOffset
        applied = machine.appliedAtStart
        // More than what is applied where the log itself proves it (`provenCommit`): nobody leads before that is
        // applied.
        commit = core.commitIndex
        nextReadContext = readContextSeed
    }

    func view() -> GroupLogView {
        GroupLogView(tail: tail, catchUp: catchUp, logStart: log.firstIndex, wish: wish)
    }

    /// One input to the core, then everything that follows from it.
    /// - Parameter frames: the frames behind a received append's entries.
    func step(_ input: Input, frames: FrameBatch? = nil, outbox: Outbox) {
        core.step(input, log: view(), into: &ready)
        schedule?.touch(self)
        absorb(frames: frames, outbox: outbox)
    }

    /// Proposes entries and returns the first one's index. The frames are made by `build`, which gets that index.
    func propose(
        _ entries: [ProposedEntry], outbox: Outbox, build: (LogIndex, Term) -> FrameBatch
    ) throws(ProposalDropped) {
        let first = try core.propose(entries, log: view(), into: &ready)
        schedule?.touch(self)
        let frames = build(first, core.term)
        absorb(frames: frames, outbox: outbox)
    }

    /// Turns the core's wishes into work. Order: entries reach `tail` before messages that carry them are encoded, and
    /// messages that reveal durable state wait for the work that makes it durable.
    func absorb(frames: FrameBatch?, outbox: Outbox) {
        if ready.needsStorage { absorbStorage(frames: frames) }
        if !ready.afterDurable.isEmpty { hold(ready.afterDurable, outbox: outbox) }
        for message in ready.messages { outbox.add(message, of: self) }
        if let commit = ready.commit { self.commit = max(self.commit, commit) }
        for read in ready.reads { confirm(read) }
        for context in ready.droppedReads { requeue(context) }
        if let softState = ready.softState { note(softState) }
        let needed = ready.snapshotsNeeded
        ready.removeAll()
        if !needed.isEmpty { needSnapshots(needed, outbox: outbox) }
    }

    private func absorbStorage(frames: FrameBatch?) {
        if let point = ready.snapshot { beginInstall(point) }
        if let from = ready.truncateFrom {
            precondition(from > applied, "an applied entry must never be truncated (group \(id), index \(from))")
            submitWork()
            truncateMemory(from: from)
            startWork()
            work?.truncateFrom = from
        }
        if work == nil { startWork() }
        if let hardState = ready.hardState { work?.hardState = hardState }
        guard let first = ready.entries.first, let last = ready.entries.last else { return }
        var batch: FrameBatch
        if let frames, !frames.isEmpty {
            batch =
                frames.firstIndex == first.index && frames.lastIndex == last.index
                ? frames : frames.slice(from: first.index, through: last.index)
        } else {
            batch = FrameBatch()
            for entry in ready.entries {
                precondition(
                    entry.kind == .noop || entry.kind == .configuration,
                    "only a no-op, and the change that leaves a joint configuration, may come without its frame")
                batch.append(
                    kind: entry.kind == .noop ? .noop : .membership, index: entry.index, term: entry.term,
                    baseOffset: nextOffset, recordCount: 0,
                    payload: [])
            }
        }
        tail.append(batch)
        if let header = batch.headers.last { nextOffset = header.baseOffset + UInt64(header.recordCount) }
        work?.frames.append(batch)
        workLast = (last.index, last.term)
    }

    private func truncateMemory(from index: LogIndex) {
        if let header = tail.header(at: index) {
            nextOffset = header.baseOffset
        } else {
            // Rare: only entries of before a restart can be void and yet not be in memory.
            do throws(SegmentedLogError) {
                if let header = try log.header(at: index) { nextOffset = header.baseOffset }
            } catch {
                // Without it records would get offsets that others have.
                trouble = StateMachineFailure("\(error)", scope: FailureScope(reading: error))
            }
        }
        tail.truncate(from: index)
        catchUp.truncate(from: index)
        history.truncate(from: index)
    }

    func startWork() {
        work = StorageWork(
            group: id, sequence: 0, log: log, hardStateFile: hardStateFile, durability: durability)
    }

    /// Messages that may leave only when everything handed to storage so far is durable.
    private func hold(_ messages: [Message], outbox: Outbox) {
        if work != nil {
            workMessages.append(contentsOf: messages)
        } else if !awaiting.isEmpty {
            awaiting[awaiting.count - 1].messages.append(contentsOf: messages)
        } else {
            for message in messages { outbox.add(message, of: self) }
        }
    }

    /// Closes this turn's log work; it is in `submitted` until the host takes it.
    func submitWork() {
        guard var work else { return }
        storageSequence += 1
        work.sequence = storageSequence
        awaiting.append(
            AwaitingStorage(
                sequence: storageSequence, last: workLast, hardState: work.hardState, messages: workMessages,
                answers: workAnswers, installed: workInstalled))
        submitted.append(work)
        self.work = nil
        workLast = nil
        workMessages = []
        workAnswers = []
        workInstalled = nil
    }

    /// Closed works that the host has not handed to storage yet.
    var submitted: [StorageWork] = []

    /// A work is durable: tell the core, release what waited.
    /// - Returns: whether entries or a hard state were among it.
    func stored(_ receipt: StorageReceipt, outbox: Outbox) -> Bool {
        var done: [AwaitingStorage] = []
        while let first = awaiting.first, first.sequence <= receipt.sequence {
            done.append(first)
            awaiting.removeFirst()
        }
        for item in done {
            if let hardState = item.hardState { step(.hardStateDurable(hardState), outbox: outbox) }
            if let last = item.last { step(.appendDurable(index: last.index, term: last.term), outbox: outbox) }
            if let point = item.installed { finishInstall(point, outbox: outbox) }
            for message in item.messages { outbox.add(message, of: self) }
            for answer in item.answers { answer() }
        }
        tail.evict(
            through: min(applied, log.durableIndex), keeping: schedule?.tailBytes ?? LogTail.keptBytesMax)
        return done.contains { $0.last != nil || $0.hardState != nil }
    }
}
