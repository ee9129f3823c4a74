// The write-ahead log and the batches in it: the scan alone, and a store that replays what it says.
import FileIO
import Memory
import SimulatedIO

@testable import Storage

func logTargets(_ corpus: Corpus) throws -> [FuzzTarget] {
    let files = try corpus.load("Storage/log")
    guard let place = files.firstIndex(where: { $0.name == "wal-wal-000001.log" }) else {
        throw StorageError.missingFile(path: "wal-000001.log")
    }
    let log = GoldenLog(files[place].bytes)
    let batches = log.frames.filter { $0.kind == .full }.map { Array($0.payload.dropFirst(8)) }
    return [
        FuzzTarget(name: "batch") { mutator in
            var bytes = mutator.pick(batches)
            mutator.reshape(&bytes, donor: mutator.pick(batches))
            let batch = try WriteBatch(validating: bytes)
            var sum = 0
            for operation in batch { sum &+= operation.key.count &+ operation.value.count }
            withExtendedLifetime(sum) {}
        },
        FuzzTarget(name: "wal") { mutator in
            let bytes = log.damaged(&mutator)
            let end = mutator.chance(1, in: 3) ? UInt64(mutator.below(bytes.count + 9)) : nil
            _ = try WALScan(bytes, number: 1, path: "w", end: end, isEndSynced: mutator.chance(1, in: 2)) {
                (_, payload) throws(StorageError) in _ = try WriteBatch(validating: [UInt8](payload))
            }
        },
        FuzzTarget(name: "log") { mutator in
            var files = files
            files[place].bytes = log.damaged(&mutator)
            if mutator.chance(1, in: 3) {
                // A second log behind it, whose preamble says what it likes.
                let bytes = log.damaged(&mutator, number: 2)
                files.append(("wal-wal-000002.log", bytes))
            }
            try useStandalone(try disk(files, folders: ["store", "wal"]))
        },
    ]
}

private func useStandalone(_ system: SimulatedFileSystem) throws {
    var options = StandaloneOptions()
    options.store.lsm.allocator = .system
    options.store.lsm.memtableBytes = 32 << 10
    options.store.lsm.memoryBudgetBytes = 128 << 10
    options.wal.fileBytes = 32 << 10
    _ = try? StorageInspection.verify("data", fileSystem: system)
    for name in try system.list("data/wal") {
        _ = try? StorageInspection.dumpWAL("data/wal/" + name, fileSystem: system, limit: 10)
    }
    let store = try StandaloneStore.open(directory: "data", fileSystem: system, options: options)
    defer { store.close() }
    var batch = WriteBatch()
    try batch.put(key: [1], value: [2])
    try store.write(batch, durability: .power)
    _ = try store.scan(from: [], to: nil, limit: .max)
    try store.flush()
    while try store.performMaintenance() {}
}

/// A golden log taken apart.
private struct GoldenLog {
    struct Frame {
        var kind: WALFrameKind
        var syncedOffset: UInt64
        var payload: [UInt8]
        var position: Int
    }

    let bytes: [UInt8]
    private(set) var frames: [Frame] = []

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        bytes.withUnsafeBytes { log in
            var position = 0
            while let frame = WALFrame(log, at: WALFrame.start(from: position), number: 1) {
                frames.append(
                    Frame(
                        kind: frame.kind, syncedOffset: frame.syncedOffset, payload: [UInt8](log[frame.payload]),
                        position: WALFrame.start(from: position)))
                position = frame.end
            }
        }
    }

    func damaged(_ mutator: inout Mutator, number: UInt64 = 1) -> [UInt8] {
        var output = bytes
        switch number == 1 ? mutator.below(4) : 3 {
        case 0: mutator.reshape(&output, donor: bytes)
        case 1:
            // A header or payload, sealed in place.
            let frame = mutator.pick(frames)
            let end = frame.position + WALFrame.headerBytes + frame.payload.count
            mutator.damage(&output, in: frame.position + 4..<end)
            let count = Int(output.integer(at: frame.position + 4, as: UInt16.self))
            let sealed = min(output.count, frame.position + WALFrame.headerBytes + count)
            output.put(crc(output[frame.position + 4..<sealed]), at: frame.position)
        default: output = rebuilt(&mutator, number)
        }
        return output
    }

    /// All frames anew, some with other kinds, promises and payloads.
    private func rebuilt(_ mutator: inout Mutator, _ number: UInt64) -> [UInt8] {
        var changed = frames
        if number != 1 {
            // What follows the first log is right in most ways.
            changed = [changed[0]]
            changed[0].payload.put(number, at: 16)
            changed[0].payload.put(UInt64(frames.count), at: 24)
            changed[0].payload.put(UInt64(1), at: 32)
            changed[0].payload.put(UInt64(bytes.count), at: 40)
        }
        for _ in 0...mutator.below(2) {
            let place = mutator.chance(1, in: 3) ? 0 : mutator.below(changed.count)
            switch mutator.below(6) {
            case 0: changed[place].kind = WALFrameKind(rawValue: UInt8(1 + mutator.below(6))) ?? .mark
            case 1:
                var promise = [UInt8](repeating: 0, count: 8)
                mutator.damage(&promise)
                changed[place].syncedOffset = promise.integer(at: 0, as: UInt64.self)
            case 2, 3: mutator.damage(&changed[place].payload)
            default: mutator.reshape(&changed[place].payload, donor: mutator.pick(frames).payload)
            }
        }
        let room = changed.reduce(64) { $0 + $1.payload.count + 2 * WALFrame.blockBytes }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 8)
        defer { memory.deallocate() }
        guard let base = memory.baseAddress else { return bytes }
        var made = 0
        for frame in changed {
            made += WALEncoder.pad(at: base + made, position: made)
            let payload = frame.payload.prefix(WALFrame.blockBytes - made % WALFrame.blockBytes - WALFrame.headerBytes)
            made += payload.withUnsafeBytes { payload in
                WALEncoder.frame(
                    frame.kind, nil, payload, at: base + made, log: number, position: made,
                    syncedOffset: frame.syncedOffset)
            }
        }
        return [UInt8](memory[..<made])
    }
}
