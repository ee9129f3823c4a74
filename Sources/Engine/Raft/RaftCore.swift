// The Raft core: one member of one group as a value. It turns inputs (ticks, messages, storage completions, proposals)
// into outputs (`Ready`) with the semantics of etcd-io/raft 3.x: PreVote, CheckQuorum, pipelined replication,
// ReadIndex, leadership transfer and asynchronous storage writes. It must never read a clock, do I/O, draw system
// randomness, iterate a hashed collection or hold an entry's bytes; the same value run in the simulator is the one that
// ships.
//
// What the host has to keep:
// 1. One `Ready` per group travels through every call and collects work until the host drains it (`removeAll`).
//    Entries still in `ready.entries` are read from there. Everything else, up to `lastIndex`, must be answerable by
//    the `LogReader` at the next call: the host indexes the headers of `ready.entries` in the same turn in which it
//    drains.
// 2. Storage is FIFO. Snapshot, truncation, entries and hard state are made durable in drain order; the `afterDurable`
//    messages of a drain leave, in order, only when all storage work of that drain *and of every earlier one* is
//    durable, even if that drain itself had none.
// 3. The content of a change of the members reaches the core when it is applied (`configurationApplied`), before
//    `applied` names it or anything after it. The host stores `Ready.configuration` with what it applies.
// 4. A finished round of storage is reported as `hardStateDurable` (newest), then `appendDurable` (newest position
//    handed over, the snapshot's if no entry followed it). Rounds may be merged, never reported out of order.

/// One member of one Raft group.
public struct RaftCore: Hashable, Sendable {
    /// Tuning; ticks are 10 ms by convention.
    public struct Settings: Hashable, Sendable {
        /// A follower that hears no leader for a time drawn from `[lossTicks, 2 * lossTicks)` starts an election; a
        /// leader that hears no quorum for this long steps down; votes are refused for this long after hearing a
        /// leader.
        public var lossTicks = 15
        /// Delay before the next try after a lost or split election; doubles with each further try, up to the loss
        /// time.
        public var retryTicks = 3..<8
        /// Delay before the election that ``Input/forgetLeader`` starts, in addition to the next tick.
        public var forgetTicks = 0..<4
        public var heartbeatTicks = 5
        /// How long a member does not campaign after ``Input/storageStalled``.
        public var stallTicks = 100
        /// Bytes of entries in one append message (at least one entry is sent whatever its size).
        public var appendBytesMax = 1 << 20
        public var inflightMessagesMax = 256
        public var inflightBytesMax = 8 << 20
        /// Bytes of proposals that are not committed yet; each entry counts ``entryOverheadBytes`` more.
        public var uncommittedBytesMax = 256 << 20
        /// Reads that wait for confirmation; more are dropped at once.
        public var readsPendingMax = 4096
        /// Ticks after which a read that was forwarded to the leader without an answer is dropped.
        public var readForwardTicks = 15
        public var preVote = true
        public var checkQuorum = true
        /// Lease reads are allowed: members then keep the promise of ``RaftCore/isPromised``, also after a start and
        /// when the link to the leader breaks, which makes failover slower. Equal on all members; needs `checkQuorum`.
        public var leaseReads = false
        /// Ticks that this member waits in addition before its first try of an election: 0 for the preferred leader.
        public var priorityDelayTicks = 0
        /// A group whose members are all equal sleeps after this many idle ticks, without heartbeats or timers; 0 for
        /// never. The host wakes it with ``Input/forgetLeader`` when the leader's node is gone. Equal on all members.
        public var quiesceTicks = 0
        public init() {}
    }

    /// Times that follow the network: never shorter than in ``Settings``, which stay the measure of leases and
    /// promises. Members may differ in them.
    public struct Pace: Hashable, Sendable {
        /// As ``Settings/lossTicks``, for elections and for the check of the quorum.
        public var lossTicks: Int
        /// As ``Settings/retryTicks``.
        public var retryTicks: Range<Int>

        /// The times of the settings.
        public init(_ settings: Settings) {
            lossTicks = settings.lossTicks
            retryTicks = settings.retryTicks
        }

        /// The times of the settings, longer where messages need it: a candidacy lasts as long as an answer may take,
        /// and the loss time twice as long, in which both rounds of an election fit.
        /// - Parameters:
        ///   - answerTicks: within which an answer comes, its jitter included.
        ///   - lossTicksMax: bounds the loss time from above.
        public init(_ settings: Settings, answerTicks: Int, lossTicksMax: Int) {
            self.init(settings)
            let answer = min(max(0, answerTicks), max(0, lossTicksMax / 2))
            lossTicks = max(lossTicks, 2 * answer)
            if answer > retryTicks.lowerBound {
                retryTicks = answer..<answer + max(retryTicks.count, answer)
            }
        }
    }

