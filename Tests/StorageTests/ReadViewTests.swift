// Readers that hold no reference while memtables are sealed, written out and compacted under them: every answer is
// right, nothing that somebody reads from is freed, and what nobody reads from is.
import FileIO
import Glibc
import Memory
import SimulatedIO
import Synchronization
import Testing

@testable import Storage

@Suite struct ReadViewTests {
    private static let keys = 200

    @Test(arguments: [false, true]) func readersNeverMissWhatWasAppliedWhileViewsGo(hasIndex: Bool) throws {
        let store = try LSMStoreTests.open(
            SimulatedFileSystem(seed: 1),
            LSMStoreTests.options {
                $0.memtableBytes = 16 << 10
                $0.level0Trigger = 2
                $0.levelBaseBytes = 32 << 10
                $0.memtableHashIndex = hasIndex
            })
        let work = Work(store)
        let failures = Failures()
        var bodies: [@Sendable () -> Void] = (0..<3).map { reader in
            { failures.check("reader \(reader)") { try work.read(seed: UInt64(reader)) } }
        }
        bodies.append({ failures.check("writer") { try work.write(rounds: 60, keys: Self.keys) } })
        bodies.append({ failures.check("maintenance") { try work.maintain() } })
        runThreads(bodies)
        #expect(failures.all == [])
        while try store.performMaintenance() {}
        // The last replacement may have met a reader; the next call finds none.
        _ = try store.performMaintenance()
        #expect(work.replaced > 20 && store.views.retiredCount == 0, "all views but one are gone")
    }

    @Test func aViewGoesWithItsLastReader() throws {
        let views = ReadViews(try Self.view())
        weak let first = views.retained()
        let reader = views.enter()
        views.replace { $0.with(version: .empty) }
        views.reclaim()
        #expect(first != nil && views.retiredCount == 1)
        let later = views.enter()
        views.leave(reader)
        views.reclaim()
        #expect(first == nil && views.retiredCount == 0, "a reader of the next view does not hold the old one")
        views.leave(later)
    }

    @Test func moreReadersThanSlotsCountReferences() throws {
        let views = ReadViews(try Self.view())
        weak let first = views.retained()
        let readers = (0..<ReadViews.slotCount + 3).map { _ in views.enter() }
        views.replace { $0.with(version: .empty) }
        for reader in readers.prefix(ReadViews.slotCount) { views.leave(reader) }
        views.reclaim()
        #expect(first != nil && views.retiredCount == 0, "three references are left")
        for reader in readers.suffix(3) { views.leave(reader) }
        #expect(first == nil)
    }

    private static func view() throws -> ReadView {
        ReadView(
            active: try MemTable(capacity: 1 << 14, source: PageSource(.system), seed: 1), sealed: [], version: .empty)
    }
}

/// Every key's value is the number of a round; rounds only grow.
private final class Work: Sendable {
    let store: LSMStore
    private let done = Atomic<Bool>(false)
    private let round = Atomic<Int>(0)
    private let steps = Atomic<Int>(0)

    init(_ store: LSMStore) { self.store = store }

    var replaced: Int { steps.load(ordering: .relaxed) }

    func write(rounds: Int, keys: Int) throws -> Bool {
        defer { done.store(true, ordering: .releasing) }
        for number in 1...rounds {
            var batch = WriteBatch()
            for key in 0..<keys {
                try batch.put(key: paddedKey(key), value: [UInt8](repeating: UInt8(number), count: 40))
            }
            // Without it the writer is done before maintenance has begun.
            while store.needsBackpressure { sched_yield() }
            _ = try store.apply(batch, at: LogPosition(index: UInt64(number), term: 1))
            round.store(number, ordering: .releasing)
        }
        return true
    }

    func maintain() throws -> Bool {
        while !done.load(ordering: .acquiring) {
            if try store.performMaintenance() { steps.add(1, ordering: .relaxed) }
        }
        return true
    }

    func read(seed: UInt64) throws -> Bool {
        var random = SplitMix(seed)
        repeat {
            let known = round.load(ordering: .acquiring)
            for _ in 0..<30 where known > 0 {
                let key = paddedKey(random.below(200))
                var seen = 0
                let isFound = try key.withUnsafeBytes { key in
                    try store.withValue(of: key) { value in
                        // All bytes are of one round: memory that was freed would show.
                        seen = value.count == 40 && value.allSatisfy { $0 == value[0] } ? Int(value[0]) : 0
                    }
                }
                guard isFound, seen >= known else { return false }
                guard let copy = try store.get(key), Int(copy[0]) >= seen else { return false }
            }
            guard try known == 0 || store.scan(from: [], to: nil, limit: 50).count == 50 else { return false }
        } while !done.load(ordering: .acquiring)
        return true
    }
}
