// Compaction on a disk that loses power, fails and fills: after every single change of the disk, what was called flushed
// is there, and a second start goes on as if nothing had happened.
import FileIO
import SimulatedIO
import Testing

@testable import Storage

@Suite struct CompactionCrashTests {
    private static let folder = LSMStoreTests.folder

    private static func batch(_ index: Int) throws -> WriteBatch {
        var random = SplitMix(UInt64(index))
        var batch = WriteBatch()
        for _ in 0..<8 {
            let key = paddedKey(random.below(40))
            if random.below(16) == 0 { try batch.deleteRange(from: key, to: paddedKey(random.below(50))) }
            if random.below(4) == 0 {
                try batch.delete(key: key)
            } else {
                try batch.put(key: key, value: [UInt8](repeating: UInt8(index), count: 200))
            }
        }
        return batch
    }

    private static func model(upTo index: Int) throws -> Model {
        var model = Model()
        for number in 1..<index + 1 { model.apply(try batch(number)) }
        return model
    }

    /// Applies entries with flushes and compactions between, as far as the disk lets it.
    /// - Returns: the newest position that the store called flushed, and whether everything was done.
    private static func run(_ system: SimulatedFileSystem, upTo last: Int) -> (flushed: UInt64, done: Bool) {
        var flushed: UInt64 = 0
        do {
            let store = try LSMStoreTests.open(system, CompactionTests.options(), at: folder)
            defer { store.close() }
            flushed = store.flushed.index
            for index in Int(flushed) + 1..<last + 1 {
                _ = try store.apply(batch(index), at: LogPosition(index: UInt64(index), term: 2))
                if index % 3 == 0 {
                    try store.flush()
                    flushed = store.flushed.index
                    for _ in 0..<50 where try !store.performMaintenance() { break }
                }
            }
        } catch {
            return (flushed, false)
        }
        return (flushed, true)
    }

    private static func verify(_ system: SimulatedFileSystem, atLeast flushed: UInt64, _ note: String) throws {
        let store = try LSMStoreTests.open(system, CompactionTests.options(), at: folder)
        defer { store.close() }
        #expect(store.flushed.index >= flushed, "\(note)")
        try LSMStoreTests.checkAll(store, model(upTo: Int(store.flushed.index)), note)
        let files = try system.files(in: folder, suffix: ".sst")
        #expect(files.count == store.tableCount, "\(note): no file is left behind")
    }

    @Test func powerCutAfterEveryChange() throws {
        let entries = 12
        var cut = 1
        while cut < 2000 {
            let system = SimulatedFileSystem(seed: UInt64(cut))
            system.cutPower(afterChanges: cut)
            let (flushed, done) = Self.run(system, upTo: entries)
            if done { break }
            system.crash()
            try Self.verify(system, atLeast: flushed, "cut \(cut)")
            #expect(Self.run(system, upTo: entries).done, "cut \(cut): it goes on")
            cut += 1
        }
        #expect(cut > 20 && cut < 2000)
    }

    @Test(arguments: [FileIOError.Operation.write, .sync, .syncDirectory, .open, .remove, .read])
    func oneFailedCallAnywhere(operation: FileIOError.Operation) throws {
        for after in 0..<30 {
            let system = SimulatedFileSystem(seed: UInt64(after))
            system.failNext(operation: operation, reason: after % 2 == 0 ? .device : .noSpace, after: after)
            let (flushed, _) = Self.run(system, upTo: 12)
            system.crash()
            try Self.verify(system, atLeast: flushed, "\(operation) call \(after) fails")
        }
    }

    @Test func aFullDiskOnlyPausesCompaction() throws {
        let system = SimulatedFileSystem(seed: 3)
        let store = try LSMStoreTests.open(system, CompactionTests.options(), at: Self.folder)
        for index in 1...9 {
            _ = try store.apply(Self.batch(index), at: LogPosition(index: UInt64(index), term: 2))
            try store.flush()
        }
        let used = try system.files(in: Self.folder).reduce(0) { try $0 + system.bytes($1).count }
        system.capacityBytes = used + 100
        for _ in 0..<10 { _ = try store.performMaintenance() }
        #expect(store.currentView().version.levels[0].count > 2)
        try LSMStoreTests.checkAll(store, Self.model(upTo: 9), "full")
        system.capacityBytes = nil
        for _ in 0..<300 { _ = try store.performMaintenance() }
        #expect(store.currentView().version.levels[0].count < 2)
        try LSMStoreTests.checkAll(store, Self.model(upTo: 9), "compacted")
    }

    @Test func aDamagedTableEndsWritingAndSaysWhere() throws {
        let system = SimulatedFileSystem(seed: 3)
        let store = try LSMStoreTests.open(system, CompactionTests.options(), at: Self.folder)
        for index in 1...9 {
            _ = try store.apply(Self.batch(index), at: LogPosition(index: UInt64(index), term: 2))
            try store.flush()
        }
        let path = try #require(try system.files(in: Self.folder, suffix: ".sst").first)
        try system.damage(path, at: 10, mask: 4)
        let error = #expect(throws: StorageError.self) {
            for _ in 0..<100 where try !store.performMaintenance() { break }
        }
        guard case .corruption(let named, _, _) = error else {
            Issue.record("\(String(describing: error)) is not a corruption")
            return
        }
        #expect(named == path)
        #expect(throws: StorageError.self) { try store.flush() }
    }
}
