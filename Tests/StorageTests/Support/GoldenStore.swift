// The stores whose files are kept in Tests/Fixtures: a short history that uses every kind of record, and how each
// format is written from it. A change here needs new golden files; a change of a format needs a new version and the old
// files kept.
import FileIO
import Memory
import SimulatedIO
import Testing

@testable import Storage

enum GoldenStore: String, CaseIterable {
    /// Trees whose tables differ in how blocks are packed, and one whose index has parts.
    case tree, treeLZ4, treeZstd, treeParts
    /// A write-ahead log in front of an empty tree.
    case log
    case hashLog

    /// Folders of the store below its own that hold files.
    var folders: [String] { self == .log ? ["store", "wal"] : [""] }

    /// Two libraries may pack the same bytes in different ways.
    var isSameEveryTime: Bool { self != .treeLZ4 && self != .treeZstd }

    static let batches: [WriteBatch] = (try? makeBatches()) ?? []

    private static func makeBatches() throws -> [WriteBatch] {
        var batches: [WriteBatch] = []
        var batch = WriteBatch()
        try batch.put(key: [], value: bytes("the empty key"))
        try batch.put(key: [0], value: [])
        try batch.put(key: [255, 255, 0, 1], value: Array(0...255))
        try batch.put(key: [UInt8](repeating: 107, count: 300), value: bytes("a long key"))
        try batch.put(key: bytes("large"), value: (0..<3000).map { UInt8(truncatingIfNeeded: $0 / 7 * 31) })
        batches.append(batch)
        for number in 0..<40 {
            batch = WriteBatch()
            let text = "value \(number) of a store that is kept for later builds"
            try batch.put(key: bytes("user:\(number)"), value: bytes(text))
            try batch.put(key: paddedKey(number * 5), value: bytes(String(repeating: "\(number)/", count: number)))
            if number % 3 == 0 { try batch.delete(key: paddedKey(number * 5 - 5)) }
            if number % 4 == 0 { try batch.put(key: bytes("counter"), value: [UInt8(number)]) }
            if number == 20 { try batch.deleteRange(from: bytes("user:10"), to: bytes("user:15")) }
            batches.append(batch)
        }
        return batches
    }

    /// Writes the store's files as this build does.
    func make() throws -> [(name: String, bytes: [UInt8])] {
        let system = SimulatedFileSystem(seed: 1)
        switch self {
        case .tree: try makeTree(system, .none)
        case .treeLZ4: try makeTree(system, .lz4)
        case .treeZstd: try makeTree(system, .zstd)
        case .treeParts: try makeTree(system, .none, indexBytes: 0)
        case .log: try makeLog(system)
        case .hashLog: try makeHashLog(system)
        }
        var files: [(name: String, bytes: [UInt8])] = []
        for folder in folders {
            let prefix = folder.isEmpty ? "" : folder + "-"
            for path in try system.files(in: folder.isEmpty ? "data" : "data/" + folder) {
                guard let name = path.split(separator: "/").last, name != "LOCK" else { continue }
                files.append((prefix + name, Self.trimmed(try system.bytes(path))))
            }
        }
        return files.sorted { $0.name < $1.name }
    }

    /// Without the zeros that logs are given ahead of time.
    private static func trimmed(_ bytes: [UInt8]) -> [UInt8] {
        let end = (bytes.lastIndex { $0 != 0 } ?? -1) + 1
        return bytes.count - end < 4096 ? bytes : Array(bytes[..<((end + 7) / 8 * 8)])
    }

    private func makeTree(_ system: SimulatedFileSystem, _ compression: BlockCompression, indexBytes: Int = 128 << 10)
        throws
    {
        let options = LSMStoreTests.options { options in
            options.compression = compression
            options.indexBytes = indexBytes
            options.blockBytes = 512
        }
        let store = try LSMStoreTests.open(system, options, at: "data")
        // Keeps older versions.
        var held: [Snapshot] = []
        for (number, batch) in Self.batches.enumerated() {
            _ = try store.apply(batch, at: LogPosition(index: UInt64(number + 1), term: 2))
            if number % 10 == 3 { held.append(store.snapshot()) }
            if number == 25 { try store.flush() }
        }
        try store.flush()
        withExtendedLifetime(held) {}
        held = []
        store.close()
    }

    private func makeLog(_ system: SimulatedFileSystem) throws {
        var options = StandaloneOptions()
        options.store.lsm = LSMStoreTests.options()
        options.wal.fileBytes = 32 << 10
        let store = try StandaloneStore.open(directory: "data", fileSystem: system, options: options)
        for (number, batch) in Self.batches.enumerated() {
            try store.write(batch, durability: number % 5 == 0 ? .power : .process)
        }
        store.close()
    }

    private func makeHashLog(_ system: SimulatedFileSystem) throws {
        let store = try HashLogStore.open(directory: "data", fileSystem: system, options: Self.hashLogOptions)
        for (number, batch) in Self.batches.enumerated() {
            _ = try store.apply(batch, at: LogPosition(index: UInt64(number + 1), term: 2))
            if number % 10 == 9 { while try store.performMaintenance() {} }
        }
        try store.flush()
        store.close()
    }

    static var hashLogOptions: HashLogOptions {
        var options = HashLogOptions()
        options.allocator = .system
        options.fileBytes = 4000
        return options
    }

    /// Puts golden files where the store was.
    func place(_ files: [(name: String, bytes: [UInt8])], in system: SimulatedFileSystem) throws {
        for folder in folders { try system.createDirectory(folder.isEmpty ? "data" : "data/" + folder) }
        for file in files { try system.setBytes(path(of: file.name), file.bytes) }
    }

    /// Where a golden file stood.
    func path(of name: String) -> String {
        for folder in folders where !folder.isEmpty && name.hasPrefix(folder + "-") {
            return "data/\(folder)/\(name.dropFirst(folder.count + 1))"
        }
        return "data/" + name
    }

    /// Opens what ``place(_:in:)`` made and gives all of its content.
    func content(_ system: SimulatedFileSystem) throws -> [KeyValue] {
        switch self {
        case .hashLog:
            let store = try HashLogStore.open(directory: "data", fileSystem: system, options: Self.hashLogOptions)
            defer { store.close() }
            return try store.scan(from: [], to: nil, limit: .max)
        case .log:
            var options = StandaloneOptions()
            options.store.lsm = LSMStoreTests.options()
            options.wal.fileBytes = 32 << 10
            let store = try StandaloneStore.open(directory: "data", fileSystem: system, options: options)
            defer { store.close() }
            return try store.scan(from: [], to: nil, limit: .max)
        case .tree, .treeLZ4, .treeZstd, .treeParts:
            let store = try LSMStoreTests.open(system, at: "data")
            defer { store.close() }
            return try store.scan(from: [], to: nil, limit: .max)
        }
    }

    /// What the store holds in the end.
    var expected: Model {
        Self.batches.reduce(into: Model()) { $0.apply($1) }
    }
}