    /// What the host found on disk.
    public struct Restored: Hashable, Sendable {
        /// As it is on disk.
        public var hardState: HardState
        /// The log holds less than it once did, as a state file, a list of members or a store shows. The core then has
        /// ``HardState/isRecovering`` written before the log grows; say it at every start until it is on disk.
        public var isDamaged = false
        /// What precedes the log.
        public var snapshot: SnapshotPoint
        public var lastIndex: LogIndex
        /// The runs of terms of the log, ascending.
        public var termStarts: [TermStart]
        /// A lower bound of the commit index, beside ``HardState/commit``. It must have been made durable after the
        /// entries that it covers: a newer one could name an old entry that was still to be cut when the node crashed.
        public var commit: LogIndex
        /// Applied by the state machine; what a state machine makes durable must be in the durable log too.
        public var applied: LogIndex
        /// Entries of kind ``EntryKind/configuration`` above `applied`, ascending. Without them the core could campaign
        /// under a configuration that is already history.
        public var configurationEntries: [LogIndex] = []

        public init(
            hardState: HardState = HardState(), snapshot: SnapshotPoint = SnapshotPoint(), lastIndex: LogIndex = 0,
            termStarts: [TermStart] = [], commit: LogIndex = 0, applied: LogIndex = 0,
            configurationEntries: [LogIndex] = []
        ) {
            self.hardState = hardState
            self.snapshot = snapshot
            self.lastIndex = lastIndex
            self.termStarts = termStarts
            self.commit = commit
            self.applied = applied
            self.configurationEntries = configurationEntries
        }
    }

    /// Terms and indexes above this in a message are forged or damaged: adding to them must not overflow.
    static let positionMax: UInt64 = 1 << 62

    /// Charged per proposed entry on top of its bytes, so that empty entries are bounded too.
    public static let entryOverheadBytes = 32

    public let id: NodeID
    public let settings: Settings

    // Persistent state (paper figure 2).
    public internal(set) var term: Term
    public internal(set) var vote: NodeID?
    var log: TermRuns

    // Volatile state.
    public internal(set) var role = Role.follower
    public internal(set) var leader: NodeID?
    public internal(set) var commitIndex: LogIndex
    public internal(set) var appliedIndex: LogIndex
    /// Entries up to here are on this node's disk.
    public internal(set) var durableIndex: LogIndex
    /// The newest hard state that is on this node's disk.
    var durableHardState: HardState
    /// The newest commit index that was handed to storage, and the newest that is known to be on disk or proven by it.
    var emittedCommit: LogIndex
    var durableCommit: LogIndex
    /// The term in which the log was last cut or reset; completions of older writes don't count (see `appendDurable`).
    var truncationTerm: Term = 0

    // Members.
    /// As of the last applied change.
    public internal(set) var configuration: Configuration
    var quorum: JointMajority
    /// Every member, ascending by id.
    package internal(set) var progress: [Progress]
    /// Log entries of kind `configuration` that are not applied, ascending.
    package internal(set) var configurationEntries: [LogIndex]

    // Timers, in ticks.
    var electionElapsed = 0
    var electionTimeout = 0
    public private(set) var pace: Pace
    var heartbeatElapsed = 0
    var stallTicksLeft = 0
    /// Campaigns since a leader was last known.
    var campaigns = 0
    /// Ticks since a leader was heard, or since the start (see `isPromised`).
    var promiseElapsed = 0
    /// An order to campaign that came before a committed change of the members was applied.
    var heldOrder: Message?
    public internal(set) var isAsleep = false
    var idleTicks = 0
    var random: SplitMix64

    // The leader's own.
    /// The first entry of this leadership (its no-op).
    var leadershipStart: LogIndex = 0
    public internal(set) var transferTarget: NodeID?
    /// No change is accepted before this entry is applied.
    var configurationBarrier: LogIndex = 0
    var lease = Lease()
    var uncommitted = UncommittedSize()
    var reads = PendingReads()

    /// Nil unless this member's log lost entries and was not filled up since.
    var recovery: Recovery?

    /// A member that starts, as a follower. `seed` decides its timers; give every node and start another one.
    public init(
        id: NodeID, voters: [NodeID], learners: [NodeID] = [], restored: Restored, settings: Settings, seed: UInt64
    ) {
        let configuration = Configuration(voters: voters, learners: learners)
        self.init(id: id, configuration: configuration, restored: restored, settings: settings, seed: seed)
    }

