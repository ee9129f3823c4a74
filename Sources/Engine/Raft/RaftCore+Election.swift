// Elections: timers, PreVote (thesis §9.6), votes, the change of role, CheckQuorum (thesis §6.2), leadership transfer
// (thesis §3.10). A vote must never leave the node before it is durable, and never be cleared within its term.

extension RaftCore {
    mutating func tick<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        if stallTicksLeft > 0 { stallTicksLeft -= 1 }
        if recovery != nil { tickRecovery(&ready) }
        if settings.leaseReads { promiseElapsed = min(promiseElapsed + 1, settings.lossTicks) }
        if isAsleep { return }
        electionElapsed += 1
        if role == .leader {
            tickLeader(reader, &ready)
            return
        }
        expireForwardedReads(&ready)
        if electionElapsed >= electionTimeout { electionTimedOut(reader, &ready) }
    }

    /// Nobody was heard for the whole timeout, which is the loss time at least where a leader is known. A member that
    /// may not campaign forgets that leader then, and so its promise to it: it would refuse those who may for ever.
    private mutating func electionTimedOut<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        electionElapsed = 0
        if mayCampaign && !isPromised {
            campaign(reader, &ready)
        } else if (leader != nil || role != .follower) && !Mutant.isOn(.bystanderKeepsLeader) {
            becomeFollower(term, leader: nil, &ready)
        }
    }

    private mutating func tickLeader<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        heartbeatElapsed += 1
        lease.tick(settings)
        if electionElapsed >= pace.lossTicks {
            electionElapsed = 0
            transferTarget = nil
            if settings.checkQuorum && !checkQuorum() && !Mutant.isOn(.noQuorumCheck) {
                resignUnheard(&ready)
                return
            }
            leaveJointIfDue(reader, &ready)
        }
        if sleepIfIdle(&ready) { return }
        if heartbeatElapsed >= settings.heartbeatTicks { broadcastHeartbeat(&ready) }
    }

    /// True when a majority was heard from since the last check.
    private mutating func checkQuorum() -> Bool {
        let isActive = quorum.result { node in
            guard node != id, let slot = slot(of: node) else { return .granted }
            return progress[slot].recentActive ? .granted : .rejected
        }
        for slot in progress.indices { progress[slot].recentActive = false }
        return isActive == .won
    }

    /// Draws a new timeout: the loss time while a leader is known or none was sought yet, else the shorter retry time.
    /// The retry time doubles with each try, so that slow disks and links (votes slower than the retry) can't starve
    /// it.
    mutating func resetElectionTimer() {
        electionElapsed = 0
        let loss = pace.lossTicks..<pace.lossTicks * 2
        if leader != nil || campaigns == 0 {
            electionTimeout = random.next(in: loss) + settings.priorityDelayTicks
            return
        }
        let scale = 1 << min(campaigns - 1, 3)
        let lower = min(pace.retryTicks.lowerBound * scale, loss.lowerBound)
        let upper = min(pace.retryTicks.upperBound * scale, loss.upperBound)
        electionTimeout = random.next(in: lower..<max(upper, lower + 1))
    }

    mutating func becomeFollower(_ newTerm: Term, leader newLeader: NodeID?, _ ready: inout Ready) {
        precondition(newTerm >= term, "terms never fall")
        dropReads(&ready)
        if newTerm > term || Mutant.isOn(.voteClearedInTerm) {
            term = newTerm
            vote = nil
            emitHardState(&ready)
        }
        role = .follower
        leader = newLeader
        isAsleep = false
        lease = Lease()
        heldOrder = nil
        recovery?.forgetLeader()
        if newLeader != nil { campaigns = 0 }
        transferTarget = nil
        uncommitted.removeAll()
        resetElectionTimer()
    }

    /// Starts an election, with a PreVote round where that is on.
    mutating func campaign<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        guard role != .leader, mayCampaign, !isPromised else { return }
        if settings.preVote && !quorum.isSole(id) {
            startPreVote(&ready)
        } else {
            startElection(force: false, &ready)
        }
    }

    private mutating func startPreVote(_ ready: inout Ready) {
        startCandidacy(.preCandidate, &ready)
        setAnswer(of: id, .granted)
        requestVotes(.preVote, term: term + 1, force: false, into: &ready.messages)
    }

    private mutating func startElection(force: Bool, _ ready: inout Ready) {
        startCandidacy(.candidate, &ready)
        term += 1
        vote = id
        emitHardState(&ready)
        // The requests wait for the disk: they promise a log and a vote. An answer that outlives a crash must never
        // elect a restarted node whose log is shorter than the one it asked with. Its own vote counts at
        // `hardStateDurable`.
        if Mutant.isOn(.voteRequestBeforeDurable) {
            requestVotes(.vote, term: term, force: force, into: &ready.messages)
        }
        requestVotes(.vote, term: term, force: force, into: &ready.afterDurable)
    }

    private mutating func startCandidacy(_ newRole: Role, _ ready: inout Ready) {
        dropReads(&ready)
        heldOrder = nil
        // PreVote and the election after it are one try.
        if role != .preCandidate || newRole == .preCandidate { campaigns += 1 }
        role = newRole
        if newRole != .preCandidate || !Mutant.isOn(.preCandidateKeepsLeader) { leader = nil }
        for slot in progress.indices { progress[slot].answer = .none }
        resetElectionTimer()
    }

    private func requestVotes(_ kind: Message.Kind, term: Term, force: Bool, into messages: inout [Message]) {
        for member in progress where member.isVoter && member.id != id {
            var request = Message(kind, from: id, to: member.id, term: term)
            request.index = lastIndex
            request.logTerm = lastTerm
            request.commit = commitIndex
            request.context = log.term(at: commitIndex) ?? 0
            request.force = force
            messages.append(request)
        }
    }

    /// Votes for whoever asks first in a term and has a log at least as complete (paper §5.2, §5.4.1). A learner votes
    /// too: it may have been promoted without knowing it yet (etcd #10998).
    mutating func answerVote(_ request: Message, _ ready: inout Ready) {
        let isPre = request.kind == .preVote
        let isFree = vote == request.from || (vote == nil && leader == nil) || (isPre && request.term > term)
        // It may have acknowledged what it has no more.
        let isWhole = !isRecovering || Mutant.isOn(.recoveringVotes)
        // The term may have moved past the leader that the promise was given to.
        let isPromisedAway = isPromised && !request.force
        let isUpToDate =
            request.logTerm > lastTerm || (request.logTerm == lastTerm && request.index >= lastIndex)
        let isGranted = isFree && isUpToDate && isWhole && !isPromisedAway
        var answer =
            isGranted ? message(isPre ? .preVoteResponse : .voteResponse, to: request.from) : refusal(of: request)
        if isPre {
            if isGranted { answer.term = request.term }
            ready.messages.append(answer)
            return
        }
        if !isUpToDate && !isPromisedAway { outrun(request.from) }
        if isGranted {
            // Of the leader that it elected earlier it hears by other messages.
            if leader == nil { electionElapsed = 0 }
            if vote != request.from {
                vote = request.from
                emitHardState(&ready)
            }
        }
        if Mutant.isOn(.voteBeforeDurable) { ready.messages.append(answer) } else { ready.afterDurable.append(answer) }
    }

    /// Tells the newest known commit: the candidate may act by members that are history.
    func refusal(of request: Message) -> Message {
        var answer = message(request.kind == .preVote ? .preVoteResponse : .voteResponse, to: request.from)
        answer.reject = true
        if Mutant.isOn(.refusalHidesCommit) { return answer }
        answer.commit = commitIndex
        answer.logTerm = log.term(at: commitIndex) ?? 0
        return answer
    }

    /// Whoever asked can't win against this longer log, and nobody leads or has this node's vote: it tries soon in that
    /// one's place. Otherwise all would wait for a whole loss time after a leader handed over to one that was not the
    /// most complete.
    private mutating func outrun(_ candidate: NodeID) {
        guard role == .follower, leader == nil, vote == nil, quorum.contains(candidate), !isRecovering else { return }
        electionTimeout = min(electionTimeout, electionElapsed + 1 + random.next(in: settings.forgetTicks))
    }

    mutating func receiveVote<Log: LogReader>(
        _ message: Message, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        let isPre = message.kind == .preVoteResponse
        if message.reject && learnCommit(message.commit, message.logTerm, &ready) { return }
        guard role == (isPre ? .preCandidate : .candidate) else { return }
        if isPre && !message.reject && message.term != term + 1 { return }
        setAnswer(of: message.from, message.reject ? .rejected : .granted)
        countVotes(reader, &ready)
    }

    /// Requests for votes and refusals tell what the sender knows to be committed (tikv/raft-rs,
    /// `maybe_commit_by_vote`): that holds in every term. Without it a group can be stuck for good, with one member
    /// that may not campaign because it acts by members that are history, and refuses all others because its log is
    /// longer: a leader that removed itself and is gone, whose followers don't know that the change is committed and
    /// need its vote; a newcomer that restarted and does not know that it was promoted. True when a candidacy ended: it
    /// was under such a configuration.
    mutating func learnCommit(_ index: LogIndex, _ entryTerm: Term, _ ready: inout Ready) -> Bool {
        guard role != .leader, index > commitIndex, log.term(at: index) == entryTerm else { return false }
        advanceCommit(to: index, &ready)
        guard hasUnappliedChange, role != .follower else { return false }
        becomeFollower(term, leader: nil, &ready)
        return true
    }

    private mutating func setAnswer(of node: NodeID, _ answer: VoteAnswer) {
        guard let slot = slot(of: node), progress[slot].answer == .none else { return }
        progress[slot].answer = answer
    }

    private mutating func countVotes<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        let result = quorum.result { node in
            guard let slot = slot(of: node) else { return .none }
            return progress[slot].answer
        }
        switch result {
        case .pending: break
        case .lost: becomeFollower(term, leader: nil, &ready)
        case .won where role == .preCandidate: startElection(force: false, &ready)
        case .won: becomeLeader(reader, &ready)
        }
    }

    /// The node's own vote counts once it is on disk: "quorum = self" must not skip the fsync (etcd #14370).
    mutating func hardStateDurable<Log: LogReader>(
        _ state: HardState, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        if state.term < durableHardState.term { return }
        durableHardState = state
        noteDurableCommit(state.commit, &ready)
        guard role == .candidate, state.term == term, state.vote == vote else { return }
        setAnswer(of: id, .granted)
        countVotes(reader, &ready)
    }

    private mutating func becomeLeader<Log: LogReader>(_ reader: borrowing Log, _ ready: inout Ready) {
        role = .leader
        leader = id
        campaigns = 0
        electionElapsed = 0
        heartbeatElapsed = 0
        transferTarget = nil
        uncommitted.removeAll()
        reads = PendingReads()
        lease = Lease()
        idleTicks = 0
        leadershipStart = lastIndex + 1
        // Thesis §4.1, Ongaro 2015: no change before an entry of the own term is committed (and here, applied).
        configurationBarrier = leadershipStart
        for slot in progress.indices {
            progress[slot].reset(next: leadershipStart)
            if progress[slot].id == id { progress[slot].match = durableIndex }
        }
        ready.entries.append(EntryHeader(index: leadershipStart, term: term, kind: .noop, byteCount: 0))
        log.append(term: term, count: 1)
        broadcastAppend(reader, &ready)
    }

    /// The link to the leader broke. Others still refuse to help while they hear it, so a false alarm is harmless.
    mutating func forgetLeader(_ ready: inout Ready) {
        guard role == .follower, leader != nil else { return }
        becomeFollower(term, leader: nil, &ready)
        electionTimeout = 1 + random.next(in: settings.forgetTicks)
    }

    /// A leader whose disk is stuck must go (hashicorp/raft #666, etcd #13527), and helps its best follower to take
    /// over. A sole voter stays: nobody else could lead.
    mutating func storageStalled(_ ready: inout Ready) {
        if quorum.isSole(id) || Mutant.isOn(.stalledLeaderStays) { return }
        stallTicksLeft = settings.stallTicks
        resign(&ready)
    }

    /// Gives up whatever was sought or held. A leader asks its best follower to take over.
    mutating func resign(_ ready: inout Ready) {
        if role == .leader, let successor = mostCompletePeer, progress[successor].match >= commitIndex {
            // No condition on its log: this leadership ends here, so that the order can't become stale.
            ready.messages.append(message(.timeoutNow, to: progress[successor].id))
        }
        if role != .follower { becomeFollower(term, leader: nil, &ready) }
    }

    /// A leader that hears no majority goes. It may be deaf and not mute (a link that is cut one way): then the others
    /// would wait for as long again before they missed it, so it asks the most complete of them to take over at once.
    private mutating func resignUnheard(_ ready: inout Ready) {
        let others = progress.indices.filter {
            progress[$0].isVoter && progress[$0].id != id && !progress[$0].isRecovering
        }
        if let slot = others.max(by: { progress[$0].match < progress[$1].match }) {
            ready.messages.append(message(.timeoutNow, to: progress[slot].id))
        }
        becomeFollower(term, leader: nil, &ready)
    }

    /// Who should lead when this leader goes: the most complete voter that is alive, or, when nothing is heard because
    /// nothing happens, one that has everything. Nil when there is nobody.
    public func successor(where isWelcome: (NodeID) -> Bool = { _ in true }) -> NodeID? {
        guard role == .leader else { return nil }
        let candidates = progress.filter { $0.isVoter && $0.id != id && !$0.isRecovering && isWelcome($0.id) }
        return candidates.filter(\.recentActive).max { $0.match < $1.match }?.id
            ?? candidates.first { $0.match == lastIndex }?.id
    }

    /// The slot of the voter, other than this node, that is alive and matches furthest.
    private var mostCompletePeer: Int? {
        var best: Int?
        for slot in progress.indices where progress[slot].isVoter && progress[slot].id != id {
            guard progress[slot].recentActive, !progress[slot].isRecovering else { continue }
            if let known = best, progress[known].match >= progress[slot].match { continue }
            best = slot
        }
        return best
    }

    mutating func transferLeadership<Log: LogReader>(
        to target: NodeID, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        guard role == .leader else { return }
        if target == id {
            // The host changed its mind. An order that has left may still be obeyed.
            transferTarget = nil
            leaveJointIfDue(reader, &ready)
            return
        }
        guard target != transferTarget, quorum.contains(target), let slot = slot(of: target),
            !progress[slot].isRecovering
        else { return }
        transferTarget = target
        electionElapsed = 0
        if progress[slot].match < lastIndex { replicate(to: slot, reader, &ready) }
        if progress[slot].match == lastIndex || isNearlyThere(slot) { sendTimeoutNow(to: slot, &ready) }
    }

    /// With all entries on their way, and few, the order follows at once: one sync makes them and the target's vote
    /// durable. A target that gets the order first ignores it, and its acknowledgement brings the next one. Behind many
    /// entries the order would be so late that this leader has given the transfer up.
    private func isNearlyThere(_ slot: Int) -> Bool {
        let member = progress[slot]
        return member.state == .replicate && member.next > lastIndex && member.window.bytes <= settings.appendBytesMax
    }

    mutating func sendTimeoutNow(to slot: Int, _ ready: inout Ready) {
        var order = message(.timeoutNow, to: progress[slot].id)
        order.index = lastIndex
        order.logTerm = lastTerm
        lease.voidThrough = order.index
        ready.messages.append(order)
    }

    /// Campaigns at once, without PreVote. An order that names another log end is from a transfer that was given up
    /// since (raft-rs #234): while a transfer runs, nothing is appended. One that comes before a committed change was
    /// applied waits for that: a leader that removes itself sends both together.
    mutating func receiveTimeoutNow<Log: LogReader>(
        _ message: Message, _ reader: borrowing Log, _ ready: inout Ready
    ) {
        guard role != .leader else { return }
        guard mayCampaign else {
            if hasUnappliedChange && !Mutant.isOn(.earlyOrderIsLost) { heldOrder = message }
            return
        }
        let isUnconditional = message.index == 0 || Mutant.isOn(.staleTimeoutNow)
        guard isUnconditional || (message.index == lastIndex && message.logTerm == lastTerm) else { return }
        startElection(force: true, &ready)
    }
}
