// The tools against damage that the tests made: verification names the file, dumps go up to the damage, salvage saves
// the rest, and none of them changes a byte of what it reads.
import FileIO
import Memory
import SimulatedIO
import Testing

@testable import Storage

@Suite struct InspectionTests {
    private static func options() -> StandaloneOptions {
        var options = StandaloneOptions()
        options.store.lsm.allocator = .system
        options.store.lsm.memtableBytes = 64 << 10
        options.store.lsm.blockBytes = 256
        options.store.hashLog.allocator = .system
        options.wal.fileBytes = 64 << 10
        return options
    }

    /// Keys 0..<200 flushed, 200..<220 in the log only, every tenth deleted.
    private static func sample(_ engine: StorageEngineKind) throws -> (SimulatedFileSystem, Model) {
        let system = SimulatedFileSystem(seed: 3)
        var options = options()
        options.engine = engine
        let store = try StandaloneStore.open(directory: "data", fileSystem: system, options: options)
        var model = Model()
        for number in 0..<220 {
            var batch = WriteBatch()
            try batch.put(key: paddedKey(number), value: bytes("value \(number)"))
            if number % 10 == 9 { try batch.delete(key: paddedKey(number - 5)) }
            model.apply(batch)
            try store.write(batch, durability: .power)
            if number == 199 { try store.flush() }
        }
        store.close()
        return (system, model)
    }

    private static func snapshot(_ system: SimulatedFileSystem) throws -> [String: [UInt8]] {
        var content: [String: [UInt8]] = [:]
        for folder in ["data", "data/store", "data/wal"] {
            for path in try system.files(in: folder) where (try? system.list(path)) == nil {
                content[path] = try system.bytes(path)
            }
        }
        return content
    }

    private static func salvaged(_ system: SimulatedFileSystem, _ engine: StorageEngineKind) throws -> [KeyValue] {
        var options = options()
        options.engine = engine
        let store = try StandaloneStore.open(directory: "saved", fileSystem: system, options: options)
        defer { store.close() }
        return try store.scan(from: [], to: nil, limit: .max)
    }

    @Test(arguments: StorageEngineKind.allCases) func aWholeStoreIsWhole(engine: StorageEngineKind) throws {
        let (system, model) = try Self.sample(engine)
        let before = try Self.snapshot(system)
        let reports = try StorageInspection.verify("data", fileSystem: system)
        #expect(reports.count >= 3)
        #expect(reports.allSatisfy { $0.fault == nil && $0.bytes > 0 }, "\(reports)")
        let report = try StorageSalvage.salvage(
            "data", to: "saved", fileSystem: system, options: Self.options().store, wal: Self.options().wal)
        #expect(report.losses.isEmpty && report.engine == engine)
        #expect(report.keys == model.values.count)
        #expect(same(try Self.salvaged(system, engine), model.scan(from: [], to: nil, limit: .max)))
        #expect(try Self.snapshot(system) == before)
        #expect(throws: StorageError.self, "it must be empty") {
            try StorageSalvage.salvage("data", to: "saved", fileSystem: system)
        }
    }

    @Test(arguments: StorageEngineKind.allCases) func damageIsNamedAndTheRestIsSaved(engine: StorageEngineKind) throws {
        let (system, model) = try Self.sample(engine)
        let suffix = engine == .lsm ? ".sst" : ".data"
        let path = try #require(try system.files(in: "data/store", suffix: suffix).first)
        try system.damage(path, at: 1000, mask: 16)
        let before = try Self.snapshot(system)
        let faults = try StorageInspection.verify("data", fileSystem: system).filter { $0.fault != nil }
        #expect(faults.map(\.path) == [path])
        let dump =
            engine == .lsm
            ? try StorageInspection.dumpTable(path, fileSystem: system, limit: .max)
            : try StorageInspection.dumpDataFile(path, fileSystem: system, limit: .max)
        #expect(dump.fault?.contains(path) == true && !dump.rows.isEmpty)
        let report = try StorageSalvage.salvage(
            "data", to: "saved", fileSystem: system, options: Self.options().store, wal: Self.options().wal)
        #expect(report.losses.count == 1, "\(report.losses)")
        let saved = try Self.salvaged(system, engine)
        #expect(saved.count > 150 && saved.count < model.values.count + 1)
        for (key, value) in saved {
            // A delete may be what was lost.
            if let right = model.values[key] { #expect(value == right) }
        }
        #expect(try Self.snapshot(system) == before)
    }

    @Test func dumpsAreTables() throws {
        let (system, _) = try Self.sample(.lsm)
        let log = try #require(try system.files(in: "data/wal").first { $0.contains("wal-") })
        let wal = try StorageInspection.dumpWAL(log, fileSystem: system, limit: 5)
        #expect(wal.rows.count == 5 && wal.omitted > 0 && wal.fault == nil)
        #expect(wal.rows[0] == ["1", "put", "0000000000000000", "7"])
        let manifest = try #require(try system.files(in: "data/store").first { $0.contains("MANIFEST") })
        let tables = try StorageInspection.dumpManifest(manifest, fileSystem: system, limit: .max)
        #expect(tables.rows.count == 1 && tables.columns.count == tables.rows[0].count)
        try system.damage(log, at: 500, mask: 1)
        #expect(try StorageInspection.dumpWAL(log, fileSystem: system, limit: 5).fault != nil)
        #expect(throws: StorageError.self) {
            try StorageInspection.dumpWAL(manifest, fileSystem: system, limit: 5)
        }
    }
}
