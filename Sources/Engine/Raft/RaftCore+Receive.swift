// Messages: the rules about terms that hold for every kind (paper §5.1, thesis §9.6 for PreVote), then the dispatch by
// kind. A message must never be trusted to be well-formed or new: it may be stale, repeated, or from a stranger.

extension RaftCore {
    mutating func receive<Log: LogReader>(_ message: Message, _ reader: borrowing Log, _ ready: inout Ready) {
        guard message.to == id, message.from != id, message.from.rawValue != 0 else { return }
        guard max(message.term, message.index, message.rejectHint) <= Self.positionMax else { return }
        let isRequest = message.kind == .preVote || message.kind == .vote
        if isRequest && !Mutant.isOn(.requestHidesCommit) { _ = learnCommit(message.commit, message.context, &ready) }
        if message.term > term {
            guard acceptNewerTerm(message, &ready) else { return }
        } else if message.term < term {
            answerOlderTerm(message, &ready)
            return
        }
        switch message.kind {
        case .preVote, .vote: answerVote(message, &ready)
        case .preVoteResponse, .voteResponse: receiveVote(message, reader, &ready)
        case .append, .heartbeat, .snapshot: receiveFromLeader(message, &ready)
        case .appendResponse: receiveAppendResponse(message, reader, &ready)
        case .heartbeatResponse: receiveHeartbeatResponse(message, reader, &ready)
        case .timeoutNow: receiveTimeoutNow(message, reader, &ready)
        case .readIndex: receiveReadIndex(message, &ready)
        case .readIndexResponse: receiveReadIndexResponse(message, &ready)
        }
    }

    /// The lease on votes: who heard from a leader within the loss time helps nobody to depose it (thesis §4.2.3).
    var isInLease: Bool {
        isPromised || (settings.checkQuorum && leader != nil && electionElapsed < pace.lossTicks)
    }

    /// Moves to the message's term where the kind calls for it; false when the message is to be ignored.
    private mutating func acceptNewerTerm(_ message: Message, _ ready: inout Ready) -> Bool {
        switch message.kind {
        case .preVote:
            return message.force || !isInLease
        case .vote:
            if isInLease && !message.force { return false }
            becomeFollower(message.term, leader: nil, &ready)
        case .preVoteResponse:
            // A grant carries the term of the candidacy, which nobody has entered yet.
            if message.reject { becomeFollower(message.term, leader: nil, &ready) }
        case .append, .heartbeat, .snapshot:
            becomeFollower(message.term, leader: message.from, &ready)
        case .voteResponse, .appendResponse, .heartbeatResponse, .timeoutNow, .readIndex, .readIndexResponse:
            becomeFollower(message.term, leader: nil, &ready)
        }
        return true
    }

    /// A deposed leader, or a candidate that lags, must learn the term or it would never get on: with PreVote and the
    /// lease nothing else tells it (etcd-io/raft, `Step`, "free stuck candidates").
    private mutating func answerOlderTerm(_ message: Message, _ ready: inout Ready) {
        switch message.kind {
        case .append, .heartbeat, .snapshot:
            if Mutant.isOn(.staleNotAnswered) { return }
            tellTerm(self.message(.heartbeatResponse, to: message.from), &ready)
        case .preVote:
            ready.messages.append(refusal(of: message))
        case .vote:
            // Without PreVote nothing else tells it, and each of its terms would cost it another timeout.
            if !Mutant.isOn(.staleNotAnswered) { tellTerm(refusal(of: message), &ready) }
        case .preVoteResponse, .voteResponse:
            // A voter that was removed, and so moves to no new term, refuses in its old one. What it knows to be
            // committed holds in every term.
            if message.reject { _ = learnCommit(message.commit, message.logTerm, &ready) }
        default:
            break
        }
    }

    /// Not before the term is on disk: a candidate with a stuck disk must not depose a leader that works.
    private func tellTerm(_ answer: Message, _ ready: inout Ready) {
        if durableHardState.term < term {
            ready.afterDurable.append(answer)
        } else {
            ready.messages.append(answer)
        }
    }

    private mutating func receiveFromLeader(_ message: Message, _ ready: inout Ready) {
        if role == .leader { return }
        // At most one leader per term: whoever leads this one is it. A candidate of the same term gives up and keeps
        // its vote (clearing it made two leaders in CCF #8094).
        if role != .follower || leader != message.from {
            becomeFollower(term, leader: message.from, &ready)
        }
        electionElapsed = 0
        promiseElapsed = 0
        campaigns = 0
        if message.kind == .heartbeat { noticeLoss(message) }
        if recovery != nil && !hasDurableMark(&ready) { return }
        switch message.kind {
        case .append: receiveAppend(message, &ready)
        case .heartbeat: receiveHeartbeat(message, &ready)
        default: receiveSnapshot(message, &ready)
        }
    }
}
