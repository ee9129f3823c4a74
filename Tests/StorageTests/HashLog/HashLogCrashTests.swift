// The hash log on a disk that loses power, fails, fills and flips bits: what was called flushed is there, the rest is a
// prefix of the log, and no damaged byte ever becomes an answer.
import FileIO
import SimulatedIO
import Testing

@testable import Storage

@Suite struct HashLogCrashTests {
    private static let folder = "data/kv"

    /// Batch `index` of the one history that all of these tests use.
    private static func batch(_ index: Int) throws -> WriteBatch {
        var random = SplitMix(UInt64(index))
        return try HashLogStoreTests.randomBatch(&random)
    }

    private static func model(upTo index: Int) throws -> Model {
        var model = Model()
        for number in 1..<index + 1 { model.apply(try batch(number)) }
        return model
    }

    private static func open(_ system: SimulatedFileSystem) throws -> HashLogStore {
        try HashLogStoreTests.open(system, HashLogStoreTests.options { $0.fileBytes = 1200 }, at: folder)
    }

    /// Applies entries up to `last` with flushes and merges between, as far as the disk lets it.
    /// - Returns: the newest position that the store called flushed.
    private static func run(_ system: SimulatedFileSystem, upTo last: Int) -> LogPosition {
        var flushed = LogPosition.zero
        do {
            let store = try open(system)
            defer { store.close() }
            flushed = store.flushed
            for index in Int(flushed.index) + 1..<last + 1 {
                _ = try store.apply(batch(index), at: LogPosition(index: UInt64(index), term: 2))
                _ = try store.performMaintenance()
                if index % 9 == 0 { try store.flush() }
                flushed = store.flushed
            }
            try store.flush()
            flushed = store.flushed
        } catch {}
        return flushed
    }

    private static func verify(_ system: SimulatedFileSystem, atLeast flushed: LogPosition, _ note: String) throws {
        let store = try open(system)
        defer { store.close() }
        #expect(store.flushed.index >= flushed.index, "\(note)")
        #expect(store.applied == store.flushed)
        try HashLogStoreTests.checkAll(store, model(upTo: Int(store.flushed.index)), note)
    }

    @Test(arguments: 1...1 as ClosedRange<UInt64>) func powerCutAfterEveryChange(seed: UInt64) throws {
        let entries = 22
        var cut = 1
        while cut < 2000 {
            let system = SimulatedFileSystem(seed: seed &* 1000 &+ UInt64(cut))
            system.cutPower(afterChanges: cut)
            let flushed = Self.run(system, upTo: entries)
            if flushed.index == entries { break }
            system.crash()
            try Self.verify(system, atLeast: flushed, "seed \(seed), cut \(cut)")
            system.cutPower(afterChanges: 1 + cut % 9)
            let second = Self.run(system, upTo: entries)
            system.crash()
            let best = second.index > flushed.index ? second : flushed
            try Self.verify(system, atLeast: best, "seed \(seed), cut \(cut), twice")
            #expect(Self.run(system, upTo: entries).index == entries, "seed \(seed), cut \(cut): it goes on")
            cut += 1
        }
        #expect((60..<2000).contains(cut))
    }

    @Test(arguments: [
        FileIOError.Operation.write, .sync, .syncDirectory, .rename, .open, .remove, .read, .size, .exists, .truncate,
    ]) func oneFailedCallAnywhere(operation: FileIOError.Operation) throws {
        for after in 0..<18 {
            let reason = after % 2 == 0 ? FileIOError.Reason.device : .noSpace
            let system = SimulatedFileSystem(seed: UInt64(after))
            system.failNext(operation: operation, reason: reason, after: after / 2)
            let flushed = Self.run(system, upTo: 20)
            system.crash()
            try Self.verify(system, atLeast: flushed, "\(operation) call \(after) fails with \(reason)")
        }
    }

