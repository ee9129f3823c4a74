// The store piece by piece, through its public face: the skip list alone, the log, then a store whose tables sit in the
// page cache. What a piece costs shows as the difference: an absent key costs the Bloom filter, a present one a block more.
import Benchmark

/// db_bench's keys: a big-endian number, padded.
struct BenchmarkKey {
    private(set) var bytes = [UInt8](repeating: 0x30, count: 16)

    mutating func set(_ number: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: UInt64(number).bigEndian, as: UInt64.self) }
    }
}

/// SplitMix64's finalizer: the same choices in every run.
func scattered(_ number: Int, below bound: Int) -> Int {
    var z = UInt64(number) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((z ^ (z >> 31)).multipliedFullWidth(by: UInt64(bound)).high)
}

let entries = 100_000
let value = [UInt8](repeating: 0x5A, count: 100)

let benchmarks: @Sendable () -> Void = {
    // Setting up costs more than most of what is measured, and is done again for each sample: a few samples.
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], scalingFactor: .kilo, maxDuration: .seconds(1), maxIterations: 20)
    skipList()
    writeAheadLog()
    tables()
    bloomFilter()
}
