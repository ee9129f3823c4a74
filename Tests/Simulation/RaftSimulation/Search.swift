// Breadth-first through everything that can happen in a bounded world. The first broken invariant is thus found on a
// shortest way, which is printed. States are remembered by a 64-bit hash: two in ten million may be taken for one.

import Raft

package struct Search {
    package struct Verdict: Sendable {
        package var states = 0
        package var depth = 0
        /// False when the limit ended it.
        package var isComplete = true
        package var failure: String?
    }

    package static let worlds: [(name: String, world: World)] = [
        ("two terms", make(voters: 3) { $0.termMax = 2 }),
        ("one crash", make(voters: 3) { ($0.termMax, $0.crashes) = (1, 1) }),
        ("one read", make(voters: 3) { ($0.termMax, $0.reads) = (1, 1) }),
        ("one repeat", make(voters: 3) { ($0.termMax, $0.proposals, $0.repeats) = (1, 1, 1) }),
        (
            "a joint change",
            make(
                voters: 2,
                change: ConfigurationChange(
                    [.init(.addVoter, NodeID(3)), .init(.remove, NodeID(1))], transition: .implicit)
            ) { ($0.termMax, $0.changes) = (1, 1) }
        ),
        ("two terms, one proposal", make(voters: 3) { ($0.termMax, $0.proposals) = (2, 1) }),
        ("two terms, one read", make(voters: 3) { ($0.termMax, $0.reads) = (2, 1) }),
        ("two terms, one crash", make(voters: 3) { ($0.termMax, $0.crashes) = (2, 1) }),
        ("three terms", make(voters: 3) { $0.termMax = 3 }),
    ]

    private static func make(
        voters: Int, change: ConfigurationChange = .leave, _ fill: (inout World.Budget) -> Void
    ) -> World {
        var budget = World.Budget()
        fill(&budget)
        return World(voters: voters, change: change, budget: budget)
    }

    /// Visits at most `statesMax` states.
    package static func run(_ start: World, statesMax: Int) -> Verdict {
        var verdict = Verdict()
        var seen: Set<Int> = [start.hashValue]
        // What led to each state, to tell the way to a failure.
        var parents: [(parent: Int32, event: UInt16)] = [(-1, 0)]
        var level: [(world: World, number: Int32)] = [(start, 0)]
        while !level.isEmpty {
            var next: [(world: World, number: Int32)] = []
            for (world, number) in level {
                for (position, event) in world.events.enumerated() {
                    do {
                        let following = try world.after(event)
                        guard seen.insert(following.hashValue).inserted else { continue }
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
