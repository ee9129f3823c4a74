// The memtable alone: inserts and gets in key order, scattered, in sorted batches, by several threads, and through the
// hash index.
import Benchmark
import Glibc
import Memory
import Storage

private func emptyList() throws -> SkipList {
    let bytes = SkipList.bytesNeeded(keyBytes: 16, valueBytes: value.count) * entries + 1 << 20
    return try SkipList(capacity: bytes, source: PageSource(.arena), seed: 1)
}

private func insert(into list: borrowing SkipList, _ key: BenchmarkKey, sequence: Int) -> Bool {
    key.bytes.withUnsafeBytes { key in
        value.withUnsafeBytes { value in
            list.insert(key: key, sequence: UInt64(sequence), kind: .put, value: value)
        }
    }
}

/// A skip list of `entries` numbers, in key order or scattered.
private func filledList(inOrder: Bool) throws -> SkipList {
    let list = try emptyList()
    var key = BenchmarkKey()
    for number in 0..<entries {
        key.set(inOrder ? number : scattered(number, below: entries))
        blackHole(insert(into: list, key, sequence: number + 1))
    }
    return list
}

func skipList() {
    for inOrder in [true, false] {
        let order = inOrder ? "in order" : "scattered"
        Benchmark("skip list, \(entries) inserts \(order)", configuration: .init(scalingFactor: .one)) { benchmark in
            for _ in benchmark.scaledIterations { blackHole(try filledList(inOrder: inOrder).count) }
        }
        Benchmark("skip list, get \(order)") { benchmark in
            let list = try filledList(inOrder: inOrder)
            var key = BenchmarkKey()
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
    sortedBatches()
    severalWriters()
    hashIndex()
}

/// Sorted batches of 100 keys that begin anywhere, as a state machine applies them.
private func sortedBatches() {
    Benchmark("skip list, \(entries) inserts in sorted batches of 100", configuration: .init(scalingFactor: .one)) {
        benchmark in
        for _ in benchmark.scaledIterations {
            let list = try emptyList()
            var key = BenchmarkKey()
            for number in 0..<entries {
                key.set(scattered(number / 100, below: entries) * 1000 + number % 100)
                blackHole(insert(into: list, key, sequence: number + 1))
            }
        }
    }
}

/// The same scattered keys, dealt to threads that insert at the same time.
private func severalWriters() {
    for threads in [1, 2, 4] {
        Benchmark(
            "skip list, \(entries) concurrent inserts scattered, \(threads) threads",
            configuration: .init(scalingFactor: .one)
        ) { benchmark in
            for _ in benchmark.scaledIterations {
                let shared = SharedList(try emptyList())
                runThreads(threads) { thread in
                    let writer = SkipListWriter(shared.list, seed: UInt64(thread + 1))
                    var key = BenchmarkKey()
                    for number in stride(from: thread, to: entries, by: threads) {
                        key.set(scattered(number, below: entries))
                        let isInserted = key.bytes.withUnsafeBytes { key in
                            value.withUnsafeBytes { value in
                                shared.list.insertConcurrently(
                                    key: key, sequence: UInt64(number + 1), kind: .put, value: value, writer: writer)
                            }
                        }
                        precondition(isInserted, "the list has room for all entries")
                    }
                }
                blackHole(shared.list.count)
            }
        }
    }
}

/// Point reads of a store that holds everything in its memtable, with and without the hash index.
private func hashIndex() {
    for hasIndex in [false, true] {
        Benchmark("memtable, get scattered, \(hasIndex ? "with" : "without") hash index") { benchmark in
            let place = try Place(tables: 0) { $0.memtableHashIndex = hasIndex }
            try place.fill()
            var key = BenchmarkKey()
            benchmark.startMeasurement()
            for number in benchmark.scaledIterations {
                key.set(scattered(number, below: entries))
                let isFound = try key.bytes.withUnsafeBytes { key in
                    try place.store.withValue(of: key) { blackHole($0.count) }
                }
                blackHole(isFound)
            }
            benchmark.stopMeasurement()
        }
    }
}

private final class SharedList: Sendable {
    let list: SkipList
    init(_ list: consuming SkipList) { self.list = list }
}

/// Runs the body on threads of its own and waits for them.
private func runThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let threads = (0..<count).map { number in
        var thread = pthread_t()
        let work = Unmanaged.passRetained(ThreadWork { body(number) })
        let outcome = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<ThreadWork>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, work.toOpaque())
        precondition(outcome == 0, "a thread starts")
        return thread
    }
    for thread in threads { pthread_join(thread, nil) }
}

private final class ThreadWork {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
