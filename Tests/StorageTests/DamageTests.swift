// Damaged files: whatever byte is flipped or cut, the store says so or gives the right answer. It never gives a wrong
// one.
import FileIO
import SimulatedIO
import Testing

@testable import Storage

@Suite struct DamageTests {
    private static let folder = "data/kv"

    private func sample(
        _ entries: Int = 30, _ compression: BlockCompression = .none, indexBytes: Int = 128 << 10
    ) throws -> (SimulatedFileSystem, Model) {
        let system = SimulatedFileSystem(seed: 8)
        let store = try LSMStoreTests.open(system, options(compression, indexBytes), at: Self.folder)
        var model = Model()
        for index in 1...entries {
            var batch = WriteBatch()
            // Something to pack, where there is packing.
            let tail = compression == .none ? "" : String(repeating: "value", count: 12)
            try batch.put(key: paddedKey(index * 3), value: bytes("value \(index)" + tail))
            if index % 7 == 0 { try batch.delete(key: paddedKey(index * 3 - 3)) }
            model.apply(batch)
            _ = try store.apply(batch, at: LogPosition(index: UInt64(index), term: 1))
        }
        // These have a block of their own.
        var ranges = WriteBatch()
        try ranges.deleteRange(from: paddedKey(9), to: paddedKey(16))
        try ranges.deleteRange(from: paddedKey(14), to: paddedKey(20))
        model.apply(ranges)
        _ = try store.apply(ranges, at: LogPosition(index: UInt64(entries + 1), term: 1))
        try store.flush()
        store.close()
        return (system, model)
    }

    private func options(_ compression: BlockCompression, _ indexBytes: Int) -> LSMOptions {
        LSMStoreTests.options { options in
            options.indexBytes = indexBytes
            options.blockBytes = compression == .none ? 128 : 512
            options.compression = compression
        }
    }