    /// As above, with the configuration as of `restored.applied`. A member that joins starts with the first one of the
    /// group (the one before any change), or with an empty one if a snapshot will bring it.
    public init(id: NodeID, configuration: Configuration, restored: Restored, settings: Settings, seed: UInt64) {
        precondition(restored.commit <= restored.lastIndex, "the commit index lies beyond the log: entries were lost")
        precondition(restored.applied <= restored.lastIndex, "the state machine is ahead of the log: entries were lost")
        self.id = id
        self.settings = settings
        pace = Pace(settings)
        log = TermRuns(base: restored.snapshot, lastIndex: restored.lastIndex, starts: restored.termStarts)
        // A crash may leave entries of a term whose hard state was not written yet. No vote of that term left then.
        let isLogAhead = log.lastTerm > restored.hardState.term
        term = isLogAhead ? log.lastTerm : restored.hardState.term
        vote = isLogAhead ? nil : restored.hardState.vote
        configurationEntries = restored.configurationEntries
        let stored = restored.hardState
        // A commit index beyond the log is the evidence of a loss. Of a log that lost entries it says nothing any more.
        let isDamaged = restored.isDamaged || (stored.commit > restored.lastIndex && !stored.isRecovering)
        let known = isDamaged || stored.isRecovering ? 0 : stored.commit
        let proven = Self.provenCommit(by: configurationEntries)
        commitIndex = max(restored.commit, restored.applied, restored.snapshot.index, proven, known)
        appliedIndex = restored.applied
        durableIndex = restored.lastIndex
        emittedCommit = commitIndex
        durableCommit = commitIndex
        // What the log shows of a term is as durable as a hard state.
        durableHardState = HardState(
            term: term, vote: vote, commit: commitIndex, isRecovering: stored.isRecovering)
        self.configuration = configuration
        let quorum = JointMajority(configuration)
        self.quorum = quorum
        progress = configuration.members.map { Progress(id: $0, isVoter: quorum.contains($0)) }
        random = SplitMix64(seed: seed)
        if isDamaged || stored.isRecovering { recovery = Recovery(drawnFrom: &random) }
        resetElectionTimer()
    }

    public var lastIndex: LogIndex { log.lastIndex }
    public var lastTerm: Term { log.lastTerm }
    /// The entry before the log's first one.
    public var snapshot: SnapshotPoint { log.base }
    public var voters: [NodeID] { configuration.voters }
    public var hardState: HardState {
        HardState(term: term, vote: vote, commit: min(commitIndex, durableIndex), isRecovering: isRecovering)
    }
    public var softState: SoftState { SoftState(role: role, leader: leader) }
    public var isVoter: Bool { quorum.contains(id) }
    /// It may become leader: a voter, whose disk works and whose configuration is the newest committed one.
    var mayCampaign: Bool {
        guard isVoter || Mutant.isOn(.learnerCampaigns), stallTicksLeft == 0, !isRecovering else { return false }
        return !hasUnappliedChange || Mutant.isOn(.campaignBeforeApply)
    }
    /// A leader that has committed an entry of its own term knows every earlier commit (paper §8).
    public var hasCommittedInTerm: Bool { role == .leader && commitIndex >= leadershipStart }

    /// The term of the entry at `index`; nil when it is compacted or beyond the end.
    public func term(at index: LogIndex) -> Term? { log.term(at: index) }

    /// How far `member` is known to match, nil unless this node leads and knows it.
    public func matchIndex(of member: NodeID) -> LogIndex? {
        guard role == .leader, let slot = slot(of: member) else { return nil }
        return progress[slot].match
    }

    /// True while this leader has to find out where the log of `member` stands.
    public func isProbing(_ member: NodeID) -> Bool {
        guard role == .leader, let slot = slot(of: member) else { return false }
        return progress[slot].state == .probe
    }

    /// Bytes of entries that this leader sent and that nobody acknowledged yet, summed over the members.
    public var bytesInFlight: Int { progress.reduce(0) { $0 + $1.window.bytes } }

    /// Handles one event and adds what follows from it to `ready`. O(members), plus the entries that are sent.
    public mutating func step<Log: LogReader>(_ input: Input, log reader: borrowing Log, into ready: inout Ready) {
        let before = softState
        if isAsleep { wake(for: input, &ready) }
        switch input {
        case .tick: tick(reader, &ready)
        case .receive(let message): receive(message, reader, &ready)
        case .receiveSnapshot(let message, let configuration):
            receive(message, reader, &ready)
            adoptSnapshot(message, configuration, &ready)
        case .readIndex(let context): readIndex(context: context, from: id, &ready)
        case .leaseRead(let context): leaseRead(context: context, &ready)
        case .paused: voidLease()
        case .configurationApplied(let change): configurationApplied(change, reader, &ready)
        case .appendDurable(let index, let term): appendDurable(index, term, reader, &ready)
        case .hardStateDurable(let state): hardStateDurable(state, reader, &ready)
        case .applied(let index): applied(index, reader, &ready)
        case .entriesAvailable: entriesAvailable(reader, &ready)
        case .campaign: campaign(reader, &ready)
        case .forgetLeader: forgetLeader(&ready)
        case .transferLeadership(let target): transferLeadership(to: target, reader, &ready)
        case .unreachable(let peer): unreachable(peer)
        case .snapshotFinished(let peer, let index): snapshotFinished(peer, index)
        case .storageStalled: storageStalled(&ready)
        }
        if softState != before { ready.softState = softState }
    }

