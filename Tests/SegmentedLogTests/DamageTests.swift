// Damage: files cut at every byte, every byte flipped, garbage behind the end, failing writes and syncs. The answer is
// an error or a prefix, never wrong data, and never the silent loss of what a mark proves to have been durable.
import FileIO
import SegmentedLog
import SimulatedIO
import Testing

@Suite struct DamageTests {
    /// A log of a few segments, as files, and what it holds.
    struct Sample {
        var files: [(name: String, bytes: [UInt8])] = []
        var model = LogModel()
        let options: SegmentedLog.Options
        /// Frames of the last append, which nothing proves to have been durable.
        let lastBatch: Int

        init(steps: Int = 10, segmentBytes: UInt64 = 600) throws {
            var options = SegmentedLogTests.smallOptions()
            options.segmentBytes = segmentBytes
            self.options = options
            lastBatch = (steps - 1) % 3 + 1
            let disk = SimulatedFileSystem(seed: 1)
            let log = try SegmentedLog.open(directory: "log", fileSystem: disk, options: options)
            for step in 0..<steps {
                try log.append(model.grow(frames: step % 3 + 1, seed: UInt64(step)), durability: .power)
            }
            for name in try disk.list("log") {
                files.append((name, try #require(try disk.readFile("log/" + name))))
            }
            #expect(files.count { $0.name.hasSuffix(".log") } > (segmentBytes > 1000 ? 0 : 2))
        }

        var firstLog: String? { files.first { $0.name.hasSuffix(".log") }?.name }
        var lastLog: Int { files.lastIndex { $0.name.hasSuffix(".log") } ?? 0 }

        /// A fresh disk that holds the files, one of them changed.
        func disk(changing position: Int, to bytes: [UInt8]) throws -> SimulatedFileSystem {
            let disk = SimulatedFileSystem(seed: 2)
            try disk.createDirectory("log")
            for (other, file) in files.enumerated() {
                try disk.open("log/" + file.name, .create).write(bytes: other == position ? bytes : file.bytes, at: 0)
            }
            return disk
        }

        /// Opens and reads a changed log: how many entries come, or nil for an error. Fails when they are not a prefix.
        func entriesRead(_ disk: SimulatedFileSystem, _ what: String) throws -> Int? {
            do {
                let log = try SegmentedLog.open(directory: "log", fileSystem: disk, options: options)
                let found = try LogModel.readAll(log, maxBytes: 500)
                #expect(found == Array(model.frames.prefix(found.count)), "\(what)")
                return found.count
            } catch let error as SegmentedLogError {
                #expect(error.code == .corruption || error.code == .unsupported, "\(what): \(error)")
                return nil
            }
        }
    }

    @Test func theLastSegmentCutAtEveryByteIsAPrefix() throws {
        let sample = try Sample(steps: 12)
        let last = sample.files[sample.lastLog]
        var counts: [Int] = []
        for length in 0...last.bytes.count {
            let disk = try sample.disk(changing: sample.lastLog, to: Array(last.bytes[..<length]))
            counts.append(try #require(try sample.entriesRead(disk, "cut at \(length)")))
        }
        #expect(counts.last == sample.model.frames.count)
        #expect(counts == counts.sorted())
        #expect(Set(counts).count > 2)
    }

    /// In several segments, whose closed ones were durable as a whole, and in one, where only marks tell.
    @Test(arguments: [(10, 600), (11, 100_000)])
    func everyFlippedByteIsAnErrorOrAPrefix(steps: Int, segmentBytes: UInt64) throws {
        let sample = try Sample(steps: steps, segmentBytes: segmentBytes)
        let total = sample.model.frames.count
        // The newest mark stands in front of the last batch, whose frames are all that may be taken for a torn write.
        let promised = total - sample.lastBatch
        var prefixes = 0
        var errors = 0
        for (position, file) in sample.files.enumerated() {
            for byte in file.bytes.indices {
                var bytes = file.bytes
                bytes[byte] ^= 1 << UInt8(byte % 8)
                let what = "\(file.name), byte \(byte)"
                let disk = try sample.disk(changing: position, to: bytes)
                guard let count = try sample.entriesRead(disk, what) else {
                    errors += 1
                    #expect(file.name.hasSuffix(".log"), "an index file never keeps a log from opening: \(what)")
                    continue
                }
                prefixes += 1
                #expect(count >= promised, "\(what): entries that a mark promises are gone")
                if file.name.hasSuffix(".index") { #expect(count == total, "\(what)") }
            }
        }
        #expect(errors > 200 && prefixes > 50)
    }

    @Test func everyFlippedByteIsFoundByTheVerifier() throws {
        let sample = try Sample()
        for (position, file) in sample.files.enumerated() {
            for byte in file.bytes.indices {
                var bytes = file.bytes
                bytes[byte] ^= 1 << UInt8(byte % 8)
                let disk = try sample.disk(changing: position, to: bytes)
                let findings = try SegmentedLog.verify(directory: "log", fileSystem: disk, options: sample.options)
                #expect(!findings.isEmpty, "\(file.name), byte \(byte)")
            }
        }
        let clean = try sample.disk(changing: 0, to: sample.files[0].bytes)
        #expect(try SegmentedLog.verify(directory: "log", fileSystem: clean, options: sample.options).isEmpty)
    }

    /// A node's folder holds many logs at different depths, and other things.
    @Test func everyLogBelowAFolderIsChecked() throws {
        let sample = try Sample()
        let disk = SimulatedFileSystem(seed: 3)
        for folder in ["node", "node/groups", "node/groups/1", "node/topics", "node/topics/a-0"] {
            try disk.createDirectory(folder)
        }
        for file in sample.files {
            try disk.open("node/groups/1/" + file.name, .create).write(bytes: file.bytes, at: 0)
            var bytes = file.bytes
            if file.name == sample.firstLog { bytes[bytes.count / 2] ^= 4 }
            try disk.open("node/topics/a-0/" + file.name, .create).write(bytes: bytes, at: 0)
        }
        let found = try SegmentedLog.verifyAll(below: "node", fileSystem: disk)
        #expect(found.map(\.directory) == ["node/groups/1", "node/topics/a-0"])
        let (good, bad) = (try #require(found.first), try #require(found.last))
        #expect(!good.isDamaged && good.entries == UInt64(sample.model.frames.count), "\(good)")
        #expect(good.segments == sample.files.count { $0.name.hasSuffix(".log") })
        #expect(bad.isDamaged, "\(bad)")

        var options = sample.options
        options.naming = .index
        let log = try SegmentedLog.open(directory: "other", fileSystem: disk, options: options)
        var model = LogModel()
        for step in 0..<20 { try log.append(model.grow(frames: 2, seed: UInt64(step)), durability: .power) }
        let named = try #require(SegmentedLog.verifyAll(below: "other", fileSystem: disk).first)
        #expect(named.findings.isEmpty && named.segments > 1 && named.entries == 40, "\(named)")
    }

    @Test func whateverStandsBehindTheEndIsCutOff() throws {
        let sample = try Sample()
        let last = sample.files[sample.lastLog]
        var random = SeededRandom(seed: 4)
        let garbage = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
        var other = LogModel()
        // A whole valid frame that does not continue the log, and marks that lie about their place.
        let stale = other.grow(frames: 3, seed: 9).bytes
        let copy = Array(last.bytes)
        for tail in [
            garbage, [UInt8](repeating: 0, count: 5000), stale, copy, [UInt8](repeating: 0, count: 700) + copy,
        ] {
            let disk = try sample.disk(changing: sample.lastLog, to: last.bytes + tail)
            #expect(try sample.entriesRead(disk, "tail of \(tail.count)") == sample.model.frames.count)
            let log = try SegmentedLog.open(directory: "log", fileSystem: disk, options: sample.options)
            var model = sample.model
            try log.append(model.grow(frames: 2, seed: 77), durability: .power)
            try model.check(log)
        }
    }

    @Test func aLogInsideATornPayloadProvesNothing() throws {
        let sample = try Sample(segmentBytes: 100_000)
        // A longer log of the same entries: its marks promise more than this log holds, but elsewhere.
        let longer = try Sample(steps: 20, segmentBytes: 100_000)
        for gap in [1, 48, 333] {
            let tail = [UInt8](repeating: 0x53, count: gap) + longer.files[0].bytes
            let disk = try sample.disk(changing: 0, to: sample.files[0].bytes + tail)
            #expect(try sample.entriesRead(disk, "gap \(gap)") == sample.model.frames.count)
        }
        // The same bytes in their own places do prove it: the file below is the longer log with a hole.
        var holed = longer.files[0].bytes
        holed[sample.files[0].bytes.count + 60] ^= 1
        let disk = try sample.disk(changing: 0, to: holed)
        #expect(try longer.entriesRead(disk, "a hole") == nil)
    }

    @Test func damageBelowAMarkIsNamedAndNothingIsCut() throws {
        let sample = try Sample(segmentBytes: 100_000)
        var bytes = sample.files[0].bytes
        // Payload of the first entry, behind the segment's first mark and the entry's header.
        bytes[2 * FrameHeader.byteCount] ^= 1
        let disk = try sample.disk(changing: 0, to: bytes)
        let error = #expect(throws: SegmentedLogError.self) {
            try SegmentedLog.open(directory: "log", fileSystem: disk, options: sample.options)
        }
        #expect(error?.code == .corruption && error?.offset == UInt64(FrameHeader.byteCount))
        #expect(error?.path.hasSuffix("00000000000000000000.log") == true)
        #expect(try disk.readFile("log/00000000000000000000.log") == bytes)
    }

    @Test func aMissingSegmentIsNoticed() throws {
        let sample = try Sample()
        let logs = sample.files.indices.filter { sample.files[$0].name.hasSuffix(".log") }
        for position in logs.dropFirst().dropLast() {
            let disk = try sample.disk(changing: 0, to: sample.files[0].bytes)
            try disk.remove("log/" + sample.files[position].name)
            let error = #expect(throws: SegmentedLogError.self) {
                try SegmentedLog.open(directory: "log", fileSystem: disk, options: sample.options)
            }
            #expect(error?.code == .corruption)
        }
    }

    @Test(arguments: [FileIOError.Operation.write, .sync])
    func aFailedWriteOrSyncIsFinal(operation: FileIOError.Operation) throws {
        for seed in 0..<40 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            let options = SegmentedLogTests.smallOptions()
            let log = try SegmentedLog.open(directory: "log", fileSystem: disk, options: options)
            try disk.syncDirectory(".")
            var model = LogModel()
            for step in 0..<5 { try log.append(model.grow(frames: 2, seed: UInt64(step)), durability: .power) }
            let durable = model.frames
            disk.failNext(operation: operation, reason: .device)
            let error = #expect(throws: SegmentedLogError.self) {
                try log.append(model.grow(frames: 2, seed: 50), durability: .process)
                try log.sync()
            }
            #expect(error?.code == .disk && error?.cause?.reason == .device)
            let syncs = disk.counters.syncs
            for _ in 0..<2 {
                let later = #expect(throws: SegmentedLogError.self) { try log.sync() }
                #expect(later?.code == .poisoned)
                #expect(throws: SegmentedLogError.self) { try log.append(FrameBatch.one(log), durability: .power) }
                #expect(throws: SegmentedLogError.self) { try log.read(from: 1, through: 2, maxBytes: 10) }
                #expect(throws: SegmentedLogError.self) { try log.truncate(from: 1) }
                #expect(throws: SegmentedLogError.self) { try log.trim(before: 3) }
            }
            #expect(disk.counters.syncs == syncs, "a sync that failed must not be tried again")
            disk.crash()
            let again = try SegmentedLog.open(directory: "log", fileSystem: disk, options: options)
            let found = try LogModel.readAll(again, maxBytes: 1000)
            #expect(found.count >= durable.count, "seed \(seed)")
            #expect(found == Array(model.frames.prefix(found.count)), "seed \(seed)")
        }
    }

