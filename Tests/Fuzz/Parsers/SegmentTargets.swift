// The segmented log: segments, their indexes, frames from peers, and the file of term and vote; and the record batches
// that its frames carry.
import FileIO
import Records
import SegmentedLog
import SimulatedIO

func segmentTargets(_ corpus: Corpus) throws -> [FuzzTarget] {
    let files = try corpus.load("SegmentedLog")
    let segments = files.indices.filter { files[$0].name.hasSuffix(".log") }
    let indexes = files.indices.filter { files[$0].name.hasSuffix(".index") }
    let frames = entryFrames
    return [
        FuzzTarget(name: "segment") { mutator in
            var changed = files
            let place = mutator.pick(segments)
            damageFrames(&changed[place].bytes, &mutator)
            try useLog(try disk(changed))
        },
        FuzzTarget(name: "segment-index") { mutator in
            var changed = files
            let place = mutator.pick(indexes)
            if mutator.chance(4, in: 5), changed[place].bytes.count > 4 {
                changed[place].bytes.removeLast(4)
                mutator.reshape(&changed[place].bytes, donor: files[place].bytes)
                let sum = crc(changed[place].bytes[...])
                changed[place].bytes += withUnsafeBytes(of: sum.littleEndian) { Array($0) }
            } else {
                mutator.reshape(&changed[place].bytes, donor: files[place].bytes)
            }
            try useLog(try disk(changed))
        },
        FuzzTarget(name: "frames") { mutator in
            var bytes = mutator.chance(3, in: 4) ? rebuiltFrames(frames, &mutator) : frames
            if mutator.chance(1, in: 2) { damageFrames(&bytes, &mutator) }
            let batch = try FrameBatch(validating: bytes)
            var sum = 0
            for position in batch.headers.indices { sum &+= batch.payload(position).count }
            sum &+= batch.slice(from: mutator.next(), through: mutator.next()).byteCount
            withExtendedLifetime(sum) {}
        },
        FuzzTarget(name: "state") { mutator in
            guard let golden = files.first(where: { $0.name == "group.state" }) else { return }
            var bytes = golden.bytes
            mutator.reshape(&bytes, donor: golden.bytes)
            if bytes.count == golden.bytes.count, mutator.chance(3, in: 4) {
                for start in [0, 512] { bytes.put(crc(bytes[start..<start + 32]), at: start + 32) }
            }
            let system = try disk([("group.state", bytes)])
            let state = try HardStateFile.open(path: "data/group.state", fileSystem: system)
            try state.store(term: 9, vote: 1)
        },
    ]
}

/// A run of entries of every kind, as a peer sends them.
private let entryFrames: [UInt8] = {
    var batch = FrameBatch()
    var offset: UInt64 = 40
    for (number, kind) in [FrameKind.noop, .records, .command, .membership, .gap, .records].enumerated() {
        let records: UInt32 = kind == .records ? 3 : kind == .gap ? 2 : 0
        let payload = kind == .noop || kind == .gap ? [] : [UInt8](repeating: UInt8(number), count: 20 * number)
        batch.append(
            kind: kind, index: 7 + UInt64(number), term: 3 + UInt64(number / 3), baseOffset: offset,
            recordCount: records, payload: payload)
        offset += UInt64(records)
    }
    return batch.bytes
}()

/// The same entries with other payloads and at another place: frames that follow each other still, sealed anew.
private func rebuiltFrames(_ golden: [UInt8], _ mutator: inout Mutator) -> [UInt8] {
    let (index, term) = (mutator.number(near: 7), mutator.number(near: 3))
    var offset = mutator.number(near: 40)
    var output: [UInt8] = []
    var position = 0
    var number: UInt64 = 0
    while position < golden.count {
        let count = Int(golden.integer(at: position + 8, as: UInt32.self))
        let end = position + FrameHeader.byteCount + count
        var header = Array(golden[position..<position + FrameHeader.byteCount])
        var payload = Array(golden[position + FrameHeader.byteCount..<end])
        position = end
        if mutator.chance(1, in: 10) { continue }
        if mutator.chance(1, in: 2) { mutator.reshape(&payload, donor: golden) }
        header.put(UInt32(payload.count), at: 8)
        var records = header.integer(at: 12, as: UInt32.self)
        if records > 0, mutator.chance(1, in: 6) {
            records = UInt32(truncatingIfNeeded: mutator.number(near: UInt64(records)))
            header.put(records, at: 12)
        }
        header.put(index &+ number, at: 16)
        header.put(term &+ number / 3, at: 24)
        header.put(offset, at: 32)
        offset &+= UInt64(records)
        number += 1
        header.put(crc(payload[...]), at: 40)
        header.put(crc(header[..<44]), at: 44)
        output += header + payload
    }
    return output
}

