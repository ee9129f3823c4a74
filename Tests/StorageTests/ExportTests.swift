// A store's copy for another node: the same content at a known place of the log, independent of the original, made from
// either engine; and a store in use whose files are replaced by such a copy.
import FileIO
import Memory
import SimulatedIO
import Storage
import Testing

@Suite struct ExportTests {
    static func options() -> StoreOptions {
        var options = StoreOptions()
        options.lsm.memtableBytes = LSMOptions.memtableBytesMin
        options.lsm.allocator = .system
        options.hashLog.fileBytes = 4 << 10
        options.hashLog.writeBufferBytes = 500
        options.hashLog.allocator = .system
        return options
    }

    static func fill(_ store: any KeyValueStore, _ indexes: ClosedRange<UInt64>) throws {
        for index in indexes {
            var batch = WriteBatch()
            try batch.put(key: Array("key-\(index % 50)".utf8), value: Array("value-\(index)".utf8))
            _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
        }
    }

    @Test(arguments: StorageEngineKind.allCases, 0..<8)
    func holdsTheSameAndGoesItsOwnWay(engine: StorageEngineKind, seed: UInt64) throws {
        let system = SimulatedFileSystem(seed: seed)
        let options = Self.options()
        let store = try openStore(kind: engine, directory: "data/store", fileSystem: system, options: options)
        try Self.fill(store, 1...300)
        while try store.performMaintenance() {}
        let export = try store.export(to: "data/copy")
        #expect(export.position == LogPosition(index: 300, term: 1))
        let hash = try store.stateHash()
        #expect(throws: StorageError.self) { try store.export(to: "data/copy") }
        try Self.fill(store, 301...600)
        while try store.performMaintenance() {}
        system.crash()
        let copy = try openStore(kind: engine, directory: "data/copy", fileSystem: system, options: options)
        #expect(copy.flushed.index == 300)
        #expect(try copy.stateHash() == hash, "seed \(seed)")
        try Self.fill(copy, 301...400)
        try copy.flush()
        while try copy.performMaintenance() {}
        let again = try openStore(kind: engine, directory: "data/store", fileSystem: system, options: options)
        #expect(again.flushed.index >= 300)
        let start = again.flushed.index + 1
        if start <= 600 { try Self.fill(again, start...600) }
        #expect(try again.get(Array("key-0".utf8)) == Array("value-600".utf8))
        for file in export.knownFiles { #expect(try system.exists("data/copy/\(file.name)") || file.byteCount > 0) }
    }

    @Test(arguments: StorageEngineKind.allCases)
    func replacesAStoreInUse(engine: StorageEngineKind) throws {
        let system = SimulatedFileSystem(seed: 1)
        let options = Self.options()
        let source = try openStore(kind: engine, directory: "other", fileSystem: system, options: options)
        try Self.fill(source, 1...500)
        _ = try source.export(to: "data/new")
        let store = SwitchableStore(
            try openStore(kind: engine, directory: "data/store", fileSystem: system, options: options))
        try Self.fill(store, 1...100)
        try store.replace { () throws(StorageError) in
            let isThere = try store.get(Array("key-1".utf8)) != nil
            let isWorking = try store.performMaintenance()
            #expect(isThere && !isWorking, "the old state can be read, and has no work")
            return try openStore(kind: engine, directory: "data/new", fileSystem: system, options: options)
        }
        #expect(store.applied.index == 500)
        #expect(try store.stateHash() == source.stateHash())
        try Self.fill(store, 501...520)
    }
}
