// Batches, tables and merges of a store on the real disk, whose files are in the page cache.
import Benchmark
import Glibc
import PosixIO
import Storage

/// A store in a temporary folder, gone when the benchmark ends.
final class Place {
    let store: LSMStore
    private let folder: String

    /// - Parameter tables: the keys are spread over this many tables, each of which holds a share of every range.
    init(tables: Int, _ change: (inout LSMOptions) -> Void = { _ in }) throws {
        folder = try TemporaryFolder.make()
        var options = LSMOptions()
        change(&options)
        store = try LSMStore.open(directory: folder, fileSystem: PosixFileSystem(), options: options)
        var key = BenchmarkKey()
        var batch = WriteBatch()
        for table in 0..<tables {
            batch.removeAll()
            for number in stride(from: table, to: entries, by: tables) {
                key.set(number)
                try batch.put(key: key.bytes, value: value)
            }
            _ = try store.apply(batch, at: LogPosition(index: UInt64(table + 1), term: 1))
            try store.flush()
        }
    }

    /// Puts all keys, in order, into the memtable.
    func fill() throws {
        var key = BenchmarkKey()
        var batch = WriteBatch()
        for number in 0..<entries {
            key.set(number)
            try batch.put(key: key.bytes, value: value)
        }
        _ = try store.apply(batch, at: LogPosition(index: 1, term: 1))
    }

    deinit {
        store.close()
        TemporaryFolder.remove(folder)
    }
}

func tables() {
    Benchmark("batch of 100 puts, encode", configuration: .init(scalingFactor: .kilo)) { benchmark in
        var batch = WriteBatch()
        var key = BenchmarkKey()
        for number in benchmark.scaledIterations {
            batch.removeAll()
            for offset in 0..<100 {
                key.set(number + offset)
                try batch.put(key: key.bytes, value: value)
            }
        }
        blackHole(batch.count)
    }

    for (name, isPresent) in [
        ("get of an absent key (Bloom filter)", false), ("get of a present key (one block)", true),
    ] {
        Benchmark("table, \(name)") { benchmark in
            let place = try Place(tables: 1)
            var key = [UInt8](repeating: 0x30, count: isPresent ? 16 : 17)
            benchmark.startMeasurement()
            for number in benchmark.scaledIterations {
                let wanted = UInt64(scattered(number, below: entries)).bigEndian
                key.withUnsafeMutableBytes { $0.storeBytes(of: wanted, as: UInt64.self) }
                blackHole(try place.store.get(key)?.count)
            }
            benchmark.stopMeasurement()
        }
    }

    Benchmark("table, flush of \(entries) keys", configuration: .init(scalingFactor: .one)) { benchmark in
        for _ in benchmark.scaledIterations { blackHole(try Place(tables: 1).store.tableCount) }
    }

    for count in [1, 8] {
        Benchmark("merge, walk \(entries) keys of \(count) tables", configuration: .init(scalingFactor: .one)) {
            benchmark in
            let place = try Place(tables: count)
            benchmark.startMeasurement()
            for _ in benchmark.scaledIterations {
                var walked = place.store.makeIterator()
                var bytes = 0
                try walked.seekToFirst()
                while walked.isValid {
                    bytes += walked.value.count
                    try walked.next()
                }
                blackHole(bytes)
            }
            benchmark.stopMeasurement()
        }
    }
}

/// How many lookups of absent keys the filter ends before a block is read. Without a cache each block read is one system
/// call, so the kernel counts them.
func bloomFilter() {
    let skipped = BenchmarkMetric.custom(
        "absent keys stopped, of 10 000", polarity: .prefersLarger, useScalingFactor: false)
    Benchmark(
        "Bloom filter, 10 bits a key", configuration: .init(metrics: [skipped, .wallClock], scalingFactor: .one)
    ) { benchmark in
        let place = try Place(tables: 1) { $0.memoryBudgetBytes = 0 }
        let lookups = 100_000
        var key = [UInt8](repeating: 0x30, count: 17)
        let before = try ReadCalls.made()
        benchmark.startMeasurement()
        for number in 0..<lookups {
            let wanted = UInt64(scattered(number, below: entries)).bigEndian
            key.withUnsafeMutableBytes { $0.storeBytes(of: wanted, as: UInt64.self) }
            blackHole(try place.store.get(key)?.count)
        }
        benchmark.stopMeasurement()
        let read = min(try ReadCalls.made() - before, lookups)
        benchmark.measurement(skipped, 10_000 * (lookups - read) / lookups)
    }
}