    /// With an index of one block and of parts.
    @Test(arguments: [(.none, 128 << 10), (.none, 0), (.lz4, 0), (.zstd, 128 << 10)] as [(BlockCompression, Int)])
    func everyFlippedByteOfATableShows(compression: BlockCompression, indexBytes: Int) throws {
        let (system, model) = try sample(30, compression, indexBytes: indexBytes)
        let sorted = model.scan(from: [], to: nil, limit: .max)
        let path = try #require(try system.files(in: Self.folder, suffix: ".sst").first)
        let whole = try system.bytes(path)
        let manifest = try #require(try CurrentFile.read(directory: Self.folder, fileSystem: system))
        let manifestPath = Self.folder + "/" + StoreFile.manifest(manifest).name
        let state = try Manifest.load(system.bytes(manifestPath), number: manifest, path: manifestPath)
        let file = try system.open(path, .read)
        for position in whole.indices {
            try system.damage(path, at: UInt64(position), mask: UInt8(1 << (position % 8)))
            defer { try? system.damage(path, at: UInt64(position), mask: UInt8(1 << (position % 8))) }
            do {
                let table = try Table(file, metadata: state.tables[0], store: state.store)
                for number in 1...30 { try compare(table, paddedKey(number * 3), model, "byte \(position)") }
                try compare(table, paddedKey(1), model, "byte \(position)")
                #expect(same(try live(table), sorted), "byte \(position)")
                // Properties are for people only, so they alone may be damaged without a reader noticing.
                #expect(throws: StorageError.self, "byte \(position)") { try table.properties() }
            } catch let error as StorageError {
                guard case .corruption(let named, _, _) = error else {
                    if case .unsupportedVersion(let named, _, _) = error { #expect(named == path) } else { throw error }
                    continue
                }
                #expect(named == path)
            }
        }
    }

    /// All live entries, walked backwards and turned round, as a compaction reads them.
    private func live(_ table: Table) throws -> [KeyValue] {
        var found: [KeyValue] = []
        var cursor = RunCursor([table])
        defer { cursor.end() }
        try cursor.seekToLast()
        while cursor.isValid {
            let key = [UInt8](cursor.key)
            // Backwards the newest version of a key comes last.
            if found.last?.key == key { found.removeLast() }
            found.append((key, [UInt8](cursor.value)))
            let covered = key.withUnsafeBytes { table.rangeDeletes?.newest(over: $0, upTo: .max) ?? 0 }
            let isDelete = cursor.trailer & 0xff == UInt64(OperationKind.delete.rawValue)
            if isDelete || cursor.trailer >> 8 < covered { found.removeLast() }
            try cursor.previous()
        }
        return found.reversed()
    }

    private func compare(_ table: Table, _ key: [UInt8], _ model: Model, _ note: String) throws {
        let lookup = try key.withRawBytes { (key) throws(StorageError) in
            try table.find(key, hash: keyHash(key), sequence: SkipList.sequenceMax)
        }
        if case .found(let value) = lookup {
            #expect(value == model.values[key], "\(note)")
        } else {
            #expect(model.values[key] == nil, "\(note)")
        }
    }

    /// The same for every file of a store, opened and read as a whole.
    @Test(arguments: [128 << 10, 0]) func everyFlippedByteOfAStoreShows(indexBytes: Int) throws {
        let system = SimulatedFileSystem(seed: 8)
        let store = try LSMStoreTests.open(system, options(.none, indexBytes), at: Self.folder)
        var model = Model()
        for index in 1...10 {
            var batch = WriteBatch()
            try batch.put(key: paddedKey(index), value: bytes("value \(index)"))
            if index > 5 { try batch.delete(key: paddedKey(index - 5)) }
            if index == 9 { try batch.deleteRange(from: paddedKey(6), to: paddedKey(8)) }
            model.apply(batch)
            _ = try store.apply(batch, at: LogPosition(index: UInt64(index), term: 1))
            if index == 5 { try store.flush() }
        }
        try store.flush()
        store.close()
        let sorted = model.scan(from: [], to: nil, limit: .max)
        let files = try system.files(in: Self.folder).map { ($0, try system.bytes($0)) }
        var refused = 0
        for (path, whole) in files {
            for position in whole.indices {
                // Opening writes, so each flip has a disk of its own.
                let system = SimulatedFileSystem(seed: 8)
                try system.createDirectory(Self.folder)
                for (path, bytes) in files { try system.open(path, .create).write(bytes: bytes, at: 0) }
                try system.damage(path, at: UInt64(position), mask: UInt8(1 << (position % 8)))
                do {
                    let store = try LSMStoreTests.open(system, options(.none, indexBytes), at: Self.folder)
                    defer { store.close() }
                    #expect(same(try store.scan(from: [], to: nil, limit: .max), sorted), "\(path), byte \(position)")
                    for index in 1...10 {
                        let key = paddedKey(index)
                        #expect(try store.get(key) == model.values[key], "\(path), byte \(position)")
                    }
                } catch is StorageError {
                    refused += 1
                }
            }
        }
        #expect(refused > 1000)
    }

    @Test func blocksInTheWrongPlaceShow() throws {
        let (system, _) = try sample()
        let path = try #require(try system.files(in: Self.folder, suffix: ".sst").first)
        let store = try LSMStoreTests.open(system, at: Self.folder)
        let table = try #require(store.currentView().version.levels[0].first)
        #expect(table.blockCount > 4)
        // The first block once more, where the second one belongs (they are equally long but for the keys' digits).
        let identity = table.identity
        var block = [UInt8](repeating: 7, count: 100)
        let trailer = block.withUnsafeBytes {
            BlockFrame.trailer(of: $0, kind: .data, compression: .none, identity: identity, offset: 0)
        }
        block += trailer
        try system.setBytes(path, block + block)
        let file = try system.open(path, .read)
        _ = try BlockBuffer(reading: BlockHandle(offset: 0, size: 100), kind: .data, from: file, identity: identity)
        #expect(throws: StorageError.self) {
            _ = try BlockBuffer(
                reading: BlockHandle(offset: 108, size: 100), kind: .data, from: file, identity: identity)
        }
        #expect(throws: StorageError.self) {
            _ = try BlockBuffer(
                reading: BlockHandle(offset: 0, size: 100), kind: .index, from: file, identity: identity)
        }
        let other = TableIdentity(store: identity.store, number: identity.number + 1)
        #expect(throws: StorageError.self) {
            _ = try BlockBuffer(reading: BlockHandle(offset: 0, size: 100), kind: .data, from: file, identity: other)
        }
    }

    /// Three edits; each flip gives the state after a whole number of them, and only the last may be missing.
    @Test func manifestsFlippedAndCutAtEveryByte() throws {
        let system = SimulatedFileSystem(seed: 2)
        var state = ManifestState(store: 77)
        state.nextNumber = 4
        var manifest = try Manifest(creating: 3, state: state, directory: "m", fileSystem: madeFolder(system))
        var states = [state]
        for number in 1...3 as ClosedRange<UInt64> {
            var edit = VersionEdit()
            edit.applied = LogPosition(index: number * 10, term: 1)
            edit.lastSequence = number * 100
            if number == 2 { edit.added = [Self.metadata(5)] }
            if number == 3 { edit.removed = [5] }
            try manifest.append(edit)
            state.apply(edit)
            states.append(state)
        }
        let path = "m/" + Manifest.name(3)
        let whole = try system.bytes(path)
        #expect(try Manifest.load(whole, number: 3, path: path) == state)
        #expect(throws: StorageError.self) { try Manifest.load(whole, number: 4, path: path) }
        for position in whole.indices {
            var broken = whole
            broken[position] ^= 1 << (position % 8)
            let sealed = whole.count - Manifest.headerBytes
            if let loaded = try? Manifest.load(broken, number: 3, path: path) {
                // Padding has no meaning and the seal says nothing but that the record before it was synced.
                #expect(loaded == state, "byte \(position) of \(sealed) before the seal")
            }
            let cut = try? Manifest.load(Array(whole.prefix(position)), number: 3, path: path)
            if let cut { #expect(states.contains(cut), "cut at \(position)") }
        }
    }

    private func madeFolder(_ system: SimulatedFileSystem) throws -> SimulatedFileSystem {
        try system.createDirectory("m")
        return system
    }

    private static func metadata(_ number: UInt64) -> TableMetadata {
        var properties = TableProperties()
        properties.smallest = bytes("a")
        properties.largest = bytes("z")
        return TableMetadata(
            number: number, level: 0, summary: TableSummary(properties: properties, fileSize: 1000, checksum: 9))
    }

    @Test func refusesWhatItDoesNotKnow() throws {
        let (system, _) = try sample()
        let current = Self.folder + "/CURRENT"
        let good = try system.bytes(current)
        let table = try #require(try system.files(in: Self.folder, suffix: ".sst").first)

        try system.setBytes(current, bytes("MANIFEST-000001\n"))
        expectCorruption(system, of: current)
        try system.remove(current)
        #expect(throws: StorageError.self, "tables without CURRENT") { try LSMStoreTests.open(system, at: Self.folder) }
        try system.setBytes(current, good)
        let content = try system.bytes(table)
        try system.setBytes(table, Array(content.dropLast()))
        expectCorruption(system, of: table)
        try system.remove(table)
        #expect(throws: StorageError.missingFile(path: table)) { try LSMStoreTests.open(system, at: Self.folder) }
        try system.setBytes(table, content)
        _ = try LSMStoreTests.open(system, at: Self.folder)
    }

    private func expectCorruption(_ system: SimulatedFileSystem, of path: String) {
        let error = #expect(throws: StorageError.self) { try LSMStoreTests.open(system, at: Self.folder) }
        guard case .corruption(let named, _, _) = error else {
            Issue.record("\(String(describing: error)) is not a corruption of \(path)")
            return
        }
        #expect(named == path)
    }

    @Test func refusesALaterVersion() throws {
        var edit = ManifestState(store: 1).snapshot
        edit.format?.version = 2
        // A later version's edits may have fields that this one has no name for.
        let payload = edit.encode() + [99, 1, 2, 3]
        let error = #expect(throws: StorageError.self) {
            try Manifest.load(Manifest.record(payload, position: 0, manifest: 1), number: 1, path: "m")
        }
        #expect(error == .unsupportedVersion(path: "m", found: 2, supported: 1))
    }
}
