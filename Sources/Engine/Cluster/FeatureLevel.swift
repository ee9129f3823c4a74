// What commands the members of a cluster can all read. A command of a newer kind must not be committed while a member
// would fail on it, so that replicas of different versions stay equal. The level is state of the controller's log: it
// goes up, one command at a time, once every member has said in a handshake that it can read that much, and never down.
// A node that can read less is refused from then on.
public import Raft
import Synchronization

/// The levels; each kind of command names the one that it needs.
public enum FeatureLevel {
    /// What this version can read.
    public static let supported: UInt32 = 1
    /// Deletions that answer how many of their keys existed (kind 4 of the key-value group).
    public static let countingDelete: UInt32 = 1
    /// A member that says where it is reached now (tag 5 of the controller's commands).
    public static let memberMove: UInt32 = 1

    /// The first byte of the controller's command that raises the level.
    public static let commandTag: UInt8 = 16

    /// `u8 16 | u32 level`, little endian.
    public static func command(raisingTo level: UInt32) -> [UInt8] {
        var writer = ByteWriter()
        writer.write(commandTag)
        writer.write(level)
        return writer.bytes
    }

    /// The level that a command raises to; nil when it is no such command.
    public static func level(in command: ArraySlice<UInt8>) -> UInt32? {
        var reader = ByteReader(command)
        guard reader.read(UInt8.self) == commandTag, let level = reader.read(UInt32.self), reader.isAtEnd, level > 0
        else { return nil }
        return level
    }
}

extension ClusterHost {
    /// Between two tries to raise the level, in nanoseconds.
    static let raiseInterval: UInt64 = 500_000_000

    /// A member said in a handshake what it can read. Call it on the host's thread.
    public func noteSupport(of node: NodeID, level: UInt32) {
        supportedLevels[node] = level
    }

    /// The controller's log raises the level. Called on the host's thread, in log order.
    public func adoptFeatureLevel(_ level: UInt32) {
        guard level > inbox.featureLevel.load(ordering: .relaxed) else { return }
        inbox.featureLevel.store(level, ordering: .relaxed)
        retryParked(now: now)
    }

    /// Part of every tick: the controller's leader raises the level once every member can read more.
    func raiseFeatureLevel() {
        guard inbox.featureLevel.load(ordering: .relaxed) < FeatureLevel.supported, now >= nextRaise,
            let controller = group(.controller), controller.core.role == .leader,
            controller.applied == controller.commit
        else { return }
        supportedLevels[member.id] = FeatureLevel.supported
        let common = membership.members.map { supportedLevels[$0.member.id] ?? 0 }.min() ?? 0
        guard common > inbox.featureLevel.load(ordering: .relaxed) else { return }
        nextRaise = now + Self.raiseInterval
        let command = FeatureLevel.command(raisingTo: min(common, FeatureLevel.supported))
        var proposal = Proposal(payload: command, mayForward: false) { _ in }
        proposal.deadline = now + settings.requestTimeout
        take(proposal, for: .controller)
    }

    /// Whether a command has to wait until the members can all read it.
    func isFenced(_ proposal: Proposal) -> Bool {
        proposal.requiredLevel > inbox.featureLevel.load(ordering: .relaxed)
    }

    /// Whether a proposal has to wait because earlier ones of its group do. A later write does not wait for a level
    /// that may never come: the fenced commands before it fail then, as not written, so that none is carried out after
    /// it.
    func mustWaitBehindParked(_ proposal: Proposal, of id: GroupID) -> Bool {
        // What a peer forwards keeps its own order and waits nowhere twice.
        guard parked.holds(id), proposal.mayForward || proposal.leaderDeadline > 0 else { return false }
        if !isFenced(proposal), group(id)?.core.leader != nil { failFencedForGood(of: id) }
        return parked.holds(id)
    }

    /// Answers the fenced commands of a group whose level may never come.
    private func failFencedForGood(of id: GroupID) {
        guard inbox.featureLevel.load(ordering: .relaxed) < FeatureLevel.supported,
            let fenced = parked.proposals(of: id).first(where: isFenced), !isLevelComing(fenced.requiredLevel)
        else { return }
        let left = parked.take(of: id).filter { !failIfFenced($0) }
        parked.putInFront(left, for: id)
    }

    private func failIfFenced(_ proposal: Proposal) -> Bool {
        guard isFenced(proposal) else { return false }
        proposal.completion(.failure(fenceError(proposal.requiredLevel)))
        return true
    }

    /// Splits what waits for a group, in order: returns what may go on, fails or parks again what is fenced.
    func passFence(_ waiting: [Proposal], of id: GroupID) -> [Proposal] {
        guard let first = waiting.firstIndex(where: isFenced) else { return waiting }
        if isLevelComing(waiting[first].requiredLevel) {
            parked.putInFront(Array(waiting[first...]), for: id)
            return Array(waiting[..<first])
        }
        let last = waiting.lastIndex { !isFenced($0) } ?? -1
        parked.putInFront(Array(waiting[(last + 1)...]), for: id)
        return waiting[..<(last + 1)].filter { !failIfFenced($0) }
    }

    /// Every member has said that it can read a level, which is therefore about to be declared.
    private func isLevelComing(_ level: UInt32) -> Bool {
        level <= FeatureLevel.supported
            && membership.members.allSatisfy {
                $0.member.id == member.id || (supportedLevels[$0.member.id] ?? 0) >= level
            }
    }

    /// Why a fenced command was not carried out, and what to do: which members this node has not heard from, or knows
    /// to be older.
    func fenceError(_ level: UInt32) -> RequestError {
        let missing = membership.members.map(\.member)
            .filter { $0.id != member.id && (supportedLevels[$0.id] ?? 0) < level }
            .map(\.name).sorted()
        let which = missing.isEmpty ? "" : " (not known of \(missing.joined(separator: ", ")))"
        return .unavailable(
            "not every member is known to be of a version that can read this command, feature level \(level)\(which); "
                + "start the members that are down, upgrade those that are older, or remove those that will not come back"
        )
    }
}
