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

/// The voters of one configuration, in ascending order.
struct Majority: Hashable, Sendable {
    let voters: [NodeID]

    init(_ voters: [NodeID]) {
        let sorted = voters.sorted()
        precondition(!sorted.isEmpty, "a group needs at least one voter")
        precondition(sorted[0].rawValue != 0, "0 is not a node id")
        for position in 1..<max(sorted.count, 1) {
            precondition(sorted[position - 1] != sorted[position], "a voter is listed twice")
        }
        self.voters = sorted
    }

    /// Votes needed to win.
    var size: Int { voters.count / 2 + 1 }

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
