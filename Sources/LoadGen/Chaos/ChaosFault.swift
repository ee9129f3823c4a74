// Everything that can go wrong in a chaos run, by name, and what each kind needs and takes. Says nothing about when or
// to whom.

/// One thing that goes wrong.
enum ChaosFault: String, Hashable, Sendable, CaseIterable {
    /// SIGKILL; with `--fault power-loss` also everything that was not synced.
    case kill
    /// SIGTERM.
    case graceful
    /// SIGSTOP. What a follower is sent when it goes on is counted.
    case pause
    /// As a network that drops packets: connections stay open and silent, and go on when TCP would send again.
    case partition
    case partitionIn = "partition-in"
    case partitionOut = "partition-out"
    /// Connections of a node end and no new ones are made, as when a firewall refuses.
    case partitionClosed = "partition-closed"
    /// Two nodes can't reach each other, and both reach the rest.
    case bridge
    /// A node is cut off for long; soon after it is back, another one is, so that the healed links have to carry the
    /// quorum.
    case longCut = "long-cut"
    /// All that a node sends and hears is late.
    case slowLinks = "slow-links"
    /// All that all nodes send is late by changing times, and some of it has to be sent again.
    case lossyLinks = "lossy-links"
    /// Connections of a node break again and again.
    case resets
    /// The wall clock is set back by an hour, and to the true time again.
    case clockBack = "clock-back"
    /// The wall clock is set forth by an hour, and to the true time again.
    case clockForth = "clock-forth"
    case diskStall = "disk-stall"
    /// Writes fail; the node has to stop rather than guess.
    case diskFull = "disk-full"
    /// A bit of a file flips while the node is down.
    case bitFlip = "bit-flip"
    /// The node is removed from the cluster, loses its folder, and is added as a new member: a dead follower, or the
    /// leader while it leads.
    case replace

    /// Needs a network that can be made late or unreliable, or closes connections: the kernel's is not.
    var needsProxy: Bool {
        switch self {
        case .slowLinks, .lossyLinks, .resets, .partitionClosed: true
        default: false
        }
    }

    /// Needs servers whose wall clock can be set.
    var needsFalseClock: Bool { self == .clockBack || self == .clockForth }

    /// How long it lasts.
    func seconds(_ target: ChaosTarget) -> ClosedRange<Double> {
        switch self {
        case .longCut: 5...60
        case .lossyLinks: 6...12
        case .clockBack, .clockForth: 2...5
        case .pause where target == .follower: 3...10
        default: 0.3...2
        }
    }

    /// The faults that words name.
    static func parse(_ words: String) throws(LoadGenError) -> Set<ChaosFault> {
        var faults: Set<ChaosFault> = []
        for word in words.split(separator: ",").map(String.init) {
            guard let fault = ChaosFault(rawValue: word) else {
                let known = allCases.map(\.rawValue).joined(separator: ", ")
                throw LoadGenError.usage("'\(word)' is no fault of chaos; take some of \(known)")
            }
            faults.insert(fault)
        }
        guard !faults.isEmpty else { throw LoadGenError.usage("--faults names no fault; leave it out for all of them") }
        return faults
    }
}

/// Whom it hits.
enum ChaosTarget: String, Hashable, Sendable {
    case leader
    case follower
    /// The leader and as many others as make a majority.
    case majority
    case all
}
