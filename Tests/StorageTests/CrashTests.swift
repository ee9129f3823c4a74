// The store on a disk that loses power, lies, fails and fills: after every single change of the disk, what was called
// flushed is there, and the rest is exactly a prefix of the log.
import FileIO
import SimulatedIO
import Testing

@testable import Storage

@Suite struct CrashTests {
    private static let folder = "data/kv"

    /// Batch `index` of the one history that all of these tests use.
    private static func batch(_ index: Int) throws -> WriteBatch {
        var random = SplitMix(UInt64(index))
        return try LSMStoreTests.randomBatch(&random)
    }

    private static func model(upTo index: Int) throws -> Model {
        var model = Model()
        for number in 1..<index + 1 { model.apply(try batch(number)) }
        return model
    }

    /// Applies entries up to `last` with flushes between, as far as the disk lets it.
    /// - Returns: the newest position that the store called flushed.
    private static func run(_ system: SimulatedFileSystem, upTo last: Int) -> LogPosition {
        var flushed = LogPosition.zero
        do {
            let store = try LSMStoreTests.open(system, at: folder)
            defer { store.close() }
            flushed = store.flushed
            for index in Int(flushed.index) + 1..<last + 1 {
                _ = try store.apply(batch(index), at: LogPosition(index: UInt64(index), term: 2))
                if index % 6 == 0 {
                    try store.flush()
                    flushed = store.flushed
                }
            }
        } catch {}
        return flushed
    }

    /// Reopens and compares with the log's prefix that the store says it holds.
    private static func verify(_ system: SimulatedFileSystem, atLeast flushed: LogPosition, _ note: String) throws {
        let store = try LSMStoreTests.open(system, at: folder)
        defer { store.close() }
        #expect(store.flushed.index >= flushed.index, "\(note)")
        #expect(store.applied == store.flushed)
        let model = try model(upTo: Int(store.flushed.index))
        try LSMStoreTests.checkAll(store, model, note)
    }

    @Test(arguments: 1...2 as ClosedRange<UInt64>) func powerCutAfterEveryChange(seed: UInt64) throws {
        let entries = 24
        var cut = 1
        while true {
            let system = SimulatedFileSystem(seed: seed &* 1000 &+ UInt64(cut))
            system.cutPower(afterChanges: cut)
            var flushed = Self.run(system, upTo: entries)
            if flushed.index == entries { break }
            system.crash()
            try Self.verify(system, atLeast: flushed, "seed \(seed), cut \(cut)")
            // A second crash while the first one is still being mended.
            system.cutPower(afterChanges: 1 + cut % 9)
            flushed = max(flushed, Self.run(system, upTo: entries))
            system.crash()
            try Self.verify(system, atLeast: flushed, "seed \(seed), cut \(cut), twice")
            #expect(Self.run(system, upTo: entries).index == entries, "seed \(seed), cut \(cut): it goes on")
            cut += 1
        }
        #expect(cut > 40)
    }

    @Test(arguments: [
        FileIOError.Operation.write, .sync, .syncDirectory, .rename, .open, .remove, .read, .size, .exists,
    ]) func oneFailedCallAnywhere(operation: FileIOError.Operation) throws {
        for after in 0..<20 {
            let reason = after % 2 == 0 ? FileIOError.Reason.device : .noSpace
            let system = SimulatedFileSystem(seed: UInt64(after))
            system.failNext(operation: operation, reason: reason, after: after / 2)
            let flushed = Self.run(system, upTo: 12)
            system.crash()
            try Self.verify(system, atLeast: flushed, "\(operation) call \(after) fails with \(reason)")
        }
    }

    @Test(arguments: [".sst", "MANIFEST-000001"]) func aFailedSyncEndsWriting(suffix: String) throws {
        let system = SimulatedFileSystem(seed: 4)
        let store = try LSMStoreTests.open(system, at: Self.folder)
        var batch = WriteBatch()
        try batch.put(key: bytes("k"), value: bytes("v"))
        _ = try store.apply(batch, at: LogPosition(index: 1, term: 1))
        system.failNext(operation: .sync, reason: .device, after: 0, pathSuffix: suffix)
        #expect(throws: StorageError.self) { try store.flush() }
        for _ in 0..<2 {
            let error = #expect(throws: StorageError.self) { try store.flush() }
            guard case .readOnly = error else {
                Issue.record("\(String(describing: error)) is not read-only")
                return
            }
        }
        #expect(throws: StorageError.self) { try store.apply(batch, at: LogPosition(index: 2, term: 1)) }
        #expect(try store.get(bytes("k")) == bytes("v"))
        #expect(store.flushed == .zero)
        store.close()
        system.crash()
        #expect(try LSMStoreTests.open(system, at: Self.folder).flushed == .zero)
    }

    @Test func goesOnWhenThereIsSpaceAgain() throws {
        for room in stride(from: 0, to: 12_000, by: 1000) {
            let system = SimulatedFileSystem(seed: UInt64(room))
            let store = try LSMStoreTests.open(system, at: Self.folder)
            let used = try system.files(in: Self.folder).reduce(0) { try $0 + system.bytes($1).count }
            for index in 1...12 {
                _ = try store.apply(Self.batch(index), at: LogPosition(index: UInt64(index), term: 2))
            }
            system.capacityBytes = used + room
            do {
                try store.flush()
            } catch StorageError.io(let cause) {
                #expect(cause.reason == .noSpace)
                #expect(store.flushed == .zero)
            }
            try LSMStoreTests.checkAll(store, Self.model(upTo: 12), "room \(room), full")
            system.capacityBytes = nil
            try store.flush()
            #expect(store.flushed.index == 12, "room \(room)")
            try LSMStoreTests.checkAll(store, Self.model(upTo: 12), "room \(room), mended")
            store.close()
            system.crash()
            try Self.verify(system, atLeast: LogPosition(index: 12, term: 2), "room \(room)")
            #expect(try system.files(in: Self.folder, suffix: ".sst").count == 1)
        }
    }
}

private func max(_ one: LogPosition, _ other: LogPosition) -> LogPosition {
    one.index >= other.index ? one : other
}
