// The skip list against a sorted array, under readers, at the end of its memory.
import Memory
import Synchronization
import Testing

@testable import Storage

@Suite struct SkipListTests {
    private func makeList(_ capacity: Int = 8 << 20, seed: UInt64 = 1) throws -> SkipList {
        try SkipList(capacity: capacity, source: PageSource(.system), seed: seed)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func agreesWithASortedArray(seed: UInt64) throws {
        var random = SplitMix(seed)
        let list = try makeList(seed: seed)
        var model: [(key: [UInt8], sequence: UInt64, kind: OperationKind, value: [UInt8])] = []
        for sequence in 1...700 as ClosedRange<UInt64> {
            let key = random.key()
            let kind: OperationKind = random.below(5) == 0 ? .delete : .put
            let value = kind == .put ? random.value() : []
            let inserted = insertEntry(list, key, sequence, kind, value)
            try #require(inserted)
            model.append((key, sequence, kind, value))
        }
        model.sort { one, other in
            one.key == other.key ? one.sequence > other.sequence : one.key.lexicographicallyPrecedes(other.key)
        }
        #expect(list.count == model.count)
        checkWalk(list, model.map { ($0.key, $0.sequence, $0.kind, $0.value) }, seed)
        for _ in 0..<500 {
            let key = random.key()
            let limit = random.next() % 800
            let expected = model.first { $0.key == key && $0.sequence <= limit }
            let node = find(list, key, limit)
            #expect((node != 0) == (expected != nil), "seed \(seed)")
            if let expected, node != 0 {
                #expect(list.sequence(of: node) == expected.sequence && list.kind(of: node) == expected.kind)
                #expect(Array(list.value(of: node)) == expected.value, "seed \(seed)")
            }
            let from = seek(list, key)
            let first = model.first { !$0.key.lexicographicallyPrecedes(key) }
            #expect((from == 0) == (first == nil))
            if let first, from != 0 { #expect(Array(list.key(of: from)) == first.key, "seed \(seed)") }
            let before = seekBefore(list, key)
            let last = model.last { $0.key.lexicographicallyPrecedes(key) }
            #expect((before == 0) == (last == nil))
            if let last, before != 0 { #expect(list.sequence(of: before) == last.sequence, "seed \(seed)") }
        }
    }

    private func checkWalk(
        _ list: borrowing SkipList, _ model: [([UInt8], UInt64, OperationKind, [UInt8])], _ seed: UInt64
    ) {
        var node = list.firstNode
        for (key, sequence, kind, value) in model {
            let good =
                node != 0 && Array(list.key(of: node)) == key && list.sequence(of: node) == sequence
                && list.kind(of: node) == kind && Array(list.value(of: node)) == value
            #expect(good, "seed \(seed)")
            if !good { return }
            node = list.node(after: node)
        }
        #expect(node == 0)
        node = list.lastNode
        for (key, sequence, _, _) in model.reversed() {
            let good = node != 0 && Array(list.key(of: node)) == key && list.sequence(of: node) == sequence
            #expect(good, "seed \(seed), backward")
            if !good { return }
            node = list.node(before: node)
        }
        #expect(node == 0)
    }

    @Test func hintsNeverChangeTheAnswer() throws {
        let list = try makeList()
        for number in 0..<1000 {
            let inserted = insertEntry(list, paddedKey(number * 2), UInt64(number + 1), .put, [1])
            try #require(inserted)
        }
        var random = SplitMix(7)
        var hint: SkipListNode = 0
        var next = 0
        for _ in 0..<4000 {
            next = random.below(8) == 0 ? random.below(2100) : next + 1
            let key = paddedKey(next)
            let plain = find(list, key, SkipList.sequenceMax)
            let hinted = key.withUnsafeBytes { list.find($0, hint: &hint) }
            #expect(plain == hinted, "key \(next)")
        }
    }

    @Test func aFullArenaRefusesAndStaysWhole() throws {
        let list = try makeList(16 << 10)
        var inserted = 0
        while insertEntry(list, paddedKey(inserted), UInt64(inserted + 1), .put, [UInt8](repeating: 1, count: 40)) {
            inserted += 1
        }
        #expect(inserted > 100 && list.count == inserted)
        let fits = insertEntry(list, paddedKey(0), 1 << 40, .put, [UInt8](repeating: 1, count: 400))
        #expect(!fits)
        for number in 0..<inserted {
            let node = find(list, paddedKey(number), SkipList.sequenceMax)
            #expect(node != 0)
        }
    }

    /// Readers walk and search while one thread inserts: always sorted, never less than was there before.
    @Test func readersNeverSeeHalfANode() throws {
        let shared = try SharedList()
        let total = 5000
        let failures = Failures()
        let readers: [@Sendable () -> Void] = (0..<2).map { reader in
            { failures.check(shared.readUntilDone(seed: UInt64(reader)), "reader \(reader)") }
        }
        runThreads(readers + [{ failures.check(shared.fill(total), "writer") }])
        #expect(failures.all == [])
        #expect(shared.list.count == total)
    }
}

private final class SharedList: Sendable {
    let list: SkipList
    let done = Atomic<Bool>(false)
    let published = Atomic<Int>(0)

    init() throws { list = try SkipList(capacity: 16 << 20, source: PageSource(.arena), seed: 3) }

    /// Number `n` goes to a scattered key; its value repeats the key.
    static func key(_ number: Int) -> [UInt8] { paddedKey(number &* 7919 % 1_000_003) }

    func fill(_ total: Int) -> Bool {
        defer { done.store(true, ordering: .releasing) }
        for number in 0..<total {
            let key = Self.key(number)
            guard insertEntry(list, key, UInt64(number + 1), .put, key) else { return false }
            published.store(number + 1, ordering: .releasing)
        }
        return true
    }

    func readUntilDone(seed: UInt64) -> Bool {
        var random = SplitMix(seed)
        repeat {
            let known = published.load(ordering: .acquiring)
            for _ in 0..<50 where known > 0 {
                let key = Self.key(random.below(known))
                let node = find(list, key, SkipList.sequenceMax)
                guard node != 0, Array(list.value(of: node)) == key else { return false }
            }
            var node = seek(list, Self.key(random.below(5000)))
            var previous: [UInt8] = []
            for _ in 0..<100 where node != 0 {
                let key = Array(list.key(of: node))
                guard previous.lexicographicallyPrecedes(key), Array(list.value(of: node)) == key else { return false }
                previous = key
                node = list.node(after: node)
            }
        } while !done.load(ordering: .acquiring)
        return true
    }
}

private func insertEntry(
    _ list: borrowing SkipList, _ key: [UInt8], _ sequence: UInt64, _ kind: OperationKind, _ value: [UInt8]
) -> Bool {
    let key = key.span.bytes
    let value = value.span.bytes
    return key.withUnsafeBytes { key in
        value.withUnsafeBytes { value in list.insert(key: key, sequence: sequence, kind: kind, value: value) }
    }
}

private func find(_ list: borrowing SkipList, _ key: [UInt8], _ sequence: UInt64) -> SkipListNode {
    key.withUnsafeBytes { list.find($0, sequence: sequence) }
}

private func seek(_ list: borrowing SkipList, _ key: [UInt8]) -> SkipListNode {
    key.withUnsafeBytes { list.firstNode(from: $0) }
}

private func seekBefore(_ list: borrowing SkipList, _ key: [UInt8]) -> SkipListNode {
    key.withUnsafeBytes { list.lastNode(before: $0) }
}
