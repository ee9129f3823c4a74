// What the writers of a store are told when its log fails: a sync that fails under many of them, and a disk that fills
// up at every place of a run. What is left after reopening is exactly what was acknowledged.
import FileIO
import Memory
import SimulatedIO
import Synchronization
import Testing

@testable import Storage

@Suite struct LogFailureTests {
    private static let folder = "data"

    #if DEBUG
    private static let capacityStep = 14_900
    #else
    private static let capacityStep = 490
    #endif

    private static func open(_ system: any FileSystem, walFileBytes: Int = 32 << 10) throws -> StandaloneStore {
        var options = StandaloneOptions()
        options.store.lsm.memtableBytes = 1 << 20
        options.store.lsm.allocator = .system
        options.wal.fileBytes = walFileBytes
        options.wal.groupBytesMax = 4 << 10
        return try StandaloneStore.open(directory: folder, fileSystem: system, options: options)
    }

    private static func batch(_ number: Int, valueBytes: Int = 50) throws -> WriteBatch {
        var batch = WriteBatch()
        try batch.put(
            key: paddedKey(number), value: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: valueBytes))
        return batch
    }

    private static func keys(_ store: StandaloneStore) throws -> [[UInt8]] {
        try store.scan(from: [], to: nil, limit: .max).map(\.key)
    }

    /// One writer is held in its sync until the others are on their way; then that sync, the mark that follows it or
    /// the write of the next group fails.
    @Test(arguments: [
        (FileIOError.Operation.sync, 0, false), (FileIOError.Operation.write, 0, true),
        (FileIOError.Operation.write, 1, true),
    ]) func everyWaiterIsTold(operation: FileIOError.Operation, after: Int, firstIsGood: Bool) throws {
        let system = SimulatedFileSystem(seed: 5)
        let gated = GatedFileSystem(system)
        let store = try Self.open(gated)
        try store.write(Self.batch(1), durability: .power)
        // Unsynced over more than a sector, so that the next durable write is a write and a sync.
        try store.write(Self.batch(2, valueBytes: 2000), durability: .process)
        let outcomes = Mutex<[Int: Bool]>([:])
        let others = 6
        let arrived = Atomic<Int>(0)
        @Sendable func write(_ number: Int) {
            arrived.add(1, ordering: .releasing)
            do {
                try store.write(Self.batch(number), durability: .power)
                outcomes.withLock { $0[number] = true }
            } catch {
                outcomes.withLock { $0[number] = false }
            }
        }
        gated.close()
        let first: @Sendable () -> Void = { write(3) }
        let behind: [@Sendable () -> Void] = (0..<others).map { other in
            {
                gated.waitUntilSomebodyWaits()
                write(10 + other)
            }
        }
        let doorkeeper: @Sendable () -> Void = {
            gated.waitUntilSomebodyWaits()
            while arrived.load(ordering: .acquiring) <= others { sleepMilliseconds(1) }
            // Those who arrived are about to queue; whoever has not yet is told a little later.
            sleepMilliseconds(20)
            system.failNext(operation: operation, reason: .device, after: after, pathSuffix: ".log")
            gated.open()
        }
        runThreads([first] + behind + [doorkeeper])
        let told = outcomes.withLock { $0 }
        #expect(told.count == others + 1, "a writer was told nothing")
        #expect(told.filter(\.value).keys.sorted() == (firstIsGood ? [3] : []), "\(operation) \(after)")
        let before = system.counters
        let error = #expect(throws: StorageError.self) { try store.write(Self.batch(99), durability: .none) }
        guard case .readOnly = error else {
            Issue.record("\(String(describing: error)) is not read-only")
            return
        }
        #expect(system.counters == before, "the log is not touched again")
        let acknowledged = [1, 2] + told.filter(\.value).keys.sorted()
        let visible = try Self.keys(store)
        #expect(visible == acknowledged.map(paddedKey), "readers see what was acknowledged, no more")
        store.close()
        system.crash()
        let again = try Self.open(system)
        let kept = try Self.keys(again)
        for number in acknowledged where number != 2 { #expect(kept.contains(paddedKey(number)), "\(number)") }
        again.close()
    }

    /// After a failed sync readers still see what the device has not; what is replayed from that must be made durable.
    @Test(arguments: 1...8) func whatIsReadAfterAFailedSyncIsNotLostLater(seed: Int) throws {
        let system = SimulatedFileSystem(seed: UInt64(seed))
        var store = try Self.open(system)
        try store.write(Self.batch(1), durability: .power)
        // Over more than a sector, so that the next durable write is a write and a sync.
        try store.write(Self.batch(2, valueBytes: 2000), durability: .process)
        system.failNext(operation: .sync, reason: .device, pathSuffix: ".log")
        #expect(throws: StorageError.self) { try store.write(Self.batch(3), durability: .power) }
        store.close()
        // Only the process begins again; the machine goes on.
        store = try Self.open(system)
        let found = try Self.keys(store)
        #expect(found.starts(with: [paddedKey(1)]))
        try store.write(Self.batch(4), durability: .power)
        store.close()
        system.crash()
        store = try Self.open(system)
        #expect(try Self.keys(store) == found + [paddedKey(4)])
        store.close()
    }

    /// The disk is full at every place of a run; space comes back, and writing goes on where it stood.
    @Test(arguments: [Durability.process, .power]) func spaceEndsAnywhere(level: Durability) throws {
        for capacity in stride(from: 33 << 10, to: 330 << 10, by: Self.capacityStep) {
            let system = SimulatedFileSystem(seed: UInt64(capacity))
            let store: StandaloneStore
            do { store = try Self.openWithin(capacity, system) } catch { continue }
            var acknowledged: [Int] = []
            var refusals = 0
            for number in 1...60 {
                // Some are longer than a file of the log.
                let bytes = number % 20 == 0 ? 40_000 : number % 7 * 700
                do {
                    try store.write(Self.batch(number, valueBytes: bytes), durability: level)
                    acknowledged.append(number)
                } catch let error as StorageError {
                    #expect(error.isOnlyLackOfSpace, "capacity \(capacity), write \(number): \(error)")
                    refusals += 1
                    if refusals == 3 { system.capacityBytes = nil }
                }
                if number == 58 { system.capacityBytes = nil }
            }
            let expected = acknowledged.map(paddedKey)
            #expect(refusals <= 3 && acknowledged.last == 60, "capacity \(capacity)")
            #expect(try Self.keys(store) == expected, "capacity \(capacity)")
            store.close()
            if level == .power { system.crash() }
            let again = try Self.open(system)
            #expect(try Self.keys(again) == expected, "capacity \(capacity), reopened")
            again.close()
        }
    }

    private static func openWithin(_ capacity: Int, _ system: SimulatedFileSystem) throws -> StandaloneStore {
        system.capacityBytes = capacity
        return try open(system)
    }
}
