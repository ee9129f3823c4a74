// What the nemesis does, and to whom, as a sequence that a seed alone decides: the same seed plans the same faults, whatever
// the machine makes of them. Roles are resolved to nodes when a step begins.
import LabKit

/// One thing that goes wrong.
enum ChaosFault: String, Hashable, Sendable, CaseIterable {
    /// SIGKILL; with `--fault power-loss` also everything that was not synced.
    case kill
    /// SIGTERM.
    case graceful
    /// SIGSTOP.
    case pause
    case partition
    case partitionIn = "partition-in"
    case partitionOut = "partition-out"
    /// Two nodes can't reach each other, and both reach the rest.
    case bridge
    /// All that a node sends and hears is late.
    case slowLinks = "slow-links"
    /// Connections of a node break again and again.
    case resets
    case diskStall = "disk-stall"
    /// Writes fail; the node has to stop rather than guess.
    case diskFull = "disk-full"
    /// A bit of a file flips while the node is down.
    case bitFlip = "bit-flip"
    /// The node is removed from the cluster, loses its folder, and is added as a new member: a dead follower, or the
    /// leader while it leads.
    case replace
}

/// Whom it hits.
enum ChaosTarget: String, Hashable, Sendable {
    case leader
    case follower
    /// The leader and as many others as make a majority.
    case majority
    case all
}

struct ChaosStep: Hashable, Sendable {
    var fault: ChaosFault
    var target: ChaosTarget
    /// Undisturbed time before it.
    var calmSeconds: Double
    /// How long it lasts.
    var seconds: Double
    /// For what is left to chance within the step.
    var seed: UInt64
}

/// An endless plan. Each round holds every kind of step once, in an order of its own.
struct ChaosSchedule: Sendable {
    private typealias Kind = (fault: ChaosFault, target: ChaosTarget)

    private var random: SeededRandom
    private var round: [Kind] = []

    private static let kinds: [Kind] = [
        (.kill, .leader), (.kill, .follower), (.kill, .majority), (.kill, .all), (.graceful, .leader),
        (.pause, .leader), (.pause, .majority), (.partition, .leader), (.partition, .follower), (.partitionIn, .leader),
        (.partitionOut, .leader), (.bridge, .leader), (.slowLinks, .leader), (.resets, .leader), (.diskStall, .leader),
        (.diskFull, .leader), (.diskFull, .follower), (.bitFlip, .follower),
        (.replace, .leader), (.replace, .follower),
    ]

    init(seed: UInt64) {
        random = SeededRandom(seed: seed, stream: 600)
    }

    mutating func next() -> ChaosStep {
        if round.isEmpty {
            round = Self.kinds
            for index in round.indices.dropFirst() { round.swapAt(index, random.below(index + 1)) }
        }
        let kind = round.removeLast()
        let calm = 0.2 + Double(random.below(800)) / 1000
        let seconds = 0.3 + Double(random.below(1700)) / 1000
        return ChaosStep(
            fault: kind.fault, target: kind.target, calmSeconds: calm, seconds: seconds, seed: random.next())
    }
}
