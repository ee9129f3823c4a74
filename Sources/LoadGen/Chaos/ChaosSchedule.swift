// What the nemesis does, and to whom, as a sequence that a seed alone decides: the same seed plans the same faults,
// whatever the machine makes of them. Roles are resolved to nodes when a step begins.
import LabKit

struct ChaosStep: Hashable, Sendable {
    var fault: ChaosFault
    var target: ChaosTarget
    /// Undisturbed time before it.
    var calmSeconds: Double
    /// How long it lasts.
    var seconds: Double
    /// For what is left to chance within the step.
    var seed: UInt64

    /// A long fault lasts at most a quarter of the run, and at least as long as its kind must.
    func seconds(inRunOf runSeconds: Double) -> Double {
        min(seconds, max(fault.seconds(target).lowerBound, runSeconds / 4))
    }
}

/// An endless plan. Each round holds every kind of step once, in an order of its own.
struct ChaosSchedule: Sendable {
    private typealias Kind = (fault: ChaosFault, target: ChaosTarget)

    private var random: SeededRandom
    private var round: [Kind] = []
    private let faults: Set<ChaosFault>

    private static let kinds: [Kind] = [
        (.kill, .leader), (.kill, .follower), (.kill, .majority), (.kill, .all), (.graceful, .leader),
        (.pause, .leader), (.pause, .follower), (.pause, .majority),
        (.partition, .leader), (.partition, .follower), (.partitionIn, .leader),
        (.partitionOut, .leader), (.partitionClosed, .leader), (.bridge, .leader),
        (.longCut, .leader), (.longCut, .follower), (.slowLinks, .leader), (.lossyLinks, .all), (.resets, .leader),
        (.clockBack, .leader), (.clockBack, .follower), (.clockBack, .all),
        (.clockForth, .leader), (.clockForth, .follower), (.clockForth, .all),
        (.diskStall, .leader), (.diskFull, .leader), (.diskFull, .follower), (.bitFlip, .follower),
        (.replace, .leader), (.replace, .follower),
    ]

    /// Every kind of step that there is.
    static var steps: [(fault: ChaosFault, target: ChaosTarget)] { kinds }

    /// - Parameter faults: those to take; with fewer of them the others are left out of the same plan.
    init(seed: UInt64, faults: Set<ChaosFault> = Set(ChaosFault.allCases)) {
        precondition(!faults.isEmpty, "a plan needs a fault")
        random = SeededRandom(seed: seed, stream: 600)
        self.faults = faults
    }

    mutating func next() -> ChaosStep {
        var step = draw()
        while !faults.contains(step.fault) { step = draw() }
        return step
    }

    private mutating func draw() -> ChaosStep {
        if round.isEmpty {
            round = Self.kinds
            for index in round.indices.dropFirst() { round.swapAt(index, random.below(index + 1)) }
        }
        let kind = round.removeLast()
        let calm = 0.2 + Double(random.below(800)) / 1000
        let range = kind.fault.seconds(kind.target)
        let seconds = range.lowerBound + (range.upperBound - range.lowerBound) * Double(random.below(1000)) / 1000
        return ChaosStep(
            fault: kind.fault, target: kind.target, calmSeconds: calm, seconds: seconds, seed: random.next())
    }
}
