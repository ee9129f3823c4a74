// Range deletes where they are hard: between snapshots, across tables and levels, alone in a table; and checkpoints,
// which have to carry them like everything else.
import FileIO
import SimulatedIO
import Testing

@testable import Storage

@Suite struct RangeDeleteTests {
    private func put(_ numbers: [Int], _ store: LSMStore, _ text: String = "v") throws {
        var batch = WriteBatch()
        for number in numbers { try batch.put(key: paddedKey(number), value: bytes(text)) }
        _ = try store.apply(batch, at: LogPosition(index: store.applied.index + 1, term: 1))
    }

    private func deleteRange(_ from: Int, _ to: Int, _ store: LSMStore) throws {
        var batch = WriteBatch()
        try batch.deleteRange(from: paddedKey(from), to: paddedKey(to))
        _ = try store.apply(batch, at: LogPosition(index: store.applied.index + 1, term: 1))
    }

    private func keys(_ store: LSMStore, _ snapshot: Snapshot? = nil) throws -> [Int] {
        var entries = store.makeIterator(IteratorOptions(snapshot: snapshot))
        var found: [Int] = []
        try entries.seekToFirst()
        while entries.isValid {
            found.append(Int(String(decoding: [UInt8](entries.key), as: UTF8.self)) ?? -1)
            try entries.next()
        }
        for number in 0..<20 {
            let key = paddedKey(number)
            let value = try snapshot.map { try store.get(key, at: $0) } ?? store.get(key)
            #expect((value != nil) == found.contains(number), "key \(number)")
        }
        return found
    }

    private func settle(_ store: LSMStore) throws {
        for _ in 0..<1000 where try !store.performMaintenance() { return }
    }

    @Test func eachMomentSeesItsOwnDeletes() throws {
        let store = try LSMStoreTests.open(SimulatedFileSystem(seed: 1), CompactionTests.options())
        try put(Array(0..<10), store)
        let whole = store.snapshot()
        try deleteRange(2, 5, store)
        let holed = store.snapshot()
        try put([3], store, "again")
        let mended = store.snapshot()
        try deleteRange(0, 4, store)
        func check() throws {
            #expect(try keys(store, whole) == Array(0..<10))
            #expect(try keys(store, holed) == [0, 1, 5, 6, 7, 8, 9])
            #expect(try keys(store, mended) == [0, 1, 3, 5, 6, 7, 8, 9])
            #expect(try keys(store) == [5, 6, 7, 8, 9])
        }
        try check()
        try store.flush()
        try check()
        try store.compact()
        try check()
        try put([2], store)
        try store.flush()
        try store.compact()
        #expect(try keys(store) == [2, 5, 6, 7, 8, 9] && keys(store, holed).count == 7)
        _ = (whole, holed, mended)
    }

    @Test func aTableCanHoldNothingButARangeDelete() throws {
        let system = SimulatedFileSystem(seed: 1)
        var store = try LSMStoreTests.open(system, CompactionTests.options())
        try put(Array(0..<10), store)
        try store.flush()
        let snapshot = store.snapshot()
        try deleteRange(4, 8, store)
        try store.flush()
        #expect(try keys(store) == [0, 1, 2, 3, 8, 9])
        store.close()
        store = try LSMStoreTests.open(system, CompactionTests.options())
        #expect(try keys(store) == [0, 1, 2, 3, 8, 9])
        try deleteRange(0, 20, store)
        try store.flush()
        try settle(store)
        #expect(try keys(store) == [])
        try store.compact()
        #expect(store.tableCount == 0)
        _ = snapshot
    }

    @Test func anEmptyRangeDeletesNothing() throws {
        let store = try LSMStoreTests.open(SimulatedFileSystem(seed: 1), CompactionTests.options())
        try put(Array(0..<10), store)
        try deleteRange(5, 5, store)
        try deleteRange(7, 3, store)
        #expect(try keys(store) == Array(0..<10))
        #expect(store.lastSequence == 12)
    }

    @Test func aLargeDeletedRangeLeavesNoFiles() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try LSMStoreTests.open(system, CompactionTests.options())
        for round in 0..<40 {
            try put(Array(round * 10..<round * 10 + 10), store, String(repeating: "x", count: 200))
            try settle(store)
        }
        try deleteRange(0, 1000, store)
        try store.compact()
        #expect(store.tableCount == 0)
        #expect(try system.files(in: LSMStoreTests.folder, suffix: ".sst").isEmpty)
    }

    @Test func damagedRangeDeletesShow() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try LSMStoreTests.open(system, CompactionTests.options())
        try put([1], store)
        try deleteRange(4, 8, store)
        try store.flush()
        let table = try #require(store.currentView().version.levels[0].first)
        store.close()
        let size = try system.bytes(table.file.path).count
        for position in 0..<size {
            try system.damage(table.file.path, at: UInt64(position), mask: 1)
            let opened = try? LSMStoreTests.open(system, CompactionTests.options())
            if let opened {
                #expect(throws: StorageError.self, "byte \(position)") { try opened.verify() }
                opened.close()
            }
            try system.damage(table.file.path, at: UInt64(position), mask: 1)
        }
    }

    @Test func checkpointsAreStoresOfTheirOwn() throws {
        let system = SimulatedFileSystem(seed: 1)
        let store = try LSMStoreTests.open(system, CompactionTests.options())
        for round in 0..<20 {
            try put(Array(round * 3..<round * 3 + 10), store, String(repeating: "x", count: 300))
            try settle(store)
        }
        try deleteRange(10, 20, store)
        let hash = try store.stateHash()
        let position = try store.checkpoint(to: "data/copy")
        #expect(position == store.applied)
        #expect(throws: StorageError.self) { try store.checkpoint(to: "data/copy") }
        try deleteRange(0, 1000, store)
        try store.compact()
        store.close()
        system.crash()
        let copy = try LSMStoreTests.open(system, CompactionTests.options(), at: "data/copy")
        #expect(try copy.stateHash() == hash && copy.applied == position)
        _ = try copy.verify()
        try put([1000], copy)
        try copy.compact()
        #expect(try copy.get(paddedKey(1000)) != nil)
        copy.close()
        #expect(try LSMStoreTests.open(system, CompactionTests.options()).tableCount == 0)
    }

    @Test func checkpointsAppearWholeOrNotAtAll() throws {
        for cut in 1..<60 {
            let system = SimulatedFileSystem(seed: UInt64(cut))
            let store = try LSMStoreTests.open(system, CompactionTests.options())
            try put(Array(0..<10), store)
            try store.flush()
            try put(Array(5..<15), store)
            try store.flush()
            system.cutPower(afterChanges: cut)
            let made = (try? store.checkpoint(to: "data/copy")) != nil
            store.close()
            system.crash()
            let exists = try system.exists("data/copy")
            #expect(!made || exists, "cut \(cut)")
            if exists {
                let copy = try LSMStoreTests.open(system, CompactionTests.options(), at: "data/copy")
                #expect(try keys(copy) == Array(0..<15), "cut \(cut)")
            }
            let again = try LSMStoreTests.open(system, CompactionTests.options())
            if !exists { _ = try again.checkpoint(to: "data/copy") }
            #expect(try keys(again) == Array(0..<15), "cut \(cut)")
            if made { return }
        }
        Issue.record("no checkpoint was ever made")
    }
}
