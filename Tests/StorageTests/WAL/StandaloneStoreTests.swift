// The store with its own log, under crashes: what was acknowledged as durable is there, the rest is a prefix; a failed
// sync ends writing; many threads' writes all arrive.
import FileIO
import Memory
import SimulatedIO
import TestSupport
import Testing

@testable import Storage

@Suite struct StandaloneStoreTests {
    private static let folder = "data"

    private static func options(_ engine: StorageEngineKind) -> StandaloneOptions {
        var options = StandaloneOptions()
        options.engine = engine
        options.store.lsm.memtableBytes = 16 << 10
        options.store.lsm.allocator = .system
        options.store.hashLog.fileBytes = 8 << 10
        options.store.hashLog.writeBufferBytes = 500
        options.store.hashLog.allocator = .system
        options.wal.fileBytes = 32 << 10
        options.wal.groupBytesMax = 4 << 10
        return options
    }

    private static func open(_ system: any FileSystem, _ engine: StorageEngineKind = .lsm) throws -> StandaloneStore {
        try StandaloneStore.open(directory: folder, fileSystem: system, options: options(engine))
    }

    /// Write `number` puts its number under one key, and under a second of its own.
    private static func batch(_ number: Int) throws -> WriteBatch {
        var batch = WriteBatch()
        try batch.put(key: bytes("newest"), value: paddedKey(number))
        try batch.put(key: paddedKey(number), value: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 700))
        return batch
    }

    /// - Returns: the newest write that the store holds, after checking that it holds all before it too.
    private static func prefix(_ store: StandaloneStore, _ note: String) throws -> Int {
        let newest = try store.get(bytes("newest")).map { Int(String(decoding: $0, as: UTF8.self)) ?? -1 } ?? 0
        let all = try store.scan(from: [], to: bytes("a"), limit: .max)
        #expect(all.map(\.key) == (0..<newest).map { paddedKey($0 + 1) }, "\(note)")
        return newest
    }

    /// Writes up to `last`, every so many of them durable.
    /// - Returns: the newest that was acknowledged as durable.
    private static func run(
        _ system: SimulatedFileSystem, _ engine: StorageEngineKind, upTo last: Int, durableEvery step: Int = 3,
        _ note: String
    ) throws -> Int {
        var durable = 0
        do {
            let store = try open(system, engine)
            defer { store.close() }
            for number in try prefix(store, note) + 1..<last + 1 {
                let durability: Durability =
                    number % step == 0 ? .power : number % 3 == 1 ? .process : .none
                try store.write(batch(number), durability: durability)
                if durability == .power { durable = number }
                if number % 4 == 0 { _ = try store.performMaintenance() }
                if number % 17 == 0 { try store.flush() }
            }
        } catch is StorageError {}
        return durable
    }

    @Test(arguments: StorageEngineKind.allCases) func powerCutsKeepWhatWasAcknowledged(
        engine: StorageEngineKind
    ) throws {
        var cut = 1
        while cut < 1000 {
            let note = "\(engine), cut \(cut)"
            let system = SimulatedFileSystem(seed: UInt64(cut))
            system.cutPower(afterChanges: cut)
            var durable = try Self.run(system, engine, upTo: 40, note)
            if durable == 39 { break }
            for round in 1...2 {
                system.crash()
                let store = try Self.open(system, engine)
                #expect(try Self.prefix(store, note) >= durable, "\(note), round \(round)")
                store.close()
                system.cutPower(afterChanges: 3 + cut % 17)
                durable = max(durable, try Self.run(system, engine, upTo: 40, note))
            }
            cut += 7
        }
        #expect((30..<1000).contains(cut))
    }

    /// Logs that nobody synced follow each other: what a power cut leaves is a prefix over all of them.
    @Test(arguments: [1000, 97], 1...8) func unsyncedLogsLeaveAPrefix(step: Int, seed: Int) throws {
        let note = "durable every \(step), seed \(seed)"
        let system = SimulatedFileSystem(seed: UInt64(seed))
        system.cutPower(afterChanges: 20 + seed * 11)
        var durable = try Self.run(system, .lsm, upTo: 300, durableEvery: step, note)
        for round in 1...3 {
            system.crash()
            let store = try Self.open(system)
            #expect(try Self.prefix(store, note) >= durable, "\(note), round \(round)")
            store.close()
            system.cutPower(afterChanges: 5 + seed * round % 60)
            durable = max(durable, try Self.run(system, .lsm, upTo: 300, durableEvery: step, note))
        }
    }

    /// Mapped or written, the engine's own encoder or the tests' slow one: the same bytes.
    @Test func everyWayOfWritingGivesTheSameLog() throws {
        let folder = TemporaryFolder.make()
        defer { try? RealDisk.fileSystem.removeTree(folder) }
        let simulated = SimulatedFileSystem(seed: 1)
        var logs: [[UInt8]] = []
        for (system, path) in [(simulated as any FileSystem, Self.folder), (RealDisk.fileSystem, folder)] {
            var options = Self.options(.lsm)
            options.wal.fileBytes = 1 << 20
            options.store.lsm.memtableBytes = 1 << 20
            let store = try StandaloneStore.open(directory: path, fileSystem: system, options: options)
            for number in 1...400 { try store.write(Self.batch(number), durability: .process) }
            try store.write(Self.batch(401), durability: .power)
            for number in 402...420 { try store.write(Self.batch(number), durability: .process) }
            store.close()
            logs.append(try system.readFile(path + "/wal/wal-000001.log") ?? [])
        }
        let end = logs.map { log in log.lastIndex { $0 != 0 } ?? 0 }
        #expect(end[0] == end[1] && logs[0][...end[0]] == logs[1][...end[1]])
        var slow: [UInt8] = []
        let preamble = WALPreamble(number: 1, firstIndex: 1, previousNumber: 0, previousEnd: 0)
        preamble.encode().withUnsafeBytes { slow.appendFrame(.preamble, $0, log: 1, at: 0, syncedOffset: 0) }
        let start = slow.count
        for number in 1...400 {
            var record: [UInt8] = []
            record.append(littleEndian: UInt64(number))
            record += try Self.batch(number).bytes
            var frames: [UInt8] = []
            record.withUnsafeBytes {
                frames.appendRecord($0, log: 1, origin: slow.count, syncedOffset: UInt64(start))
            }
            slow += frames
        }
        #expect(logs[0].prefix(slow.count) == slow[...])
    }

    @Test func aFullDiskIsAnErrorAndNoMore() throws {
        for level in [Durability.process, .power] {
            let system = SimulatedFileSystem(seed: 3)
            let store = try Self.open(system)
            try store.write(Self.batch(1), durability: level)
            // The next log finds no space.
            system.capacityBytes = 60 << 10
            var newest = 1
            let error = #expect(throws: StorageError.self) {
                while newest < 1000 {
                    try store.write(Self.batch(newest + 1), durability: level)
                    newest += 1
                }
            }
            #expect(error?.isOnlyLackOfSpace == true, "\(String(describing: error))")
            #expect(try Self.prefix(store, "full") == newest)
            system.capacityBytes = nil
            for number in newest + 1...newest + 60 { try store.write(Self.batch(number), durability: level) }
            store.close()
            system.crash()
            let again = try Self.open(system)
            #expect(try Self.prefix(again, "reopened") >= (level == .power ? newest + 60 : 0))
            again.close()
        }
    }

    @Test func aFailedSyncIsFinal() throws {
        for operation in [FileIOError.Operation.write, .sync] {
            let system = SimulatedFileSystem(seed: 2)
            let store = try Self.open(system)
            try store.write(Self.batch(1), durability: .power)
            // An unsynced record makes the next durable one a write and a sync of their own.
            try store.write(Self.batch(2), durability: .process)
            system.failNext(operation: operation, reason: .device, after: 0, pathSuffix: ".log")
            #expect(throws: StorageError.self) { try store.write(Self.batch(3), durability: .power) }
            let before = system.counters
            let error = #expect(throws: StorageError.self) { try store.write(Self.batch(4), durability: .none) }
            guard case .readOnly = error else {
                Issue.record("\(String(describing: error)) is not read-only")
                return
            }
            #expect(system.counters == before, "the log is not touched again")
            #expect(try store.get(paddedKey(3)) == nil)
            #expect(try store.get(paddedKey(2)) != nil)
            store.close()
            system.crash()
            #expect(try Self.prefix(Self.open(system), "reopened") >= 1)
        }
    }

    @Test(arguments: StorageEngineKind.allCases) func logsAreUsedAgain(engine: StorageEngineKind) throws {
        let system = SimulatedFileSystem(seed: 2)
        var store = try Self.open(system, engine)
        for number in 1...400 {
            try store.write(Self.batch(number), durability: number % 10 == 0 ? .power : .none)
            if number % 50 == 0 {
                try store.flush()
                var units = 0
                while try store.performMaintenance(), units < 1000 { units += 1 }
            }
        }
        #expect(try system.files(in: Self.folder + "/wal").count <= 4)
        try store.write(Self.batch(401), durability: .process)
        store.close()
        store = try Self.open(system, engine)
        #expect(try Self.prefix(store, "reopened") == 401)
        store.close()
    }

    @Test func aMissingOrDamagedLogIsRefused() throws {
        let system = SimulatedFileSystem(seed: 2)
        var store = try Self.open(system)
        for number in 1...120 { try store.write(Self.batch(number), durability: .power) }
        store.close()
        let logs = try system.files(in: Self.folder + "/wal").filter { $0.contains("wal-") }
        #expect(logs.count > 2)
        for log in logs.dropLast() {
            let whole = try system.bytes(log)
            try system.remove(log)
            #expect(throws: StorageError.self, "\(log)") { try Self.open(system) }
            try system.setBytes(log, whole)
        }
        for log in logs {
            try system.damage(log, at: 1000, mask: 4)
            let error = #expect(throws: StorageError.self, "\(log)") { try Self.open(system) }
            guard case .corruption(log, _, _) = error else {
                Issue.record("\(log): \(String(describing: error))")
                return
            }
            try system.damage(log, at: 1000, mask: 4)
        }
        store = try Self.open(system)
        #expect(try Self.prefix(store, "whole again") == 120)
        store.close()
    }

    @Test func manyThreadsWriteAtOnce() throws {
        let folder = TemporaryFolder.make()
        let system = RealDisk.fileSystem
        defer { try? system.removeTree(folder) }
        var options = Self.options(.lsm)
        options.store.lsm.memtableBytes = 1 << 20
        let store = try StandaloneStore.open(directory: folder, fileSystem: system, options: options)
        let failures = Failures()
        let (threads, writes) = (4, 60)
        @Sendable func key(_ thread: Int, _ number: Int) -> [UInt8] { bytes("\(thread)/") + paddedKey(number) }
        runThreads(
            (0..<threads).map { thread in
                {
                    for number in 0..<writes {
                        failures.check("thread \(thread), write \(number)") {
                            var batch = WriteBatch()
                            try batch.put(key: key(thread, number), value: paddedKey(number))
                            try store.write(batch, durability: Durability(rawValue: UInt8(number % 3)) ?? .power)
                            return try store.get(key(thread, number)) == paddedKey(number)
                        }
                    }
                }
            })
        #expect(failures.all.isEmpty, "\(failures.all.prefix(5))")
        #expect(store.engine.applied.index == UInt64(threads * writes))
        try store.write(Self.batch(1), durability: .power)
        store.close()
        let again = try StandaloneStore.open(directory: folder, fileSystem: system, options: options)
        for thread in 0..<threads {
            for number in 0..<writes { #expect(try again.get(key(thread, number)) == paddedKey(number)) }
        }
        again.close()
    }
}
