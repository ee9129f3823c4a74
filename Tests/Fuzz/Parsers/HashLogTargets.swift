// The hash log's files: checkpoint, data and hints, each damaged behind its checksum, under a store that uses them.
import FileIO
import Memory
import SimulatedIO

@testable import Storage

func hashLogTargets(_ corpus: Corpus) throws -> [FuzzTarget] {
    let files = try corpus.load("Storage/hashLog")
    guard let checkpoint = files.first(where: { $0.name == HashLogCheckpoint.name }) else {
        throw StorageError.missingFile(path: HashLogCheckpoint.name)
    }
    let store = try HashLogCheckpoint.decode(checkpoint.bytes, path: checkpoint.name).store
    func target(_ name: String, _ suffix: String, _ damage: @escaping (Int, inout Mutator) -> [UInt8]) -> FuzzTarget {
        let places = files.indices.filter { files[$0].name.hasSuffix(suffix) }
        return FuzzTarget(name: name) { mutator in
            let place = mutator.pick(places)
            var changed = files
            changed[place].bytes = damage(place, &mutator)
            try useHashLog(try disk(changed))
        }
    }
    /// Sealed by a checksum of everything in front of it.
    func withTail(_ place: Int, _ mutator: inout Mutator) -> [UInt8] {
        var bytes = files[place].bytes
        let isSealed = mutator.chance(4, in: 5)
        if isSealed { bytes.removeLast(4) }
        mutator.reshape(&bytes, donor: files[place].bytes)
        return isSealed ? bytes + withUnsafeBytes(of: crc(bytes[...]).littleEndian) { Array($0) } : bytes
    }
    return [
        target("checkpoint", HashLogCheckpoint.name, withTail),
        target("hint", ".hint", withTail),
        target("hashlog", ".data") { place, mutator in
            var bytes = files[place].bytes
            guard case .data(let number)? = HashLogFile(files[place].name), mutator.chance(4, in: 5) else {
                mutator.reshape(&bytes, donor: files[place].bytes)
                return bytes
            }
            if mutator.chance(1, in: 5) {
                let end = DataFile.headerBytes - 4
                mutator.damage(&bytes, in: 0..<end)
                bytes.put(crc(bytes[..<end]), at: end)
                return bytes
            }
            let checksums = RecordChecksum(store: store, file: number)
            for _ in 0...mutator.below(2) {
                let start = mutator.pick(recordStarts(files[place].bytes))
                mutator.damage(&bytes, in: start + 4..<min(start + 64, bytes.count))
                sealRecord(&bytes, at: start, checksums)
            }
            return bytes
        },
    ]
}

private func recordStarts(_ bytes: [UInt8]) -> [Int] {
    var starts: [Int] = []
    var position = DataFile.headerBytes
    while position < bytes.count {
        starts.append(position)
        let header = bytes.withUnsafeBytes { RecordHeader(UnsafeRawBufferPointer(rebasing: $0[position...])) }
        guard let header else { break }
        position += header.recordBytes
    }
    return starts
}

private func sealRecord(_ bytes: inout [UInt8], at start: Int, _ checksums: RecordChecksum) {
    let sum = bytes.withUnsafeBytes { buffer -> UInt32? in
        let rest = UnsafeRawBufferPointer(rebasing: buffer[start...])
        guard let header = RecordHeader(rest), header.recordBytes <= rest.count else { return nil }
        return checksums.of(UnsafeRawBufferPointer(rebasing: rest[..<header.recordBytes]), at: UInt32(start))
    }
    if let sum { bytes.put(sum, at: start) }
}

private func useHashLog(_ system: SimulatedFileSystem) throws {
    _ = try? StorageInspection.verify("data", fileSystem: system)
    for name in try system.list("data") where name.hasSuffix(".data") {
        _ = try? StorageInspection.dumpDataFile("data/" + name, fileSystem: system, limit: 10)
    }
    var options = HashLogOptions()
    options.allocator = .system
    options.fileBytes = 4000
    let store = try HashLogStore.open(directory: "data", fileSystem: system, options: options)
    defer { store.close() }
    var failure: (any Error)?
    do { _ = try store.scan(from: [], to: nil, limit: .max) } catch { failure = error }
    do { _ = try store.get(Array("user:12".utf8)) } catch { failure = error }
    var batch = WriteBatch()
    try batch.put(key: Array("user:13".utf8), value: [UInt8](repeating: 1, count: 4000))
    try batch.delete(key: Array("user:14".utf8))
    let (index, overflow) = store.applied.index.addingReportingOverflow(1)
    guard !overflow else { throw StorageError.staleEntry(index: 0, applied: .max) }
    _ = try store.apply(batch, at: LogPosition(index: index, term: 1))
    for _ in 0..<50 { guard try store.performMaintenance() else { break } }
    try store.flush()
    if let failure { throw failure }
}
