// Majorities: which index a set of voters has agreed on, and who won a vote. Pure functions over one voter set; a joint
// configuration (thesis §4.3) takes the minimum of two of them. Learners must never be counted here.

/// The outcome of a vote so far.
enum VoteResult: Hashable, Sendable {
    case pending, won, lost
}

/// One voter's answer to a candidate.
enum VoteAnswer: UInt8, Hashable, Sendable {
    case none, granted, rejected
}

/// The voters of one configuration, in ascending order. Of nobody no majority can ever be had.
struct Majority: Hashable, Sendable {
    let voters: [NodeID]

    init(_ voters: [NodeID]) {
        let sorted = voters.sorted()
        for position in 1..<max(sorted.count, 1) {
            precondition(sorted[position - 1] != sorted[position], "a voter is listed twice")
        }
        self.voters = sorted
    }

    /// Votes needed to win.
    var size: Int { Mutant.isOn(.quorumOneShort) ? (voters.count + 1) / 2 : voters.count / 2 + 1 }

    /// True when `node` is the only voter.
    func isSole(_ node: NodeID) -> Bool { voters.count == 1 && voters[0] == node }

    func contains(_ node: NodeID) -> Bool {
        for voter in voters where voter == node { return true }
        return false
    }

    /// The largest value that a majority has reached. O(n²) for n voters, without allocating: n is at most 9 in
    /// practice and a sorted cache went stale in other implementations (openraft #1802).
    func agreed(_ value: (NodeID) -> UInt64) -> UInt64 {
        var best: UInt64 = 0
        for candidate in voters {
            let reached = value(candidate)
            if reached <= best { continue }
            var supporters = 0
            for voter in voters where value(voter) >= reached { supporters += 1 }
            if supporters >= size { best = reached }
        }
        return best
    }

    /// Won once a majority granted, lost once it can't any more.
    func result(_ answer: (NodeID) -> VoteAnswer) -> VoteResult {
        var granted = 0
        var open = 0
        for voter in voters {
            switch answer(voter) {
            case .granted: granted += 1
            case .none: open += 1
            case .rejected: break
            }
        }
        if granted >= size { return .won }
        return granted + open >= size ? .pending : .lost
    }
}

/// The majorities that a decision needs: one, or while the configuration is joint, both.
struct JointMajority: Hashable, Sendable {
    let incoming: Majority
    /// Nil unless joint.
    let outgoing: Majority?

    init(_ configuration: Configuration) {
        let counted = Mutant.isOn(.learnersCount) ? configuration.learners : []
        incoming = Majority(configuration.voters + counted)
        let isSingle = !configuration.isJoint || Mutant.isOn(.jointIgnoresOutgoing)
        outgoing = isSingle ? nil : Majority(configuration.outgoing)
    }

    /// True when `node` decides alone.
    func isSole(_ node: NodeID) -> Bool { incoming.isSole(node) && (outgoing?.isSole(node) ?? true) }

    func contains(_ node: NodeID) -> Bool { incoming.contains(node) || (outgoing?.contains(node) ?? false) }

    func agreed(_ value: (NodeID) -> UInt64) -> UInt64 {
        let reached = incoming.agreed(value)
        guard let outgoing else { return reached }
        return min(reached, outgoing.agreed(value))
    }

    func result(_ answer: (NodeID) -> VoteAnswer) -> VoteResult {
        let first = incoming.result(answer)
        guard let second = outgoing?.result(answer), first != second else { return first }
        return first == .lost || second == .lost ? .lost : .pending
    }
}
