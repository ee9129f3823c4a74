// One group's members: changes on their way into its log and out of it, and the next step from the members that it has
// to those that it should have. One change at a time: a newcomer first follows as a learner, and counts only once it is
// nearly caught up, so that no majority ever waits for an empty log.
import Raft
import SegmentedLog

/// What a leader does next about its group's members.
enum MembershipStep: Equatable {
    case nothing
    case change(ConfigurationChange)
    /// This leader must go before it can be removed.
    case stepAside
}

extension Group {
    /// A learner that lacks at most so many entries is promoted.
    static let promotionEntriesMax: UInt64 = 256

    var membership: GroupMembership { history.membership(asOf: applied) }

    /// A committed change of the members has its turn in the log.
    func applyMembership(
        _ payload: ArraySlice<UInt8>, at index: LogIndex, outbox: Outbox
    ) throws(StateMachineFailure) {
        guard let change = ConfigurationCodec.decodeChange(payload) else {
            throw StateMachineFailure(
                "entry \(index) changes the members in a way that this version does not know; upgrade this node",
                scope: .group(passes: false))
        }
        if index > history.base.index { history.add(change, at: index) }
        settledVersion = nil
        step(.configurationApplied(change.change), outbox: outbox)
    }

    /// Appends a change; false when the core does not take it now.
    func propose(_ change: ConfigurationChange, version: UInt64, outbox: Outbox) -> Bool {
        let payload = ConfigurationCodec.encode(VersionedChange(change, version: version))
        var frames = FrameBatch()
        do throws(ConfigurationRefused) {
            let index = try core.propose(
                change, byteCount: UInt32(FrameHeader.byteCount + payload.count), log: view(), into: &ready)
            frames.append(
                kind: .membership, index: index, term: core.term, baseOffset: nextOffset, recordCount: 0,
                payload: payload)
        } catch {
            return false
        }
        schedule?.touch(self)
        absorb(frames: frames, outbox: outbox)
        return true
    }

    /// Does the next step towards `wanted`, if this node leads and knows at least as much as whoever did the last one.
    /// - Parameter mayRemove: a removal may be proposed already.
    func approach(_ wanted: ClusterMembership, mayRemove: Bool, outbox: Outbox) {
        guard core.role == .leader, settledVersion != wanted.version, !isTransferring,
            wanted.version >= membership.version
        else { return }
        let lastIndex = core.lastIndex
        let step = Self.nextStep(
            from: core.configuration, to: wanted, leader: core.id, mayRemove: mayRemove
        ) { node in
            Self.isCaughtUp(match: core.matchIndex(of: node), lastIndex: lastIndex)
        }
        switch step {
        case .nothing:
            if mayRemove, core.configuration == wanted.initial.configuration { settledVersion = wanted.version }
        case .change(let change):
            _ = propose(change, version: wanted.version, outbox: outbox)
        case .stepAside:
            guard let successor = successor(among: wanted) else { return }
            self.step(.transferLeadership(to: successor), outbox: outbox)
        }
    }

    /// A learner that never answered is not caught up, however short the log: its vote could never be had.
    static func isCaughtUp(match: LogIndex?, lastIndex: LogIndex) -> Bool {
        guard let match, match > 0 else { return false }
        return match + promotionEntriesMax >= lastIndex
    }

    /// Who should lead after this node, of those that stay.
    func successor(among wanted: ClusterMembership) -> NodeID? {
        let voters = wanted.voters
        return core.successor { wanted.version == 0 || voters.contains($0) }
    }

    /// The rule itself. Newcomers come one by one; promotions, demotions and removals that are due go together, through
    /// a joint configuration when there are several.
    static func nextStep(
        from current: Configuration, to wanted: ClusterMembership, leader: NodeID, mayRemove: Bool,
        isCaughtUp: (NodeID) -> Bool
    ) -> MembershipStep {
        if current.isJoint { return .nothing }
        let present = current.members
        if let newcomer = wanted.members.first(where: { !present.contains($0.member.id) }) {
            return .change(ConfigurationChange([.init(.addLearner, newcomer.member.id)]))
        }
        var steps: [ConfigurationChange.Step] = []
        var mustStepAside = false
        for node in wanted.voters where current.learners.contains(node) && isCaughtUp(node) {
            steps.append(.init(.addVoter, node))
        }
        for node in wanted.learners where current.voters.contains(node) {
            if node == leader { mustStepAside = true } else { steps.append(.init(.addLearner, node)) }
        }
        for node in present where wanted.member(node) == nil && mayRemove {
            if node == leader { mustStepAside = true } else { steps.append(.init(.remove, node)) }
        }
        let change = ConfigurationChange(steps)
        if !steps.isEmpty, (try? current.applying(change)) != nil { return .change(change) }
        return mustStepAside ? .stepAside : .nothing
    }
}
