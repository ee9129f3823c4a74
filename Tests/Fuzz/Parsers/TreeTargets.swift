// The tree's formats: blocks, whole tables, manifests, and stores opened, read and written on top of either.
import CEngine
import FileIO
import Memory
import SimulatedIO

@testable import Storage

func treeTargets(_ corpus: Corpus) throws -> [FuzzTarget] {
    let stores = try ["tree", "treeLZ4", "treeZstd", "treeParts"].map { try GoldenTree(corpus.load("Storage/" + $0)) }
    let blocks = stores[0].tables.flatMap { table in
        table.blocks.filter { $0.kind == .data || $0.kind == .index }.map { table.content($0) }
    }
    return [
        FuzzTarget(name: "block") { mutator in
            var bytes = mutator.pick(blocks)
            mutator.reshape(&bytes, donor: mutator.pick(blocks))
            // The size field is a check of its own.
            if bytes.count >= BlockField.columns, mutator.chance(3, in: 4) {
                bytes.put(UInt32(bytes.count), at: BlockField.size)
            }
            try useBlock(bytes, &mutator)
        },
        FuzzTarget(name: "table") { mutator in
            let table = mutator.pick(mutator.pick(stores).tables)
            let bytes = table.damaged(&mutator)
            try useTable(bytes, table.metadata, table.store, &mutator)
        },
        FuzzTarget(name: "manifest") { mutator in
            let store = mutator.pick(stores)
            let bytes = damagedManifest(store.manifest, store.manifestNumber, &mutator)
            _ = try Manifest.load(bytes, number: store.manifestNumber, path: "m")
        },
        FuzzTarget(name: "tree") { mutator in
            let store = mutator.pick(stores)
            var files = store.files
            let place = mutator.below(files.count)
            if files[place].name.hasPrefix("MANIFEST") {
                files[place].bytes = damagedManifest(store.manifest, store.manifestNumber, &mutator)
            } else if let table = store.tables.first(where: { $0.name == files[place].name }) {
                files[place].bytes = table.damaged(&mutator, keepingLength: true)
            } else {
                mutator.reshape(&files[place].bytes, donor: files[0].bytes)
            }
            try useStore(try disk(files), &mutator)
        },
    ]
}

private func useBlock(_ bytes: [UInt8], _ mutator: inout Mutator) throws {
    let key = (0..<mutator.below(20)).map { _ in UInt8(truncatingIfNeeded: mutator.next()) }
    try bytes.withUnsafeBytes { buffer in
        guard let view = BlockView(buffer) else { throw Refused() }
        var sum = 0
        for row in 0..<view.count {
            sum &+= view.suffix(row).reduce(0) { $0 &+ Int($1) } &+ view.value(row).reduce(0) { $0 &+ Int($1) }
            sum &+= Int(truncatingIfNeeded: view.trailer(row))
        }
        key.withUnsafeBytes { key in
            sum &+= view.lowerBound(key) &+ (view.find(key, hash: keyHash(key), trailer: .max) ?? 0)
        }
        withExtendedLifetime(sum) {}
    }
}

private func useTable(_ bytes: [UInt8], _ golden: TableMetadata, _ store: UInt64, _ mutator: inout Mutator) throws {
    let system = SimulatedFileSystem(seed: 1)
    let file = try system.open("t.sst", .create)
    try file.write(bytes: bytes, at: 0)
    var metadata = golden
    metadata.fileSize = UInt64(bytes.count)
    let cache = mutator.chance(1, in: 2) ? BlockCache(capacity: 2000, blockBytes: 512) : nil
    let table = try Table(file, metadata: metadata, store: store, cache: cache)
    _ = try? table.properties()
    for text in ["", "user:12", "counter", "zz", "0000000000000100"] {
        _ = try? Array(text.utf8).withRawBytes { (key) throws(StorageError) in
            try table.find(key, hash: keyHash(key), sequence: SkipList.sequenceMax)
        }
    }
    var cursor = RunCursor([table], keepsBlocks: cache != nil)
    defer { cursor.end() }
    try cursor.seekToFirst()
    while cursor.isValid { try cursor.next() }
    try cursor.seekToLast()
    while cursor.isValid { try cursor.previous() }
}

private func damagedManifest(_ bytes: [UInt8], _ number: UInt64, _ mutator: inout Mutator) -> [UInt8] {
    var payloads: [[UInt8]] = []
    var position = 0
    while position + Manifest.headerBytes <= bytes.count {
        let count = Int(bytes.integer(at: position + 4, as: UInt32.self))
        let start = position + Manifest.headerBytes
        payloads.append(Array(bytes[start..<start + count]))
        position = (start + count + 7) / 8 * 8
    }
    let isSealed = mutator.chance(4, in: 5)
    if isSealed {
        for _ in 0...mutator.below(2) {
            let chosen = mutator.below(payloads.count)
            mutator.reshape(&payloads[chosen], donor: mutator.pick(payloads))
        }
        if mutator.chance(1, in: 4) { payloads.append(mutator.pick(payloads)) }
    }
    var output: [UInt8] = []
    for payload in payloads {
        output += Manifest.record(payload, position: UInt64(output.count), manifest: number)
    }
    if !isSealed { mutator.reshape(&output, donor: bytes) }
    return output
}

/// Opens a store and does with it what its owner would.
private func useStore(_ system: SimulatedFileSystem, _ mutator: inout Mutator) throws {
    var options = LSMOptions()
    options.allocator = .system
    options.memtableBytes = LSMOptions.memtableBytesMin
    options.memoryBudgetBytes = 128 << 10
    options.blockBytes = 256
    options.level0Trigger = 2
    options.levelBaseBytes = 4 << 10
    options.tableBytes = 2 << 10
    _ = try? StorageInspection.verify("data", fileSystem: system)
    for name in try system.list("data") where name.hasSuffix(".sst") {
        _ = try? StorageInspection.dumpTable("data/" + name, fileSystem: system, limit: 10)
    }
    let store = try LSMStore.open(directory: "data", fileSystem: system, options: options)
    defer { store.close() }
    var failure: (any Error)?
    func attempt(_ body: () throws -> Void) {
        do { try body() } catch { failure = error }
    }
    attempt { _ = try store.scan(from: [], to: nil, limit: .max) }
    attempt { _ = try store.get(Array("user:12".utf8)) }
    attempt {
        var iterator = store.makeIterator()
        try iterator.seekToLast()
        while iterator.isValid { try iterator.previous() }
    }
    attempt {
        var batch = WriteBatch()
        try batch.put(key: Array("user:13".utf8), value: [1])
        try batch.deleteRange(from: Array("user:2".utf8), to: Array("user:3".utf8))
        let (index, overflow) = store.applied.index.addingReportingOverflow(1)
        guard !overflow else { throw Refused() }
        _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
        try store.flush()
        for _ in 0..<50 { guard try store.performMaintenance() else { break } }
        try store.compact()
        _ = try store.stateHash()
    }
    if let failure { throw failure }
}
