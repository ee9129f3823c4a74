// Linearizable reads by ReadIndex (thesis §6.4): note the commit index, prove by a round of heartbeats that nobody else
// led meanwhile, answer. Requests are numbered within a leadership; a heartbeat carries the newest number and an echo
// confirms all up to it, so one round serves every read that came before it. A confirmation must never serve a read
// that arrived after the round left (etcd #20418), and nothing is served before an entry of the own term is committed
// (#7331).

/// Reads that wait, at the leader for confirmation and at a follower for the leader's answer.
struct PendingReads: Hashable, Sendable {
    struct Request: Hashable, Sendable {
        var context: UInt64
        var from: NodeID
        var index: LogIndex
        var sequence: UInt64
    }
    struct Forwarded: Hashable, Sendable {
        var context: UInt64
        var age: Int
    }
    /// Leader: before the first commit of the own term.
    var waiting: [Request] = []
    /// Leader: ascending by `sequence`.
    var unconfirmed: [Request] = []
    /// Follower: sent to the leader.
    var forwarded: [Forwarded] = []
    /// Number of the newest request in this leadership; 0 before the first.
    var newestSequence: UInt64 = 0
    private(set) var sentSequence: UInt64 = 0
    var confirmedSequence: UInt64 = 0

    var count: Int { waiting.count + unconfirmed.count + forwarded.count }

    /// A round of heartbeats is out and not confirmed: later requests wait for the next one.
    var isRoundOut: Bool { sentSequence > confirmedSequence }
    var needsRound: Bool { newestSequence > sentSequence && !isRoundOut }

    mutating func noteRoundSent() { sentSequence = newestSequence }

    mutating func add(_ request: Request, index: LogIndex) {
        newestSequence += 1
        var numbered = request
        numbered.index = index
        numbered.sequence = newestSequence
        unconfirmed.append(numbered)
    }
}

extension RaftCore {
    /// A read of this node (`from == id`) or one that a follower sent here.
    mutating func readIndex(context: UInt64, from: NodeID, _ ready: inout Ready) {
        if reads.count >= settings.readsPendingMax {
            refuseRead(context, from: from, &ready)
        } else if role == .leader {
            let request = PendingReads.Request(context: context, from: from, index: 0, sequence: 0)
            guard hasCommittedInTerm || Mutant.isOn(.readBeforeOwnCommit) else {
                reads.waiting.append(request)
                return
            }
            admitRead(request, &ready)
            if reads.needsRound { broadcastHeartbeat(&ready) }
        } else if let leader, from == id {
            reads.forwarded.append(PendingReads.Forwarded(context: context, age: 0))
            var request = message(.readIndex, to: leader)
            request.context = context
            ready.messages.append(request)
        } else {
            refuseRead(context, from: from, &ready)
        }
    }

    private mutating func admitRead(_ request: PendingReads.Request, _ ready: inout Ready) {
        if quorum.isSole(id) {
            answerRead(request, index: commitIndex, &ready)
        } else {
            reads.add(request, index: commitIndex)
        }
    }

    /// The own term has its first commit: the commit index is now known to be the newest there was.
    mutating func admitWaitingReads(_ ready: inout Ready) {
        if reads.waiting.isEmpty { return }
        let waiting = reads.waiting
        reads.waiting = []
        for request in waiting { admitRead(request, &ready) }
        if reads.needsRound { broadcastHeartbeat(&ready) }
    }

    mutating func receiveReadIndex(_ message: Message, _ ready: inout Ready) {
        readIndex(context: message.context, from: message.from, &ready)
    }

    /// A member echoed a round: everything that a majority has echoed is confirmed.
    mutating func confirmReads(_ slot: Int, _ sequence: UInt64, _ ready: inout Ready) {
        guard sequence <= reads.newestSequence, sequence > progress[slot].readAck else { return }
        progress[slot].readAck = sequence
        confirmReads(&ready)
    }

    /// After an echo, or when the quorum changed.
    mutating func confirmReads(_ ready: inout Ready) {
        let confirmed = quorum.agreed { node in
            if node == id { return reads.newestSequence }
            guard let slot = self.slot(of: node) else { return 0 }
            return Mutant.isOn(.readWithoutQuorum) ? reads.newestSequence : progress[slot].readAck
        }
        if confirmed <= reads.confirmedSequence { return }
        reads.confirmedSequence = confirmed
        lease.extend(through: confirmed)
        var count = 0
        while count < reads.unconfirmed.count && isConfirmed(reads.unconfirmed[count]) {
            answerRead(reads.unconfirmed[count], index: reads.unconfirmed[count].index, &ready)
            count += 1
        }
        reads.unconfirmed.removeFirst(count)
        if reads.needsRound { broadcastHeartbeat(&ready) }
    }

    private func isConfirmed(_ read: PendingReads.Request) -> Bool {
        read.sequence <= reads.confirmedSequence || Mutant.isOn(.readAdoptsOlderRound)
    }

    private func answerRead(_ request: PendingReads.Request, index: LogIndex, _ ready: inout Ready) {
        if request.from == id {
            ready.reads.append(ReadState(context: request.context, index: index))
            return
        }
        var answer = message(.readIndexResponse, to: request.from)
        answer.context = request.context
        answer.index = index
        ready.messages.append(answer)
    }

    private func refuseRead(_ context: UInt64, from: NodeID, _ ready: inout Ready) {
        if from == id {
            ready.droppedReads.append(context)
            return
        }
        var answer = message(.readIndexResponse, to: from)
        answer.context = context
        answer.reject = true
        ready.messages.append(answer)
    }

    mutating func receiveReadIndexResponse(_ message: Message, _ ready: inout Ready) {
        guard let position = reads.forwarded.firstIndex(where: { $0.context == message.context }) else { return }
        reads.forwarded.remove(at: position)
        if message.reject {
            ready.droppedReads.append(message.context)
        } else {
            ready.reads.append(ReadState(context: message.context, index: message.index))
        }
    }

    /// A request or its answer was lost: the host tries again under a new context.
    mutating func expireForwardedReads(_ ready: inout Ready) {
        if reads.forwarded.isEmpty { return }
        for position in reads.forwarded.indices { reads.forwarded[position].age += 1 }
        while let oldest = reads.forwarded.first, oldest.age >= max(settings.readForwardTicks, pace.lossTicks) {
            ready.droppedReads.append(oldest.context)
            reads.forwarded.removeFirst()
        }
    }

    /// The leadership that these reads relied on is over.
    mutating func dropReads(_ ready: inout Ready) {
        if reads.count > 0 {
            for read in reads.forwarded { ready.droppedReads.append(read.context) }
            for read in reads.waiting { refuseRead(read.context, from: read.from, &ready) }
            for read in reads.unconfirmed { refuseRead(read.context, from: read.from, &ready) }
        }
        reads = PendingReads()
    }
}
