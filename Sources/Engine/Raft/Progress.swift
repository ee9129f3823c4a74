// What the leader knows about one member: how far it matches, what was sent and not yet answered, and whether it may be
// sent more now. The three states are those of etcd-io/raft: probe (find where the logs agree, one message at a time),
// replicate (pipelined), snapshot (wait until a snapshot arrived). It must never let `next` fall to `match` or below,
// and never send the same entries again because of an answer that was late: a probe brings few bytes, is sent again
// once for each round of heartbeats, and rejections of an earlier attempt are known by its number.

/// Appends sent and not yet acknowledged, oldest first, bounded by messages and bytes.
package struct InflightWindow: Hashable, Sendable {
    package struct Sent: Hashable, Sendable {
        package var last: LogIndex
        fileprivate(set) var bytes: Int
    }
    package private(set) var sent: [Sent] = []
    private(set) var bytes = 0

    mutating func add(last: LogIndex, bytes count: Int) {
        sent.append(Sent(last: last, bytes: count))
        bytes += count
    }

    /// Bytes of the newest append, which ends at `last`; everything when it is another one.
    func newestBytes(endingAt last: LogIndex) -> Int {
        guard let newest = sent.last, newest.last == last else { return Int.max }
        return newest.bytes
    }

    /// The newest append was not drained yet and grew.
    mutating func extendNewest(last: LogIndex, bytes more: Int) {
        sent[sent.count - 1].last = last
        sent[sent.count - 1].bytes += more
        bytes += more
    }

    /// Forgets everything up to `index`: acknowledgements are cumulative.
    mutating func free(through index: LogIndex) {
        var count = 0
        while count < sent.count && sent[count].last <= index {
            bytes -= sent[count].bytes
            count += 1
        }
        if count > 0 { sent.removeFirst(count) }
    }

    mutating func removeAll() {
        sent.removeAll(keepingCapacity: true)
        bytes = 0
    }

    func isFull(messagesMax: Int, bytesMax: Int) -> Bool {
        sent.count >= messagesMax || bytes >= bytesMax
    }
}

