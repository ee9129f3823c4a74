// Groups that are out of service on this node. A group that can't be opened, or that can't go on, is taken out of every
// turn; its requests are answered with the reason; the other groups go on. What can pass by itself is tried again with
// back-off. A failed write or sync is none of this: it ends the node, see `stop(because:)`.
import Raft

/// A group that is out of service, and when it is looked at again.
struct OutageState {
    var outage: GroupOutage
    var attempts: Int
    /// On the host's clock; `.max` while an attempt is under way, or when there is none to come.
    var retryAt: UInt64
    var retry: (@Sendable () -> Void)?
    /// What ran before: its log may still be written to until everything that was submitted has come back.
    var leaving: Group?
}

extension ClusterHost {
    /// Nanoseconds before the first further attempt to open a group; each one after it waits twice as long.
    public static let reopenDelayMin: UInt64 = 1_000_000_000
    /// Nanoseconds between attempts at most.
    public static let reopenDelayMax: UInt64 = 60_000_000_000

    /// Takes a group out of service on this node and answers its requests with the reason from now on. Call it on the
    /// host's thread, for a group that runs and for one that could not be opened.
    ///
    /// - Parameters:
    ///   - name: what people call the group; nil: as it was called before, or its number.
    ///   - reason: what happened and what to do, as one sentence.
    ///   - retry: tries again, on the host's thread after a while, by opening the group elsewhere and then calling
    ///     ``addGroup(_:log:hardStateFile:hardState:history:machine:durability:)`` or this method. nil: never.
    public func setUnavailable(
        _ id: GroupID, named name: String? = nil, because reason: String, retry: (@Sendable () -> Void)? = nil
    ) {
        let before = outages[id]
        let attempts = (before?.attempts ?? 0) + 1
        let outage = GroupOutage(
            group: id, name: name ?? before?.outage.name ?? nameOfGroup(id), reason: reason, isRetried: retry != nil)
        let delay = min(Self.reopenDelayMin << UInt64(min(attempts - 1, 16)), Self.reopenDelayMax)
        outages[id] = OutageState(
            outage: outage, attempts: attempts, retryAt: retry == nil ? .max : now + delay, retry: retry,
            leaving: takeOut(id, because: reason) ?? before?.leaving)
        for proposal in parked.take(of: id) { proposal.completion(.failure(outage.error)) }
        inbox.diagnostics.report(.groupUnavailable, "\(outage.name) is out of service on this node: \(reason)")
        outageObserver(id, outage)
    }

    /// Why a group is out of service on this node; nil when it is not.
    public func outage(of id: GroupID) -> GroupOutage? { outages[id]?.outage }

    /// All groups that are out of service on this node, by number.
    public var allOutages: [GroupOutage] { outages.values.map(\.outage).sorted { $0.group < $1.group } }

    /// A failure of a running group: its own trouble takes it out of service, the disk's ends the node.
    func fail(_ id: GroupID, _ reason: String, _ scope: FailureScope) {
        switch scope {
        case .node: stop(because: "group \(id): \(reason)")
        case .group(let passes):
            guard group(id) != nil else { return }
            setUnavailable(id, because: reason, retry: passes ? reopen(id) : nil)
        }
    }

    /// Part of every tick.
    func retryOutages() {
        guard !outages.isEmpty else { return }
        for (id, state) in outages.sorted(by: { $0.key < $1.key }) where state.retryAt <= now {
            guard let retry = state.retry, state.leaving?.awaiting.isEmpty ?? true else { continue }
            outages[id]?.retryAt = .max
            outages[id]?.leaving = nil
            retry()
        }
    }

    /// The group runs (again).
    func endOutage(of id: GroupID) {
        guard outages.removeValue(forKey: id) != nil else { return }
        outageObserver(id, nil)
    }

    /// What was submitted for a group that was taken out has come back.
    func storedWhileLeaving(_ receipt: StorageReceipt) {
        outages[receipt.group]?.leaving?.awaiting.removeAll { $0.sequence <= receipt.sequence }
    }

    /// Stops running a group. A leader hands over first: members whose group sleeps would not miss it.
    private func takeOut(_ id: GroupID, because reason: String) -> Group? {
        guard let group = group(id) else { return nil }
        if group.core.role == .leader, let successor = group.successor(among: membership) {
            group.step(.transferLeadership(to: successor), outbox: outbox)
            outbox.flush()
        }
        forget(group)
        let error = RequestError.unavailable("\(id) is out of service on this node: \(reason)")
        group.fail(group.proposals, error)
        group.proposals = []
        for entry in group.pending {
            group.fail(
                entry.proposals.map(\.proposal), .unknown("the group went out of service on this node: \(reason)"))
        }
        group.pending = []
        group.expireReads(now: .max)
        group.expireMoments(now: .max)
        return group
    }
}

extension GroupOutage {
    /// What a request to the group is answered on this node: nothing was done, and another node may serve it.
    public var error: RequestError {
        .unavailable("\(name) is out of service on this node: \(reason)")
    }
}
