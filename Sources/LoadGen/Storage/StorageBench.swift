// The loops of the verbs: what each thread does, and nothing else inside the measured time. Results are counted, never
// assumed: a value of the wrong size is an error of the run.
import LabKit
import Storage
import Synchronization

/// What one thread did.
struct StorageTally: Sendable {
    var operations = 0
    var found = 0
    /// Keys and values moved.
    var bytes = 0
    /// A sum over what was read, so that the reading can't be left out.
    var touched: UInt64 = 0
    var start: UInt64 = 0
    var end: UInt64 = 0
    /// Only when every operation was timed.
    var latencies: LatencyHistogram?
    var failure: String?
    /// Memory of the process, twice a second; only of mixed.
    var residentBytes: [UInt64] = []

    var seconds: Double { MonotonicClock.seconds(from: start, to: end) }
}

/// Tells the writer of readwhilewriting that the readers are done.
final class StorageFlag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}

struct StorageBench: Sendable {
    let plan: StoragePlan
    let subject: StorageSubject

    /// Looks at the interruption flag once in this many operations.
    private static let interruptionMask = 1023

    /// Runs a verb on its threads. The tally of readwhilewriting's writer is the last one.
    func run(_ verb: StorageVerb) -> [StorageTally] {
        let readers = verb.isSingle ? 1 : plan.threads
        let hasWriter = verb == .readwhilewriting
        let readersDone = StorageFlag()
        let slots = WorkerSlots<StorageTally>(count: readers + (hasWriter ? 1 : 0))
        let counter = StorageCountdown(readers, then: readersDone)
        slots.run { thread in
            var tally = StorageTally()
            if plan.isTimed { tally.latencies = LatencyHistogram() }
            tally.start = MonotonicClock.now()
            do throws(StorageError) {
                if hasWriter, thread == readers {
                    try write(.overwrite, thread, until: readersDone, &tally)
                } else {
                    try measure(verb, thread, &tally)
                }
            } catch {
                tally.failure = error.description
            }
            tally.end = MonotonicClock.now()
            if thread < readers { counter.finish() }
            return tally
        }
        return slots.results
    }

    private func measure(_ verb: StorageVerb, _ thread: Int, _ tally: inout StorageTally) throws(StorageError) {
        switch verb {
        case .fillseq, .fillrandom, .overwrite, .fillsync: try write(verb, thread, until: nil, &tally)
        case .readrandom, .readmissing, .readwhilewriting: try get(verb, thread, &tally)
        case .mixed: try mix(thread, &tally)
        case .multireadrandom: try multiGet(thread, &tally)
        case .readseq: try readInOrder(&tally)
        case .seekrandom: try seek(thread, &tally)
        case .flush: try once(&tally) { () throws(StorageError) in try subject.store.flush() }
        case .waitforcompaction: try once(&tally) { () throws(StorageError) in try subject.settle() }
        case .dropcache: try once(&tally) { () throws(StorageError) in subject.dropPageCache() }
        case .compact: try once(&tally) { () throws(StorageError) in try tree.compact() }
        }
    }

    /// Only for verbs that need order.
    private var tree: LSMStore {
        guard let tree = subject.tree else {
            preconditionFailure(
                "a verb that needs order is refused for an engine without it before the store is opened")
        }
        return tree
    }

    private func once(_ tally: inout StorageTally, _ body: () throws(StorageError) -> Void) throws(StorageError) {
        try body()
        tally.operations = 1
    }

    /// Puts in key order or at random, until the plan's writes are done or `done` is set.
    private func write(
        _ verb: StorageVerb, _ thread: Int, until done: StorageFlag?, _ tally: inout StorageTally
    ) throws(StorageError) {
        var random = SeededRandom(seed: plan.seed, stream: UInt64(thread) + 1)
        var key = StorageKeys(keyBytes: plan.keyBytes)
        var values = StorageValues(valueBytes: plan.valueBytes, seed: plan.seed)
        var batch = WriteBatch()
        let buffer = values.buffer
        let isSynced = plan.isSynced || verb == .fillsync
        var clock = OperationClock(tally)
        // The set-up of the values is not work of the engine.
        tally.start = MonotonicClock.now()
        clock.begin()
        try buffer.withRaw { (buffer) throws(StorageError) in
            while done.map({ !$0.isSet }) ?? (tally.operations < plan.writes) {
                batch.removeAll()
                for offset in 0..<plan.batch {
                    let sequential = (tally.operations + offset) % plan.keys
                    key.set(verb == .fillseq ? sequential : random.below(plan.keys))
                    let value = UnsafeRawBufferPointer(rebasing: buffer[values.next()])
                    try key.bytes.withRaw { (key) throws(StorageError) in try batch.put(key: key, value: value) }
                }
                try subject.write(batch, isSynced: isSynced)
                clock.lap(operations: plan.batch, &tally)
                tally.operations += plan.batch
                tally.bytes += plan.batch * (plan.keyBytes + plan.valueBytes)
                if tally.operations & Self.interruptionMask < plan.batch, Interruption.isRequested { return }
            }
        }
    }

