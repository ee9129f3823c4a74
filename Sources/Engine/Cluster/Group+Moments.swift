// Moments of a group: the instant at which an entry is the newest one applied, on the host's thread, with no entry half
// done. Whoever compares replicas freezes their state in such a moment. Bounded, and each with a deadline.
public import Raft
public import SegmentedLog

/// Somebody who waits for a moment.
struct AppliedMoment {
    var index: LogIndex
    /// On the host's clock.
    var deadline: UInt64
    var body: @Sendable (Result<LogIndex, RequestError>) -> Void
}

extension ClusterHost {
    /// The log of a group on this node.
    public func log(of id: GroupID) -> SegmentedLog? { group(id)?.log }

    /// Moments that may be waited for in one group.
    public static let momentsMax = 64

    /// Runs `body` on the host's thread as soon as the group has applied `index`, with the index that is applied then:
    /// `index` itself, or the newest one when the group is past it already (or `index` is nil).
    public func atApplied(
        _ index: LogIndex?, of id: GroupID, _ body: @escaping @Sendable (Result<LogIndex, RequestError>) -> Void
    ) {
        guard let group = group(id) else { return body(.failure(.unavailable("the group is not on this node"))) }
        guard let index, index > group.applied else { return body(.success(group.applied)) }
        guard group.moments.count < Self.momentsMax else {
            return body(.failure(.unavailable("too many wait for moments of this group; try again")))
        }
        group.moments.append(AppliedMoment(index: index, deadline: now + settings.requestTimeout, body: body))
        schedule.touch(group)
    }
}

extension Group {
    func reachMoments() {
        for moment in moments where moment.index <= applied { moment.body(.success(applied)) }
        moments.removeAll { $0.index <= applied }
    }

    func expireMoments(now: UInt64) {
        for moment in moments where moment.deadline <= now {
            moment.body(
                .failure(.unavailable("entry \(moment.index) was not applied here in time; entry \(applied) is")))
        }
        moments.removeAll { $0.deadline <= now }
    }
}
