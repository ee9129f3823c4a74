// Compaction on a disk that loses power, fails and fills: after every single change of the disk, what was called
// flushed is there, and a second start goes on as if nothing had happened.
import FileIO
import SimulatedIO
import Synchronization
import Testing

@testable import Storage

@Suite struct CompactionCrashTests {
    private static let folder = LSMStoreTests.folder

    #if DEBUG
    private static let seeds: ClosedRange<UInt64> = 1...2
    #else
    private static let seeds: ClosedRange<UInt64> = 1...20
    #endif

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
    /// - Parameter rewrites: each flush begins a new manifest and makes CURRENT name it.
    /// - Returns: the newest position that the store called flushed, and whether everything was done.
    private static func run(
        _ system: SimulatedFileSystem, upTo last: Int, rewrites: Bool = false
    ) -> (flushed: UInt64, done: Bool) {
        var flushed: UInt64 = 0
        do {
            let store = try LSMStoreTests.open(system, CompactionTests.options(), at: folder)
            defer { store.close() }
            flushed = store.flushed.index
            for index in Int(flushed) + 1..<last + 1 {
                _ = try store.apply(batch(index), at: LogPosition(index: UInt64(index), term: 2))
                if index % 3 == 0 {
                    if rewrites { store.maintenance.withLock { $0.manifestIsSuspect = true } }
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

    @Test(arguments: seeds, [false, true]) func powerCutAfterEveryChange(
        seed: UInt64, rewrites: Bool
    ) throws {
        let entries = 12
        var cut = 1
        while cut < 2000 {
            let note = "seed \(seed), rewrites \(rewrites), cut \(cut)"
            let system = SimulatedFileSystem(seed: seed << 32 + UInt64(cut))
            system.cutPower(afterChanges: cut)
            let (flushed, done) = Self.run(system, upTo: entries, rewrites: rewrites)
            if done { break }
            system.crash()
            try Self.verify(system, atLeast: flushed, note)
            #expect(Self.run(system, upTo: entries, rewrites: rewrites).done, "\(note): it goes on")
            cut += 1
        }
        #expect(cut > 20 && cut < 2000)
    }

    /// What a checkpoint that was under way left behind is nothing, or a store that is whole.
    @Test(arguments: seeds) func powerCutDuringCheckpoints(seed: UInt64) throws {
        var cut = 1
        while cut < 2000 {
            let note = "seed \(seed), cut \(cut)"
            let system = SimulatedFileSystem(seed: seed << 32 + UInt64(cut))
            #expect(Self.run(system, upTo: 6).done)
            system.cutPower(afterChanges: cut)
            var finished: [Int] = []
            let isOver = (try? Self.checkpoint(system, &finished)) != nil
            system.crash()
            for index in [7, 8] {
                let target = "copies/\(index)"
                let exists = try system.exists(target)
                #expect(exists || !finished.contains(index), "\(note): \(target) is gone")
                if exists { try Self.verifyCopy(system, target, upTo: index, note) }
            }
            try Self.verify(system, atLeast: UInt64(finished.last ?? 6), note)
            var again: [Int] = []
            for index in [7, 8] where try system.exists("copies/\(index)") { try system.removeTree("copies/\(index)") }
            try Self.checkpoint(system, &again)
            for index in again { try Self.verifyCopy(system, "copies/\(index)", upTo: index, "\(note), again") }
            if isOver { break }
            cut += 1
        }
        #expect(cut > 20 && cut < 2000)
    }

    /// Applies entries 7 and 8, with a checkpoint after each.
    private static func checkpoint(_ system: SimulatedFileSystem, _ finished: inout [Int]) throws {
        try system.createDirectory("copies")
        try system.syncDirectory("")
        let store = try LSMStoreTests.open(system, CompactionTests.options(), at: folder)
        defer { store.close() }
        for index in max(7, Int(store.flushed.index) + 1)..<9 {
            _ = try store.apply(batch(index), at: LogPosition(index: UInt64(index), term: 2))
            #expect(try store.checkpoint(to: "copies/\(index)").index == UInt64(index))
            finished.append(index)
        }
    }

    private static func verifyCopy(_ system: SimulatedFileSystem, _ path: String, upTo index: Int, _ note: String)
        throws
    {
        let copy = try LSMStoreTests.open(system, CompactionTests.options(), at: path)
        defer { copy.close() }
        #expect(copy.flushed.index == UInt64(index), "\(note)")
        try LSMStoreTests.checkAll(copy, model(upTo: index), "\(note), \(path)")
        _ = try copy.verify()
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