    private func get(_ verb: StorageVerb, _ thread: Int, _ tally: inout StorageTally) throws(StorageError) {
        var random = SeededRandom(seed: plan.seed, stream: UInt64(thread) + 0x1000)
        // One byte more, as in db_bench: no such key was ever written.
        var key = StorageKeys(keyBytes: plan.keyBytes + (verb == .readmissing ? 1 : 0))
        var clock = OperationClock(tally)
        let tree = subject.tree
        clock.begin()
        while tally.operations < plan.reads {
            key.set(random.below(plan.keys))
            // As db_bench, which reads into a PinnableSlice: no array is made. Both ends of the value are touched, as
            // by somebody who uses it.
            var valueBytes = 0
            let isFound = try key.bytes.withRaw { (key) throws(StorageError) in
                if let tree {
                    return try tree.withValue(of: key) { value in
                        valueBytes = value.count
                        tally.touched &+= UInt64(value.first ?? 0) &+ UInt64(value.last ?? 0)
                    }
                }
                guard let value = try subject.store.get(key) else { return false }
                valueBytes = value.count
                tally.touched &+= UInt64(value.first ?? 0) &+ UInt64(value.last ?? 0)
                return true
            }
            if isFound {
                tally.found += 1
                tally.bytes += key.bytes.count + valueBytes
                try check(valueBytes)
            }
            clock.lap(operations: 1, &tally)
            tally.operations += 1
            if tally.operations & Self.interruptionMask == 0, Interruption.isRequested { return }
        }
    }

    /// Keys of one call of multireadrandom.
    static let multiGetKeys = 32

    private func multiGet(_ thread: Int, _ tally: inout StorageTally) throws(StorageError) {
        var random = SeededRandom(seed: plan.seed, stream: UInt64(thread) + 0x1000)
        var key = StorageKeys(keyBytes: plan.keyBytes)
        var clock = OperationClock(tally)
        clock.begin()
        while tally.operations < plan.reads {
            let keys = (0..<Self.multiGetKeys).map { _ in
                key.set(random.below(plan.keys))
                return key.bytes
            }
            for value in try tree.multiGet(keys) {
                guard let value else { continue }
                tally.found += 1
                tally.bytes += plan.keyBytes + value.count
                try check(value.count)
            }
            clock.lap(operations: keys.count, &tally)
            tally.operations += keys.count
            if tally.operations & Self.interruptionMask < keys.count, Interruption.isRequested { return }
        }
    }

    private func readInOrder(_ tally: inout StorageTally) throws(StorageError) {
        var clock = OperationClock(tally)
        clock.begin()
        var entries = tree.makeIterator()
        try entries.seekToFirst()
        while entries.isValid, tally.operations < plan.reads {
            tally.bytes += entries.key.count + entries.value.count
            try check(entries.value.count)
            try entries.next()
            clock.lap(operations: 1, &tally)
            tally.operations += 1
            if tally.operations & Self.interruptionMask == 0, Interruption.isRequested { return }
        }
    }

    /// A new iterator for each seek, as in db_bench: what opening one costs is part of the answer.
    private func seek(_ thread: Int, _ tally: inout StorageTally) throws(StorageError) {
        var random = SeededRandom(seed: plan.seed, stream: UInt64(thread) + 0x2000)
        var key = StorageKeys(keyBytes: plan.keyBytes)
        var clock = OperationClock(tally)
        clock.begin()
        while tally.operations < plan.reads {
            let number = random.below(plan.keys)
            key.set(number)
            var entries = tree.makeIterator()
            try key.bytes.withRaw { (key) throws(StorageError) in try entries.seek(key) }
            if entries.isValid, entries.key.count == plan.keyBytes, StorageKeys.number(of: entries.key) == number {
                tally.found += 1
            }
            for _ in 0..<plan.seekNexts where entries.isValid {
                tally.bytes += entries.key.count + entries.value.count
                try entries.next()
            }
            clock.lap(operations: 1, &tally)
            tally.operations += 1
            if tally.operations & Self.interruptionMask == 0, Interruption.isRequested { return }
        }
    }

    private func check(_ valueBytes: Int) throws(StorageError) {
        guard valueBytes == plan.valueBytes else {
            throw .invalidBatch("a value of \(valueBytes) bytes came back where \(plan.valueBytes) were written")
        }
    }
}

/// Sets a flag when the last of several threads is done.
private final class StorageCountdown: Sendable {
    private let remaining: Atomic<Int>
    private let flag: StorageFlag

    init(_ count: Int, then flag: StorageFlag) {
        remaining = Atomic(count)
        self.flag = flag
    }

    func finish() {
        if remaining.subtract(1, ordering: .relaxed).newValue == 0 { flag.set() }
    }
}

/// Times operations when the run asked for it; otherwise costs one branch.
private struct OperationClock {
    private let isTimed: Bool
    private var last: UInt64 = 0

    init(_ tally: StorageTally) {
        isTimed = tally.latencies != nil
    }

    mutating func begin() {
        if isTimed { last = MonotonicClock.now() }
    }

    /// A group of operations counts as that many of equal length.
    mutating func lap(operations: Int, _ tally: inout StorageTally) {
        guard isTimed, operations > 0 else { return }
        let now = MonotonicClock.now()
        let each = (now - last) / UInt64(operations)
        for _ in 0..<operations { tally.latencies?.record(each) }
        last = now
    }
}

extension [UInt8] {
    /// As `withUnsafeBytes`, with a typed error.
    fileprivate func withRaw<Value>(
        _ body: (UnsafeRawBufferPointer) throws(StorageError) -> Value
    ) throws(StorageError) -> Value {
        try span.bytes.withUnsafeBytes { (bytes) throws(StorageError) in try body(bytes) }
    }
}
