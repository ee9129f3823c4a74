// The hash sidecar answers exactly as the skip list does: for every key, at every sequence, while it grows, and when it
// has given up.
import Memory
import SimulatedIO
import Synchronization
import Testing

@testable import Storage

@Suite struct MemTableIndexTests {
    private func makeTables(_ capacity: Int = 4 << 20) throws -> (plain: MemTable, indexed: MemTable) {
        let source = try PageSource(.system)
        return (
            try MemTable(capacity: capacity, source: source, seed: 1),
            try MemTable(capacity: capacity, source: source, seed: 2, hasIndex: true)
        )
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func agreesWithTheList(seed: UInt64) throws {
        var random = SplitMix(seed)
        let (plain, indexed) = try makeTables()
        let last: UInt64 = 3000
        for sequence in 1...last {
            // Some keys with dozens of versions, some alone.
            let key = random.below(3) == 0 ? random.key() : paddedKey(random.below(100_000))
            let kind: OperationKind = random.below(5) == 0 ? .delete : .put
            let value = kind == .put ? random.value() : []
            for table in [plain, indexed] {
                let fits = put(table, key, sequence, kind, value)
                try #require(fits)
            }
            if random.below(500) == 0 {
                for table in [plain, indexed] {
                    table.deletes.add(
                        RangeTombstone(start: bytes("user:"), end: bytes("user:\u{7f}"), sequence: sequence))
                }
            }
        }
        for _ in 0..<4000 {
            let key = random.below(2) == 0 ? random.key() : paddedKey(random.below(100_000))
            let sequence = random.below(4) == 0 ? SkipList.sequenceMax : random.next() % (last + 10)
            #expect(
                look(plain, key, sequence) == look(indexed, key, sequence), "seed \(seed) key \(key) at \(sequence)")
        }
    }

    @Test func theBudgetCountsIt() throws {
        var options = LSMOptions()
        options.memtableBytes = 256 << 10
        options.memoryBudgetBytes = 8 << 20
        options.memtableHashIndex = true
        options.allocator = .system
        let store = try LSMStore.open(
            directory: "data", fileSystem: SimulatedFileSystem(seed: 1), options: options)
        var index: UInt64 = 0
        while store.currentView().sealed.isEmpty {
            index += 1
            var batch = WriteBatch()
            try batch.put(key: paddedKey(Int(index)), value: [1])
            _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
        }
        let sealed = try #require(store.currentView().sealed.first)
        #expect(sealed.table.indexBytes >= 8 * Int(index))
        // The active one will take as much.
        #expect(store.cache.capacityBytes == options.cacheBytes(pinned: 2 * sealed.table.indexBytes))
    }

    @Test func growsWithoutLosingAKey() throws {
        let (_, indexed) = try makeTables()
        let count = MemTableIndex.slotsMin * 12
        for number in 0..<count {
            let fits = put(indexed, paddedKey(number), UInt64(number + 1), .put, [UInt8(number & 255)])
            try #require(fits)
        }
        #expect(indexed.hasWorkingIndex)
        for number in 0..<count {
            #expect(look(indexed, paddedKey(number), SkipList.sequenceMax) == .found([UInt8(number & 255)]))
        }
        #expect(look(indexed, paddedKey(count), SkipList.sequenceMax) == .absent)
    }

    @Test func collidingHashesEndInTheList() throws {
        let source = try PageSource(.system)
        let list = try SkipList(capacity: 1 << 20, source: source, seed: 1)
        let index = try MemTableIndex(memtableBytes: 1 << 16, source: source)
        for number in 0..<2000 {
            let key = paddedKey(number)
            let node = key.withUnsafeBytes { key in
                list.insertNode(key: key, sequence: UInt64(number + 1), kind: .put, value: key)
            }
            try #require(node != 0)
            key.withUnsafeBytes { index.insert($0, hash: 77 << 32, node: node, in: list) }
        }
        let isOn = index.isOn
        #expect(!isOn)
        let answer = paddedKey(5).withUnsafeBytes { key -> Bool in
            if case .unknown = index.find(key, hash: 77 << 32, in: list) { true } else { false }
        }
        #expect(answer)
    }

    /// Readers ask for what was published while the index doubles several times.
    @Test func readersFindEverythingWhileItGrows() throws {
        let shared = try SharedTable()
        let failures = Failures()
        let readers: [@Sendable () -> Void] = (0..<2).map { reader in
            { failures.check(shared.readUntilDone(seed: UInt64(reader)), "reader \(reader)") }
        }
        runThreads(readers + [{ failures.check(shared.fill(6000), "writer") }])
        #expect(failures.all == [])
        #expect(shared.table.hasWorkingIndex)
    }
}

private final class SharedTable: Sendable {
    let table: MemTable
    private let done = Atomic<Bool>(false)
    private let published = Atomic<Int>(0)

    init() throws {
        table = try MemTable(capacity: 8 << 20, source: PageSource(.arena), seed: 3, hasIndex: true)
    }

    private static func key(_ number: Int) -> [UInt8] { paddedKey(number &* 7919 % 1_000_003) }

    func fill(_ total: Int) -> Bool {
        defer { done.store(true, ordering: .releasing) }
        for number in 0..<total {
            let key = Self.key(number)
            guard put(table, key, UInt64(number + 1), .put, key) else { return false }
            published.store(number + 1, ordering: .releasing)
        }
        return true
    }

    func readUntilDone(seed: UInt64) -> Bool {
        var random = SplitMix(seed)
        repeat {
            let known = published.load(ordering: .acquiring)
            for _ in 0..<100 where known > 0 {
                let key = Self.key(random.below(known))
                guard look(table, key, UInt64(known)) == .found(key) else { return false }
            }
        } while !done.load(ordering: .acquiring)
        return true
    }
}

private enum Seen: Equatable {
    case absent
    case deleted
    case found([UInt8])
}

private func put(
    _ table: MemTable, _ key: [UInt8], _ sequence: UInt64, _ kind: OperationKind, _ value: [UInt8]
) -> Bool {
    key.withUnsafeBytes { key in
        value.withUnsafeBytes { value in table.insert(key: key, sequence: sequence, kind: kind, value: value) }
    }
}

private func look(_ table: MemTable, _ key: [UInt8], _ sequence: UInt64) -> Seen {
    key.withUnsafeBytes { key in
        switch table.find(key, hash: keyHash(key), sequence: sequence) {
        case .absent: .absent
        case .deleted: .deleted
        case .found(let node): .found([UInt8](table.list.value(of: node)))
        }
    }
}
