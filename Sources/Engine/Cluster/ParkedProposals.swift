// What waits at this node before it can go on its way: for a group, for a leader, for a connection to it, or for the
// cluster's feature level. Within a group what waits here is newer than what the group holds and what was forwarded,
// and keeps its order: a later write of a connection must never go before an earlier one that is acknowledged after it.

/// The proposals that wait, in order within their group. Bounded by whoever adds to it.
struct ParkedProposals {
    private var waiting: [GroupID: [Proposal]] = [:]
    private(set) var count = 0
    private(set) var bytes = 0

    var isEmpty: Bool { count == 0 }
    /// Groups for which something waits, by number.
    var groups: [GroupID] { waiting.keys.sorted() }

    func holds(_ id: GroupID) -> Bool { count > 0 && waiting[id] != nil }

    func proposals(of id: GroupID) -> [Proposal] { waiting[id] ?? [] }

    /// Adds what is newer than all that waits for the group.
    mutating func append(_ proposal: Proposal, for id: GroupID) {
        waiting[id, default: []].append(proposal)
        count += 1
        bytes += proposal.payload.count
    }

    /// Adds what is older than all that waits for the group.
    mutating func putInFront(_ proposals: [Proposal], for id: GroupID) {
        guard !proposals.isEmpty else { return }
        waiting[id, default: []].insert(contentsOf: proposals, at: 0)
        count += proposals.count
        bytes += proposals.reduce(0) { $0 + $1.payload.count }
    }

    /// Takes out what waits for a group.
    mutating func take(of id: GroupID) -> [Proposal] {
        guard let taken = waiting.removeValue(forKey: id) else { return [] }
        count -= taken.count
        bytes -= taken.reduce(0) { $0 + $1.payload.count }
        return taken
    }
}