/// One member as the leader sees it; the entry for the leader itself has `match` = its durable index.
package struct Progress: Hashable, Sendable {
    package enum State: UInt8, Hashable, Sendable {
        case probe, replicate, snapshot
    }

    package let id: NodeID
    /// In either half of a joint configuration.
    var isVoter: Bool
    /// Known to match and durable there.
    package var match: LogIndex = 0
    /// First entry to send next.
    package var next: LogIndex = 1
    package var state = State.probe
    /// Wait for an answer before sending more: a probe is out, or the window is full.
    var isWaiting = false
    /// An answer to a heartbeat may make this leader send again: a round of them left since one did, or `next` moved.
    var mayResend = true
    /// How often `next` was set back, from 1 in each leadership; its lower bits travel in the appends.
    private var attempt: UInt64 = 1
    /// The log reader is fetching the entries that this member needs.
    var awaitsEntries = false
    /// Heard from since the last quorum check.
    package var recentActive = false
    /// The commit index that the member will know once everything sent has arrived.
    var sentCommit: LogIndex = 0
    /// Newest read round that the member echoed in this term.
    var readAck: UInt64 = 0
    /// Its answer to this node's current (pre-)candidacy.
    var answer = VoteAnswer.none
    package var window = InflightWindow()
    /// Number of the member's newest recovery (``Recovery/number``), 0 for none.
    private(set) var recovery: UInt64 = 0
    /// Where the log ended when the leader heard of that; 0 once the member has it.
    var recoveryTarget: LogIndex = 0

    init(id: NodeID, isVoter: Bool) {
        self.id = id
        self.isVoter = isVoter
    }

    /// It lost entries and may not vote: nobody to hand a leadership to.
    package var isRecovering: Bool { recoveryTarget != 0 }

    /// What an append carries and its answer repeats.
    var context: UInt64 { recovery | attempt & ((1 << Recovery.numberShift) - 1) }

    /// True for an answer to an append before `next` was last set back. Peers of an older version repeat nothing.
    func isLate(_ context: UInt64) -> Bool { context != 0 && context != self.context }

    /// True for an accepted append that shows where the member's log stands now. An answer to what was sent before the
    /// probe tells how far the member is, but not what else the connection still holds, which must not be sent again.
    func isProbeAnswer(_ answer: Message) -> Bool {
        guard state == .probe, !isLate(answer.context) else { return false }
        // Late answers may have moved `match` past the entry that the probe named.
        return answer.index + 1 >= next || answer.context != 0 && match + 1 >= next
    }

    /// True when no append may be sent now.
    var isPaused: Bool { isWaiting || awaitsEntries || state == .snapshot }

    /// Start of a leadership: nothing is known about the member.
    mutating func reset(next: LogIndex) {
        match = 0
        self.next = next
        state = .probe
        isWaiting = false
        awaitsEntries = false
        recentActive = false
        sentCommit = 0
        readAck = 0
        window.removeAll()
        mayResend = true
        attempt = 1
        recovery = 0
        recoveryTarget = 0
    }

    mutating func becomeProbe() {
        become(.probe, next: match + 1)
        attempt += 1
    }

    mutating func becomeReplicate() {
        become(.replicate, next: match + 1)
    }

    mutating func becomeSnapshot() {
        become(.snapshot, next: next)
    }

    /// The member lost entries: what it acknowledged before is void. `target` is the end of the leader's log.
    mutating func beginRecovery(number: UInt64, target: LogIndex, next: LogIndex) {
        recovery = number
        recoveryTarget = target
        match = 0
        attempt += 1
        sentCommit = 0
        if state != .snapshot { become(.probe, next: Swift.max(1, Swift.min(next, target + 1))) }
    }

    /// The member has not heard ``recoveryTarget``: another append will tell it.
    mutating func askAgain() {
        if state != .snapshot { becomeProbe() }
    }

    /// A snapshot up to `index` reached the member; wait for its acknowledgement or the next heartbeat answer.
    mutating func snapshotFinished(index: LogIndex) {
        become(.probe, next: Swift.max(match, index) + 1)
        isWaiting = true
    }

    private mutating func become(_ state: State, next: LogIndex) {
        self.state = state
        self.next = next
        isWaiting = false
        mayResend = true
        awaitsEntries = false
        window.removeAll()
        sentCommit = Swift.min(sentCommit, next - 1)
    }

    /// Notes an acknowledgement; false when it tells nothing new.
    mutating func update(match index: LogIndex, endsWait: Bool) -> Bool {
        if index <= match { return false }
        match = index
        next = Swift.max(next, index + 1)
        if endsWait || state == .replicate { isWaiting = false }
        return true
    }

    /// Notes that `count` entries of `bytes` from `next` on were sent, with what they let the member commit.
    mutating func noteSent(count: Int, bytes: Int, commit: LogIndex, settings: RaftCore.Settings) {
        switch state {
        case .probe:
            isWaiting = true
        case .replicate:
            if count > 0 {
                next += UInt64(count)
                window.add(last: next - 1, bytes: bytes)
            }
            isWaiting = isWindowFull(settings)
        case .snapshot:
            preconditionFailure("nothing is appended to a member that waits for a snapshot")
        }
        sentCommit = Swift.max(sentCommit, commit)
    }

    /// Notes that the newest append grew up to `last`.
    mutating func noteExtended(last: LogIndex, bytes: Int, commit: LogIndex, settings: RaftCore.Settings) {
        next = last + 1
        window.extendNewest(last: last, bytes: bytes)
        isWaiting = isWindowFull(settings)
        sentCommit = Swift.max(sentCommit, commit)
    }

    func isWindowFull(_ settings: RaftCore.Settings) -> Bool {
        window.isFull(messagesMax: settings.inflightMessagesMax, bytesMax: settings.inflightBytesMax)
    }

    /// An empty append would let the member commit more.
    func canBumpCommit(_ commit: LogIndex) -> Bool {
        Swift.min(commit, next - 1) > sentCommit
    }

    /// Handles a rejection of the append after `rejected`; `hint` is the last index where the logs may agree, and
    /// `isExact` says that they do: then the entries behind it follow at once. False when the rejection is stale
    /// (etcd-io/raft `MaybeDecrTo`).
    mutating func decrease(rejected: LogIndex, hint: LogIndex, isExact: Bool = false) -> Bool {
        switch state {
        case .snapshot: return false
        case .replicate: if rejected <= match { return false }
        case .probe: if next != rejected + 1 { return false }
        }
        // A member has what it acknowledged. If this one has not, its answer to a heartbeat says so.
        if hint < match && !Mutant.isOn(.nextFallsToMatch) { return false }
        let lowest = Mutant.isOn(.nextFallsToMatch) ? 1 : match + 1
        become(isExact ? .replicate : .probe, next: Swift.max(Swift.min(rejected, hint + 1), lowest))
        attempt += 1
        return true
    }
}
