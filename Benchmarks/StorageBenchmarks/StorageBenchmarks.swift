// The store piece by piece, through its public face: the skip list alone, then a store whose tables sit in the page
// cache. What a piece costs shows as the difference: an absent key costs the Bloom filter, a present one a block more.
import Benchmark
import Glibc
import Memory
import PosixIO
import Storage

/// db_bench's keys: a big-endian number, padded.
private struct Key {
    private(set) var bytes = [UInt8](repeating: 0x30, count: 16)

    mutating func set(_ number: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: UInt64(number).bigEndian, as: UInt64.self) }
    }
}

/// SplitMix64's finalizer: the same choices in every run.
private func scattered(_ number: Int, below bound: Int) -> Int {
    var z = UInt64(number) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((z ^ (z >> 31)).multipliedFullWidth(by: UInt64(bound)).high)
}

private let entries = 100_000
private let value = [UInt8](repeating: 0x5A, count: 100)

/// A skip list of `entries` even numbers, in key order or scattered.
private func filledList(inOrder: Bool) throws -> SkipList {
    let bytes = SkipList.bytesNeeded(keyBytes: 16, valueBytes: value.count) * entries + 1 << 20
    let list = try SkipList(capacity: bytes, source: PageSource(.arena), seed: 1)
    fill(list, inOrder: inOrder, count: entries)
    return list
}

private func fill(_ list: borrowing SkipList, inOrder: Bool, count: Int) {
    var key = Key()
    for number in 0..<count {
        key.set(inOrder ? number : scattered(number, below: entries))
        key.bytes.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                blackHole(list.insert(key: key, sequence: UInt64(number + 1), kind: .put, value: value))
            }
        }
    }
}

/// A store in a temporary folder, gone when the benchmark ends.
private final class Place {
    let store: LSMStore
    private let folder: String

    /// - Parameter tables: the keys are spread over this many tables, each of which holds a share of every range.
    init(tables: Int) throws {
        var template = Array("/tmp/strata-benchmark-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure.noFolder }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        store = try LSMStore.open(directory: folder, fileSystem: PosixFileSystem(), options: LSMOptions())
        var key = Key()
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

    enum Failure: Error { case noFolder }

    deinit {
        store.close()
        guard let names = opendir(folder) else { return }
        while let entry = readdir(names) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { unlink(folder + "/" + name) }
        }
        closedir(names)
        rmdir(folder)
    }
}

private func skipList() {
    for inOrder in [true, false] {
        let order = inOrder ? "in order" : "scattered"
        Benchmark("skip list, \(entries) inserts \(order)", configuration: .init(scalingFactor: .one)) { benchmark in
            for _ in benchmark.scaledIterations { blackHole(try filledList(inOrder: inOrder).count) }
        }
        Benchmark("skip list, get \(order)") { benchmark in
            let list = try filledList(inOrder: inOrder)
            var key = Key()
            var hint: SkipListNode = 0
            benchmark.startMeasurement()
            for number in benchmark.scaledIterations {
                key.set(inOrder ? number % entries : scattered(number, below: entries))
                key.bytes.withUnsafeBytes { key in
                    blackHole(inOrder ? list.find(key, hint: &hint) : list.find(key))
                }
            }
            benchmark.stopMeasurement()
        }
    }
}

private func tables() {
    Benchmark("batch of 100 puts, encode") { benchmark in
        var batch = WriteBatch()
        var key = Key()
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

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], scalingFactor: .kilo, maxDuration: .seconds(2), maxIterations: 1000)
    skipList()
    tables()
}