/// Damages headers and payloads and seals them again, most of the time.
func damageFrames(_ bytes: inout [UInt8], _ mutator: inout Mutator) {
    var starts: [Int] = []
    var position = 0
    while position + FrameHeader.byteCount <= bytes.count {
        starts.append(position)
        position += FrameHeader.byteCount + Int(bytes.integer(at: position + 8, as: UInt32.self))
    }
    guard mutator.chance(4, in: 5), !starts.isEmpty else {
        return mutator.reshape(&bytes, donor: bytes)
    }
    for _ in 0...mutator.below(2) {
        let start = mutator.pick(starts)
        let end = min(bytes.count, start + FrameHeader.byteCount + Int(bytes.integer(at: start + 8, as: UInt32.self)))
        mutator.damage(&bytes, in: start + 4..<max(start + FrameHeader.byteCount - 4, end))
        let payload = start + FrameHeader.byteCount
        let count = Int(bytes.integer(at: start + 8, as: UInt32.self))
        if payload + count <= bytes.count { bytes.put(crc(bytes[payload..<payload + count]), at: start + 40) }
        bytes.put(crc(bytes[start..<start + 44]), at: start + 44)
    }
}

private func useLog(_ system: SimulatedFileSystem) throws {
    var options = SegmentedLog.Options()
    options.segmentBytes = 1000
    options.indexIntervalBytes = 200
    _ = try? SegmentedLog.verify(directory: "data", fileSystem: system, options: options)
    let log = try SegmentedLog.open(directory: "data", fileSystem: system, options: options)
    var next = log.firstIndex
    while true {
        let batch = try log.read(from: next, through: .max, maxBytes: 500)
        if batch.isEmpty { break }
        next = batch.lastIndex + 1
    }
    _ = try log.readOffsets(from: log.firstOffset, belowOffset: .max, maxBytes: 1 << 20)
    guard log.lastIndex < .max - 1 else { return }
    var batch = FrameBatch()
    batch.append(
        kind: .noop, index: log.lastIndex + 1, term: log.lastTerm, baseOffset: log.nextOffset, recordCount: 0,
        payload: [])
    try log.append(batch, durability: .power)
}

func recordTargets() -> [FuzzTarget] {
    var golden: [[UInt8]] = []
    for count in [1, 3, 20] {
        var batch = RecordBatch()
        for number in 0..<count {
            let headers = number % 2 == 0 ? [] : [RecordHeader(key: "trace", value: [1, 2, 3])]
            batch.append(
                key: number % 3 == 0 ? nil : Array("key \(number)".utf8),
                value: [UInt8](repeating: 7, count: number * 5),
                headers: headers, timestamp: 1_700_000_000_000 + Int64(number))
        }
        golden.append(batch.encoded())
    }
    return [
        FuzzTarget(name: "records") { mutator in
            var bytes = mutator.pick(golden)
            mutator.reshape(&bytes, donor: mutator.pick(golden))
            if bytes.count > RecordBatchView.headerBytes, mutator.chance(4, in: 5) {
                // Length at 8, checksum at 17 over everything from 21 on, both big endian.
                bytes.put(UInt32(bytes.count - 12).byteSwapped, at: 8)
                bytes.put(crc(bytes[21...]).byteSwapped, at: 17)
            }
            for view in try RecordBatchView.batches(in: bytes) { _ = try view.records() }
        }
    ]
}
