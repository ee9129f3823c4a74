// Several threads insert into one skip list at the same time: nothing is lost, the order holds in both directions at
// every moment, and a lone writer goes on afterwards.
import Memory
import Synchronization
import Testing

@testable import Storage

@Suite struct SkipListWriterTests {
    /// How the keys are dealt to the threads.
    enum Deal: CaseIterable {
        /// A range each.
        case disjoint
        /// Every fourth.
        case interleaved
        /// All threads write versions of the same few keys.
        case versions
        /// In a scattered order.
        case scattered
    }

    @Test(arguments: Deal.allCases) func nothingIsLost(deal: Deal) throws {
        let shared = try SharedWriters(deal, perThread: 1500)
        let failures = Failures()
        var bodies: [@Sendable () -> Void] = (0..<SharedWriters.threads).map { thread in
            { failures.check(shared.write(thread), "writer \(thread)") }
        }
        bodies.append({ failures.check(shared.walkForward(), "reader forward") })
        bodies.append({ failures.check(shared.walkBackward(), "reader backward") })
        runThreads(bodies)
        #expect(failures.all == [])
        shared.checkAll()
        // The list's own splice knows nothing of what the writers did.
        for number in 0..<200 { #expect(shared.insertAlone(number)) }
        shared.checkAll(extra: 200)
    }

    @Test func aFullArenaRefusesAllWriters() throws {
        let list = try SkipList(capacity: 32 << 10, source: PageSource(.system), seed: 1)
        let writers = [SkipListWriterBox(list, 1), SkipListWriterBox(list, 2)]
        var inserted = 0
        while writers[inserted & 1].insert(list, paddedKey(inserted), UInt64(inserted + 1)) { inserted += 1 }
        #expect(inserted > 200 && list.count == inserted && list.freeBytes >= 0)
        for number in 0..<inserted {
            let node = paddedKey(number).withUnsafeBytes { list.find($0) }
            #expect(node != 0)
        }
    }

    /// Sorted batches that begin anywhere, and single keys between them: near starts give the same list as far ones.
    @Test(arguments: [1, 2] as [UInt64]) func nearKeysKeepTheOrder(seed: UInt64) throws {
        var random = SplitMix(seed)
        let list = try SkipList(capacity: 8 << 20, source: PageSource(.system), seed: seed)
        var model: Set<Int> = []
        var sequence: UInt64 = 0
        for _ in 0..<200 {
            var number = random.below(1_000_000)
            let step = [1, -1, 3, -7, 1000][random.below(5)]
            for _ in 0..<random.below(40) {
                number += step
                guard number >= 0 else { break }
                sequence += 1
                let fits = paddedKey(number).withUnsafeBytes { key in
                    list.insert(key: key, sequence: sequence, kind: .put, value: key)
                }
                try #require(fits)
                model.insert(number)
            }
        }
        var last: [UInt8] = []
        var seen: Set<[UInt8]> = []
        var node = list.firstNode
        var count = 0
        while node != 0 {
            let key = Array(list.key(of: node))
            #expect(!key.lexicographicallyPrecedes(last), "seed \(seed)")
            last = key
            seen.insert(key)
            count += 1
            node = list.node(after: node)
        }
        #expect(count == Int(sequence) && seen == Set(model.map(paddedKey)), "seed \(seed)")
        for number in model {
            let node = paddedKey(number).withUnsafeBytes { list.find($0) }
            #expect(node != 0, "seed \(seed)")
        }
    }
}

private final class SkipListWriterBox: Sendable {
    private let writer: SkipListWriter
    init(_ list: borrowing SkipList, _ seed: UInt64) { writer = SkipListWriter(list, seed: seed) }

    func insert(_ list: borrowing SkipList, _ key: [UInt8], _ sequence: UInt64) -> Bool {
        key.withUnsafeBytes { key in
            list.insertConcurrently(key: key, sequence: sequence, kind: .put, value: key, writer: writer)
        }
    }
}

private final class SharedWriters: Sendable {
    static let threads = 4
    private let list: SkipList
    private let deal: SkipListWriterTests.Deal
    private let perThread: Int
    private let finished = Atomic<Int>(0)

