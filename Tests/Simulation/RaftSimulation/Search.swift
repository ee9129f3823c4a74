// Breadth-first through everything that can happen in a bounded world. The first broken invariant is thus found on a
// shortest way, which is printed. States are remembered by their 128-bit fingerprints, the same for worlds that differ
// only in the names of the nodes.

import Raft

package struct Search {
    package struct Verdict: Sendable {
        package var states = 0
        package var depth = 0
        /// False when the limit ended it.
        package var isComplete = true
        package var failure: String?
    }

    /// The larger ones first, so that two threads end at about the same time.
    package static let worlds: [(name: String, world: World)] = [
        ("three terms, a crash", make { ($0.termMax, $0.crashes) = (3, 1) }),
        ("three terms, a proposal, a drop", make { ($0.termMax, $0.proposals, $0.drops) = (3, 1, 1) }),
        (
            "two terms, a crash, a drop, a repeat",
            make { ($0.termMax, $0.campaigns, $0.crashes, $0.drops, $0.repeats) = (2, 2, 1, 1, 1) }
        ),
        (
            "two terms, a read, a drop, a repeat",
            make { b in
                (b.termMax, b.campaigns, b.reads, b.drops, b.repeats) = (2, 2, 1, 1, 1)
            }
        ),
        ("three terms, a read", make { ($0.termMax, $0.reads) = (3, 1) }),
        ("three terms, a repeat", make { ($0.termMax, $0.repeats) = (3, 1) }),
        ("a joint change, two terms", joint(isOrdered: true) { ($0.termMax, $0.campaigns) = (2, 2) }),
        ("a joint change, any order", joint(isOrdered: false) { ($0.termMax, $0.campaigns) = (1, 2) }),
        ("a read, any order", make(isOrdered: false) { ($0.termMax, $0.reads) = (1, 1) }),
        ("a crash, any order", make(isOrdered: false) { ($0.termMax, $0.crashes) = (1, 1) }),
        (
            "a repeat, any order",
            make(isOrdered: false) { b in
                (b.termMax, b.campaigns, b.proposals, b.repeats) = (1, 1, 1, 1)
            }
        ),
        ("two terms, any order", make(isOrdered: false) { ($0.termMax, $0.campaigns) = (2, 2) }),
    ]

    private static func make(isOrdered: Bool = true, _ fill: (inout World.Budget) -> Void) -> World {
        var budget = World.Budget()
        fill(&budget)
        return World(voters: 3, budget: budget, isOrdered: isOrdered)
    }

    /// From {1, 2} to {2, 3}: the first leader may be the one that goes.
    private static func joint(isOrdered: Bool, _ fill: (inout World.Budget) -> Void) -> World {
        var budget = World.Budget()
        fill(&budget)
        budget.changes = 1
        let change = ConfigurationChange(
            [.init(.addVoter, NodeID(3)), .init(.remove, NodeID(1))], transition: .implicit)
        return World(voters: 2, change: change, budget: budget, isOrdered: isOrdered)
    }

    /// Visits at most `statesMax` states.
    package static func run(_ start: World, statesMax: Int) -> Verdict {
        var verdict = Verdict()
        var seen: Set<Fingerprint> = [start.fingerprint]
        // What led to each state, to tell the way to a failure.
        var parents: [(parent: Int32, event: UInt16)] = [(-1, 0)]
        var level: [(world: World, number: Int32)] = [(start, 0)]
        while !level.isEmpty {
            var next: [(world: World, number: Int32)] = []
            for (world, number) in level {
                for (position, event) in world.events.enumerated() {
                    do {
                        let following = try world.after(event)
                        guard seen.insert(following.fingerprint).inserted else { continue }
                        next.append((following, Int32(parents.count)))
                        parents.append((number, UInt16(position)))
                    } catch {
                        verdict.failure = "\(error)\n" + way(start, parents, Int(number), event).joined(separator: "\n")
                        verdict.states = seen.count
                        return verdict
                    }
                }
                if seen.count >= statesMax {
                    verdict.states = seen.count
                    verdict.isComplete = false
                    return verdict
                }
            }
            if !next.isEmpty { verdict.depth += 1 }
            level = next
        }
        verdict.states = seen.count
        return verdict
    }

    private static func way(
        _ start: World, _ parents: [(parent: Int32, event: UInt16)], _ last: Int, _ event: World.Event
    ) -> [String] {
        var positions: [Int] = []
        var state = last
        while parents[state].parent >= 0 {
            positions.append(Int(parents[state].event))
            state = Int(parents[state].parent)
        }
        var world = start
        var lines: [String] = []
        for position in positions.reversed() {
            let event = world.events[position]
            lines.append("  \(lines.count + 1). \(world.text(event))")
            guard let next = try? world.after(event) else { break }
            world = next
        }
        return lines + ["  \(lines.count + 1). \(world.text(event))"]
    }
}