    @Test func aFullDiskIsAClearError() throws {
        let disk = SimulatedFileSystem(seed: 5)
        let log = try SegmentedLog.open(
            directory: "log", fileSystem: disk, options: SegmentedLogTests.smallOptions())
        var model = LogModel()
        try log.append(model.grow(frames: 3, seed: 1), durability: .power)
        let good = model.frames
        disk.capacityBytes = 600
        let error = #expect(throws: SegmentedLogError.self) {
            for step in 0..<20 { try log.append(model.grow(frames: 1, seed: UInt64(step)), durability: .power) }
        }
        #expect(error?.cause?.reason == .noSpace)
        disk.capacityBytes = nil
        let again = try SegmentedLog.open(directory: "log", fileSystem: disk, options: SegmentedLogTests.smallOptions())
        let found = try LogModel.readAll(again, maxBytes: 1000)
        #expect(found.count >= good.count && found == Array(model.frames.prefix(found.count)))
    }

    @Test func aLyingDiskNeverYieldsWrongData() throws {
        var refused = 0
        for seed in 0..<100 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            let options = SegmentedLogTests.smallOptions()
            let log = try SegmentedLog.open(directory: "log", fileSystem: disk, options: options)
            try disk.syncDirectory(".")
            disk.ignoresSyncs = true
            var model = LogModel()
            for step in 0..<12 { try log.append(model.grow(frames: 2, seed: UInt64(step)), durability: .power) }
            disk.crash()
            do {
                let again = try SegmentedLog.open(directory: "log", fileSystem: disk, options: options)
                let found = try LogModel.readAll(again, maxBytes: 1000)
                #expect(found == Array(model.frames.prefix(found.count)), "seed \(seed)")
            } catch let error as SegmentedLogError {
                #expect(error.code == .corruption, "seed \(seed): \(error)")
                refused += 1
            }
        }
        #expect(refused > 10)
    }
}

extension FrameBatch {
    /// A batch that would continue a log.
    static func one(_ log: SegmentedLog) -> FrameBatch {
        var batch = FrameBatch()
        batch.append(
            kind: .noop, index: log.lastIndex + 1, term: log.lastTerm, baseOffset: log.nextOffset, recordCount: 0,
            payload: [])
        return batch
    }
}