    init(_ deal: SkipListWriterTests.Deal, perThread: Int) throws {
        self.deal = deal
        self.perThread = perThread
        list = try SkipList(capacity: 8 << 20, source: PageSource(.arena), seed: 3)
    }

    private var total: Int { Self.threads * perThread }

    /// What a thread's n-th insert is; sequences differ among all.
    private func entry(_ thread: Int, _ number: Int) -> (key: [UInt8], sequence: UInt64) {
        let global = number * Self.threads + thread
        let key =
            switch deal {
            case .disjoint: thread * perThread + number
            case .interleaved: global
            case .versions: global % 7
            case .scattered: global &* 7919 % 1_000_003
            }
        return (paddedKey(key), UInt64(global + 1))
    }

    func write(_ thread: Int) -> Bool {
        defer { finished.add(1, ordering: .acquiringAndReleasing) }
        let writer = SkipListWriter(list, seed: UInt64(thread + 10))
        for number in 0..<perThread {
            let (key, sequence) = entry(thread, number)
            let isInserted = key.withUnsafeBytes { key in
                list.insertConcurrently(key: key, sequence: sequence, kind: .put, value: key, writer: writer)
            }
            guard isInserted else { return false }
            // What a writer has inserted it finds, also while the others go on.
            let node = key.withUnsafeBytes { list.find($0, sequence: sequence) }
            guard node != 0, list.sequence(of: node) == sequence else { return false }
        }
        return true
    }

    private func precedes(_ one: SkipListNode, _ other: SkipListNode) -> Bool {
        let order = compare(list.key(of: one), list.key(of: other))
        return order < 0 || order == 0 && list.trailer(of: one) > list.trailer(of: other)
    }

    func walkForward() -> Bool {
        repeat {
            var node = list.firstNode
            while node != 0 {
                guard equal(list.value(of: node).baseAddress, list.key(of: node)) else { return false }
                let following = list.node(after: node)
                guard following == 0 || precedes(node, following) else { return false }
                node = following
            }
        } while finished.load(ordering: .acquiring) < Self.threads
        return true
    }

    func walkBackward() -> Bool {
        repeat {
            var node = list.lastNode
            while node != 0 {
                let before = list.node(before: node)
                guard before == 0 || precedes(before, node) else { return false }
                node = before
            }
        } while finished.load(ordering: .acquiring) < Self.threads
        return true
    }

    func insertAlone(_ number: Int) -> Bool {
        paddedKey(number * 31).withUnsafeBytes { key in
            list.insert(key: key, sequence: UInt64(total + number + 1), kind: .put, value: key)
        }
    }

    func checkAll(extra: Int = 0) {
        #expect(list.count == total + extra)
        var forward: [SkipListNode] = []
        var node = list.firstNode
        while node != 0 {
            forward.append(node)
            node = list.node(after: node)
        }
        var backward: [SkipListNode] = []
        node = list.lastNode
        while node != 0 {
            backward.append(node)
            node = list.node(before: node)
        }
        #expect(forward.count == total + extra && forward == backward.reversed())
        #expect(zip(forward, forward.dropFirst()).allSatisfy { precedes($0, $1) })
        for thread in 0..<Self.threads {
            for number in 0..<perThread {
                let (key, sequence) = entry(thread, number)
                let node = key.withUnsafeBytes { list.find($0, sequence: sequence) }
                #expect(node != 0 && list.sequence(of: node) == sequence)
            }
        }
    }
}

private func equal(_ one: UnsafeRawPointer?, _ other: UnsafeRawBufferPointer) -> Bool {
    guard let one else { return other.isEmpty }
    return compare(UnsafeRawBufferPointer(start: one, count: other.count), other) == 0
}