    /// Appends `entries` to the leader's log and sends them. Returns the index of the first; their term is `term`.
    public mutating func propose<Log: LogReader>(
        _ entries: [ProposedEntry], log reader: borrowing Log, into ready: inout Ready
    ) throws(ProposalDropped) -> LogIndex {
        precondition(!entries.isEmpty, "a proposal needs at least one entry")
        guard role == .leader else { throw .notLeader(leader: leader) }
        if transferTarget != nil { throw .transferring }
        var bytes = 0
        for entry in entries {
            precondition(entry.kind != .configuration, "a change of the members is proposed as such")
            bytes += Int(entry.byteCount) + Self.entryOverheadBytes
        }
        if !uncommitted.admits(bytes, max: settings.uncommittedBytesMax) { throw .overloaded }
        if isAsleep { wake(&ready) }
        idleTicks = 0
        let first = lastIndex + 1
        var index = first
        ready.entries.reserveCapacity(ready.entries.count + entries.count)
        for entry in entries {
            ready.entries.append(
                EntryHeader(index: index, term: term, kind: entry.kind, byteCount: entry.byteCount))
            index += 1
        }
        log.append(term: term, count: UInt64(entries.count))
        uncommitted.add(last: lastIndex, bytes: bytes)
        broadcastAppend(reader, &ready)
        return first
    }

    /// The host dropped the log's prefix up to and including `index`, which must be committed.
    public mutating func compact(through index: LogIndex) {
        precondition(index <= commitIndex, "only committed entries may be compacted")
        log.compact(through: index)
        durableIndex = max(durableIndex, log.base.index)
    }

    mutating func applied<Log: LogReader>(_ index: LogIndex, _ reader: borrowing Log, _ ready: inout Ready) {
        precondition(index <= commitIndex, "the state machine applied an entry that is not committed")
        if let change = configurationEntries.first {
            precondition(change > index, "a change of the members is reported before what is applied after it")
        }
        appliedIndex = max(appliedIndex, index)
        leaveJointIfDue(reader, &ready)
    }

    /// Sets everything back that only time moves, for searches through states in which elections come at any moment.
    package mutating func forgetTime() {
        random = SplitMix64(seed: 0)
        electionElapsed = 0
        electionTimeout = settings.lossTicks
        heartbeatElapsed = 0
        campaigns = 0
    }

    /// Takes times that the host has measured. A timeout that runs grows with them; otherwise they count from the next
    /// one.
    public mutating func setPace(_ newPace: Pace) {
        precondition(newPace.lossTicks >= settings.lossTicks, "no time falls below the settings'")
        electionTimeout += max(0, newPace.lossTicks - pace.lossTicks)
        pace = newPace
    }

    func slot(of node: NodeID) -> Int? {
        for slot in progress.indices where progress[slot].id == node { return slot }
        return nil
    }

    func message(_ kind: Message.Kind, to: NodeID) -> Message {
        Message(kind, from: id, to: to, term: term)
    }

    /// Term and vote leave together, always (a vote written without its term was double voting in hashicorp/raft #661).
    mutating func emitHardState(_ ready: inout Ready) {
        let state = hardState
        emittedCommit = max(emittedCommit, state.commit)
        ready.hardState = state
    }
}

/// Bytes that were proposed in this leadership and are not committed yet, by proposal.
struct UncommittedSize: Hashable, Sendable {
    private struct Batch: Hashable, Sendable {
        var last: LogIndex
        var bytes: Int
    }
    private var batches: [Batch] = []
    private(set) var bytes = 0

    /// One proposal is always admitted when nothing waits, whatever its size.
    func admits(_ more: Int, max: Int) -> Bool {
        bytes == 0 || bytes + more <= max || Mutant.isOn(.unboundedProposals)
    }

    mutating func add(last: LogIndex, bytes more: Int) {
        batches.append(Batch(last: last, bytes: more))
        bytes += more
    }

    mutating func release(through index: LogIndex) {
        var count = 0
        while count < batches.count && batches[count].last <= index {
            bytes -= batches[count].bytes
            count += 1
        }
        if count > 0 { batches.removeFirst(count) }
    }

    mutating func removeAll() {
        batches.removeAll()
        bytes = 0
    }
}
