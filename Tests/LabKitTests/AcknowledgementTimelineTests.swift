// The write gap, computed from made-up acknowledgements whose gap is known.
import LabKit
import Testing

@Suite struct AcknowledgementTimelineTests {
    private static let millisecond: UInt64 = 1_000_000

    /// One acknowledgement each millisecond, with holes.
    private func timeline(_ milliseconds: Range<UInt64>, without holes: [Range<UInt64>]) -> AcknowledgementTimeline {
        AcknowledgementTimeline(
            milliseconds.filter { time in !holes.contains { $0.contains(time) } }.map { $0 * Self.millisecond })
    }

    @Test func theHoleAroundTheFaultIsTheGap() {
        let gap = timeline(1000..<3000, without: [1501..<1750]).gap(
            afterFaultAt: 1500 * Self.millisecond + 300_000, observedUntil: 2900 * Self.millisecond)
        #expect(gap.start == 1500 * Self.millisecond)
        #expect(gap.end == 1750 * Self.millisecond)
        #expect(gap.seconds == 0.25)
        #expect(!gap.isCensored)
    }

    /// Answers under way when the fault struck still arrive; the gap begins behind them.
    @Test func lateAnswersDoNotHideTheGap() {
        let gap = timeline(1000..<3000, without: [1503..<1700]).gap(
            afterFaultAt: 1500 * Self.millisecond, observedUntil: 2900 * Self.millisecond)
        #expect(gap.seconds == 0.198)
    }

    @Test func holesBeforeTheFaultDoNotCount() {
        let gap = timeline(1000..<3000, without: [1100..<1400, 1501..<1600]).gap(
            afterFaultAt: 1500 * Self.millisecond, observedUntil: 2900 * Self.millisecond)
        #expect(gap.seconds == 0.1)
    }

    @Test func theLongestOfSeveralHolesCounts() {
        let gap = timeline(1000..<3000, without: [1501..<1600, 1700..<1900]).gap(
            afterFaultAt: 1500 * Self.millisecond, observedUntil: 2900 * Self.millisecond)
        #expect(gap.seconds == 0.201)
    }

    @Test func serviceThatDoesNotComeBackIsCensored() {
        let gap = timeline(1000..<1501, without: []).gap(
            afterFaultAt: 1500 * Self.millisecond, observedUntil: 9500 * Self.millisecond)
        #expect(gap.isCensored)
        #expect(gap.seconds == 8)
        let nothing = AcknowledgementTimeline([]).gap(afterFaultAt: 10, observedUntil: 1_000_000_010)
        #expect(nothing.isCensored)
        #expect(nothing.seconds == 1)
    }

    @Test func orderOfArrivalDoesNotMatter() {
        let times: [UInt64] = [5, 1, 9, 3]
        #expect(AcknowledgementTimeline(times).times == [1, 3, 5, 9])
        #expect(AcknowledgementTimeline(times).count(in: 3..<9) == 2)
        #expect(AcknowledgementTimeline(times).count(in: 0..<100) == 4)
        #expect(AcknowledgementTimeline(times).count(in: 6..<8) == 0)
    }
}
