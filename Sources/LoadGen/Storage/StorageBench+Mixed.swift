// The verb `mixed`: puts, gets and scans at a steady rate for as long as one likes, while somebody writes down how much
// memory the process has. Its answer is the memory, not the speed.
import LabKit
import Storage

extension StorageBench {
    /// Of a hundred operations.
    private static let puts = 50
    private static let gets = 45
    /// Keys of one scan; the rest of the operations.
    private static let scanKeys = 20
    /// How often memory is written down.
    private static let sampleNanoseconds: UInt64 = 500_000_000
    /// Operations between two looks at the clock.
    private static let groupMax = 64

    func mix(_ thread: Int, _ tally: inout StorageTally) throws(StorageError) {
        var random = SeededRandom(seed: plan.seed, stream: UInt64(thread) + 0x3000)
        var key = StorageKeys(keyBytes: plan.keyBytes)
        var values = StorageValues(valueBytes: plan.valueBytes, seed: plan.seed)
        let buffer = values.buffer
        var batch = WriteBatch()
        let begun = MonotonicClock.now()
        let end = plan.seconds.map { begun + UInt64($0 * 1e9) }
        var sampled = begun
        tally.start = begun
        var now = begun
        while end.map({ now < $0 }) ?? (tally.operations < plan.writes) {
            for _ in 0..<Self.groupMax {
                key.set(random.below(plan.keys))
                let choice = random.below(100)
                if choice < Self.puts {
                    batch.removeAll()
                    try batch.put(key: key.bytes, value: Array(buffer[values.next()]))
                    try subject.write(batch, isSynced: plan.isSynced)
                    tally.bytes += plan.keyBytes + plan.valueBytes
                } else if choice < Self.puts + Self.gets || !subject.isOrdered {
                    guard let value = try subject.store.get(key.bytes) else { continue }
                    tally.found += 1
                    try check(value.count, &tally)
                } else {
                    for entry in try subject.store.scan(from: key.bytes, to: nil, limit: Self.scanKeys) {
                        try check(entry.value.count, &tally)
                    }
                }
            }
            tally.operations += Self.groupMax
            now = MonotonicClock.now()
            if thread == 0, now - sampled >= Self.sampleNanoseconds {
                sampled = now
                if let bytes = ProcessFacts.residentBytes { tally.residentBytes.append(bytes) }
            }
            if Interruption.isRequested { return }
            if let rate = plan.rate {
                let due = begun + UInt64(Double(tally.operations * plan.threads) / rate * 1e9)
                if due > now { MonotonicClock.sleep(seconds: Double(due - now) / 1e9) }
                now = max(now, due)
            }
        }
    }

    private func check(_ valueBytes: Int, _ tally: inout StorageTally) throws(StorageError) {
        tally.bytes += plan.keyBytes + valueBytes
        guard valueBytes == plan.valueBytes else {
            throw .invalidBatch("a value of \(valueBytes) bytes came back where \(plan.valueBytes) were written")
        }
    }
}
