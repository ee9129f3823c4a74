// How long a fault may keep writes from being acknowledged. The bounds are for a small machine that runs three nodes,
// the clients and the proxy at once: several times what a quiet one needs (Results/), far below what a fault of the
// system costs. Pure: what was seen comes in, what the report says goes out.
import LabKit

/// The bound of one kind of fault.
struct UnavailabilityBound: Hashable, Sendable {
    var seconds: Double
    /// While the fault lasts there is no majority, so that the time counts from its end.
    var afterFault = false

    /// A leader is lost at once. Its loss is noticed within 0.3 s (two election times at most), a split vote costs 0.1
    /// s more; the rest is for a loaded machine.
    static let electionSeconds = 1.5
    /// A leader is alive but cut off or stuck: it first has to find out, by a full round of missing answers or by 0.5 s
    /// without its disk, before others may follow it.
    static let stepDownSeconds = 2.5
    /// Leader and majority stay: nothing has to change, and what is left is a machine that is busy, with a node that
    /// starts or catches up for example.
    static let undisturbedSeconds = 1.0
    /// Processes start, open their stores, replay their logs and elect.
    static let restartSeconds = 5.0
    /// Stopped processes go on and elect.
    static let resumeSeconds = 2.5
    /// A link that has healed is used again within this, however long it was cut.
    static let healedLinkSeconds = 1.0
    /// Round trips jump from nothing to 200 ms: times of heartbeats and elections have to follow them before a leader
    /// can be elected and kept, and each election takes some of these round trips.
    static let adaptSeconds = 6.0

    static func of(_ fault: ChaosFault, _ target: ChaosTarget) -> UnavailabilityBound {
        switch (fault, target) {
        case (.kill, .majority), (.kill, .all), (.graceful, .majority), (.graceful, .all):
            UnavailabilityBound(seconds: restartSeconds, afterFault: true)
        case (.lossyLinks, _): UnavailabilityBound(seconds: adaptSeconds)
        case (.clockBack, _), (.clockForth, _): UnavailabilityBound(seconds: undisturbedSeconds)
        case (.longCut, _): UnavailabilityBound(seconds: healedLinkSeconds + electionSeconds)
        case (_, .majority), (_, .all): UnavailabilityBound(seconds: resumeSeconds, afterFault: true)
        case (_, .follower): UnavailabilityBound(seconds: undisturbedSeconds)
        case (.kill, .leader), (.graceful, .leader), (.pause, .leader), (.partition, .leader),
            (.partitionClosed, .leader), (.partitionOut, .leader):
            UnavailabilityBound(seconds: electionSeconds)
        case (.partitionIn, .leader), (.bridge, .leader), (.slowLinks, .leader), (.resets, .leader),
            (.diskStall, .leader), (.diskFull, .leader), (.bitFlip, .leader), (.replace, .leader):
            UnavailabilityBound(seconds: stepDownSeconds)
        }
    }
}

/// One fault as it was done, in nanoseconds of MonotonicClock.
struct FaultSpan: Hashable, Sendable {
    var fault: ChaosFault
    var target: ChaosTarget
    var nodes: [String]
    var from: UInt64
    var until: UInt64
    /// Every node had caught up.
    var recovered: UInt64
    var note: String?
    var catchUp: ChaosResult.CatchUp?

    /// What the report says of it.
    /// - Parameters:
    ///   - next: when the next fault began, or the load ended.
    ///   - started: when the load began.
    func event(_ acknowledged: AcknowledgementTimeline, next: UInt64, started: UInt64) -> ChaosResult.Event {
        let bound = UnavailabilityBound.of(fault, target)
        let gap = acknowledged.silence(from: min(next, bound.afterFault ? until : from), until: next)
        func seconds(_ moment: UInt64) -> Double { MonotonicClock.seconds(from: started, to: moment) }
        var event = ChaosResult.Event(
            fault: fault.rawValue, target: target.rawValue, nodes: nodes, fromSeconds: seconds(from),
            untilSeconds: seconds(until), recoveredSeconds: seconds(recovered), note: note)
        event.unavailable = ChaosResult.Unavailable(
            seconds: gap.seconds, boundSeconds: bound.seconds, afterFault: bound.afterFault)
        event.catchUp = catchUp
        return event
    }

    /// All faults of a run, each observed until the next one began.
    static func events(
        _ spans: [FaultSpan], acknowledged: [UInt64], started: UInt64, observedUntil: UInt64
    ) -> [ChaosResult.Event] {
        let timeline = AcknowledgementTimeline(acknowledged)
        return spans.indices.map { index in
            let next = index + 1 < spans.count ? spans[index + 1].from : max(observedUntil, spans[index].recovered)
            return spans[index].event(timeline, next: next, started: started)
        }
    }
}
