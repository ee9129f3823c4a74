// The files of a small store as a peer could send them: whole, damaged behind checksums that hold, or nothing of a
// store.
import FileIO
import Memory
import SimulatedIO

@testable import Storage

enum SentStore {
    typealias Files = [(name: String, bytes: [UInt8])]

    /// A whole store that ends at `position`.
    static func files(_ kind: StorageEngineKind, at position: LogPosition, _ mutator: inout Mutator) throws -> Files {
        let system = SimulatedFileSystem(seed: 1)
        try system.createDirectory("data")
        var options = StoreOptions()
        options.lsm.memtableBytes = 32 << 10
        options.lsm.allocator = .system
        options.hashLog.allocator = .system
        let store = try openStore(kind: kind, directory: "data/store", fileSystem: system, options: options)
        defer { store.close() }
        var batch = WriteBatch()
        for number in 0..<UInt8(1 + mutator.below(20)) {
            try batch.put(key: [number], value: [UInt8](repeating: number, count: mutator.below(40)))
        }
        if mutator.chance(1, in: 3) { try batch.deleteRange(from: [2], to: [5]) }
        _ = try store.apply(batch, at: position)
        try store.flush()
        _ = try store.export(to: "data/export")
        return try system.list("data/export").map { ($0, try system.readFile("data/export/" + $0) ?? []) }
    }

    /// Changes some of the files, most of the time so that what stands inside them still has a good checksum.
    static func damage(_ files: inout Files, _ mutator: inout Mutator) {
        guard !files.isEmpty else { return }
        let place = mutator.below(files.count)
        switch mutator.below(6) {
        case 0: files.remove(at: place)
        case 1: files[place].name = mutator.pick(["CURRENT", "CHECKPOINT", "MANIFEST-000009", "000009.sst", "x"])
        case 2: mutator.damage(&files[place].bytes)
        case 3: mutator.reshape(&files[place].bytes, donor: mutator.pick(files).bytes)
        case 4:
            guard let manifest = files.firstIndex(where: { $0.name.hasPrefix("MANIFEST-") }) else { fallthrough }
            damageManifest(&files[manifest], &mutator)
        default:
            guard let checkpoint = files.firstIndex(where: { $0.name == HashLogCheckpoint.name }) else { return }
            let end = files[checkpoint].bytes.count - 4
            guard end > 12 else { return }
            mutator.damage(&files[checkpoint].bytes, in: 12..<end)
            files[checkpoint].bytes.put(crc(files[checkpoint].bytes[..<end]), at: end)
        }
        var names: Set<String> = []
        files.removeAll { !names.insert($0.name).inserted }
    }

    /// Another state in a manifest that is written as any other.
    private static func damageManifest(_ file: inout (name: String, bytes: [UInt8]), _ mutator: inout Mutator) {
        guard case .manifest(let number)? = StoreFile(file.name),
            var state = try? Manifest.load(file.bytes, number: number, path: file.name)
        else { return }
        switch mutator.below(5) {
        case 0: state.lastSequence = mutator.number(near: state.lastSequence)
        case 1: state.applied.index = mutator.number(near: state.applied.index)
        case 2: state.nextNumber = mutator.number(near: state.nextNumber)
        case 3: state.tables.removeAll()
        default:
            guard !state.tables.isEmpty else { return }
            state.tables[0].sequenceMax = mutator.number(near: state.tables[0].sequenceMax)
            state.tables[0].level = mutator.below(8)
        }
        let system = SimulatedFileSystem(seed: 1)
        guard (try? system.createDirectory("data")) != nil,
            (try? Manifest(creating: number, state: state, directory: "data", fileSystem: system)) != nil,
            let bytes = try? system.readFile("data/" + file.name)
        else { return }
        file.bytes = bytes
    }
}