    @Test(arguments: [".data", "CHECKPOINT.tmp"]) func aFailedSyncEndsWriting(suffix: String) throws {
        let system = SimulatedFileSystem(seed: 4)
        let store = try Self.open(system)
        var batch = WriteBatch()
        try batch.put(key: bytes("k"), value: bytes("v"))
        _ = try store.apply(batch, at: LogPosition(index: 1, term: 1))
        system.failNext(operation: .sync, reason: .device, after: 0, pathSuffix: suffix)
        #expect(throws: StorageError.self) { try store.flush() }
        let error = #expect(throws: StorageError.self) { try store.flush() }
        guard case .readOnly = error else {
            Issue.record("\(String(describing: error)) is not read-only")
            return
        }
        #expect(throws: StorageError.self) { try store.apply(batch, at: LogPosition(index: 2, term: 1)) }
        #expect(try store.get(bytes("k")) == bytes("v"))
        #expect(store.flushed == .zero)
        store.close()
        system.crash()
        #expect(try Self.open(system).flushed == .zero)
    }

    @Test func goesOnWhenThereIsSpaceAgain() throws {
        for room in stride(from: 0, to: 9000, by: 500) {
            let system = SimulatedFileSystem(seed: UInt64(room))
            let store = try Self.open(system)
            var applied = 0
            system.capacityBytes = room
            for step in 0..<60 {
                do {
                    _ = try store.apply(Self.batch(applied + 1), at: LogPosition(index: UInt64(applied + 1), term: 2))
                    applied += 1
                    _ = try store.performMaintenance()
                } catch StorageError.io(let cause) {
                    #expect(cause.reason == .noSpace, "room \(room)")
                }
                if step == 40 { system.capacityBytes = nil }
            }
            #expect(applied >= 19)
            try HashLogStoreTests.checkAll(store, Self.model(upTo: applied), "room \(room), full")
            try store.flush()
            try HashLogStoreTests.settle(store)
            try HashLogStoreTests.checkAll(store, Self.model(upTo: applied), "room \(room), mended")
            store.close()
            system.crash()
            try Self.verify(system, atLeast: LogPosition(index: UInt64(applied), term: 2), "room \(room)")
        }
    }

    @Test func everyFlippedByteShows() throws {
        let system = SimulatedFileSystem(seed: 4)
        #expect(Self.run(system, upTo: 9).index == 9)
        let model = try Self.model(upTo: 9)
        for path in try system.files(in: Self.folder) where !path.hasSuffix("LOCK") {
            for position in try system.bytes(path).indices {
                try system.damage(path, at: UInt64(position), mask: UInt8(1 << (position % 8)))
                defer { try? system.damage(path, at: UInt64(position), mask: UInt8(1 << (position % 8))) }
                do {
                    let store = try Self.open(system)
                    defer { store.close() }
                    try HashLogStoreTests.checkAll(store, model, "\(path) byte \(position)")
                } catch let error as StorageError {
                    switch error {
                    case .corruption(let named, _, _), .unsupportedVersion(let named, _, _):
                        #expect(named == path, "byte \(position)")
                    default: Issue.record("\(path) byte \(position): \(error)")
                    }
                    #expect(!path.hasSuffix(".hint"), "a hint is never needed")
                }
            }
        }
    }

    @Test func missingAndShortFilesAreRefused() throws {
        let system = SimulatedFileSystem(seed: 4)
        #expect(Self.run(system, upTo: 30).index == 30)
        // Opening removes what an unfinished merge left.
        try Self.open(system).close()
        for path in try system.files(in: Self.folder) where !path.hasSuffix("LOCK") {
            let whole = try system.bytes(path)
            try system.setBytes(path, Array(whole.dropLast()))
            if path.hasSuffix(".hint") {
                try Self.verify(system, atLeast: LogPosition(index: 30, term: 2), "short hint")
            } else {
                #expect(throws: StorageError.self, "\(path) of \(whole.count) bytes") { try Self.open(system) }
            }
            try system.setBytes(path, whole)
            if path.hasSuffix(".hint") { continue }
            try system.remove(path)
            #expect(throws: StorageError.self, "\(path) of \(whole.count) bytes") { try Self.open(system) }
            try system.setBytes(path, whole)
        }
        try Self.verify(system, atLeast: LogPosition(index: 30, term: 2), "whole again")
    }
}
