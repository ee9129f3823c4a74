// Statistics of small samples against values worked out by hand.
import LabKit
import Testing

@Suite struct StatisticsTests {
    @Test func quantilesInterpolate() {
        let sample = Sample([4, 1, 3, 2])
        #expect(sample.median == 2.5)
        #expect(sample.quantile(0) == 1)
        #expect(sample.quantile(1) == 4)
        #expect(sample.quantile(0.25) == 1.75)
        #expect(sample.mean == 2.5)
        #expect(abs((sample.standardDeviation ?? 0) - 1.2909944487358056) < 1e-12)
    }

    @Test func emptyAndSingle() {
        #expect(Sample([]).median == nil)
        #expect(Sample([]).mean == nil)
        #expect(Sample([7]).median == 7)
        #expect(Sample([7]).standardDeviation == nil)
        #expect(Sample([7, 8]).medianInterval(seed: 1) == nil)
    }

    @Test func bootstrapCoversTheMedianAndRepeats() throws {
        let sample = Sample((0..<101).map(Double.init))
        let interval = try #require(sample.medianInterval(resamples: 300, seed: 42))
        #expect(interval.contains(50))
        #expect(interval.lowerBound > 25 && interval.upperBound < 75)
        #expect(sample.medianInterval(resamples: 300, seed: 42) == interval)
    }

    @Test func randomNumbersRepeatAndSpread() {
        var first = SeededRandom(seed: 9, stream: 1)
        var second = SeededRandom(seed: 9, stream: 1)
        var other = SeededRandom(seed: 9, stream: 2)
        let values = (0..<1000).map { _ in first.below(10) }
        #expect(values == (0..<1000).map { _ in second.below(10) })
        #expect(values != (0..<1000).map { _ in other.below(10) })
        #expect((0..<10).allSatisfy { digit in values.count { $0 == digit } > 50 })
    }
}
