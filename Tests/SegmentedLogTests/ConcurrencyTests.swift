// Readers and syncs beside the writer: every answer is a run of frames that the log held at some moment.
import FileIO
import SegmentedLog
import SimulatedIO
import TestSupport
import Testing

@Suite struct ConcurrencyTests {
    /// Payloads name the index and term of their entry, so that a mixture of before and after a truncation shows.
    static func batch(from first: UInt64, count: UInt64, term: UInt64) -> FrameBatch {
        var batch = FrameBatch()
        for index in first..<first + count {
            let payload = Array("\(index) \(term) ".utf8) + [UInt8](repeating: 7, count: Int(index % 50))
            batch.append(
                kind: .records, index: index, term: term, baseOffset: index - 1, recordCount: 1, payload: payload)
        }
        return batch
    }

    static func check(_ batch: FrameBatch, _ what: String) {
        for (position, header) in batch.headers.enumerated() {
            let expected = "\(header.index) \(header.term) ".utf8
            #expect(batch.payload(position).starts(with: expected), "\(what)")
            guard position > 0 else { continue }
            let before = batch.headers[position - 1]
            #expect(header.index == before.index + 1 && header.term >= before.term, "\(what)")
        }
    }

    @Test func readersSeeWholeRunsWhileTheLogChanges() async throws {
        var folder: String?
        try withTemporaryFolder { path, _ in folder = path + "-shared" }
        let directory = try #require(folder)
        let files = RealDisk.fileSystem
        defer { try? files.removeTree(files.directory(of: directory)) }
        try files.createDirectory(directory)
        let log = try SegmentedLog.open(
            directory: directory, fileSystem: files, options: SegmentedLogTests.smallOptions())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var term: UInt64 = 1
                for round in 0..<400 as Range<UInt64> {
                    try log.append(
                        Self.batch(from: log.lastIndex + 1, count: round % 5 + 1, term: term), durability: .process)
                    if round % 7 == 3 {
                        // The new entries have the old ones' indexes and places, but another term.
                        term += 1
                        try log.truncate(from: max(log.lastIndex - round % 4, log.firstIndex + 1))
                    }
                    if round % 50 == 49 { try log.trim(before: log.lastIndex - 20) }
                }
            }
            group.addTask {
                for _ in 0..<100 {
                    try log.sync()
                    #expect(log.durableIndex <= log.lastIndex + 100)
                }
            }
            for reader in 0..<2 {
                group.addTask {
                    for round in 0..<600 {
                        let last = log.lastIndex
                        let from = max(last > 15 ? last - UInt64(round % 15) : 1, log.firstIndex)
                        do {
                            Self.check(try log.read(from: from, through: .max, maxBytes: 2000), "reader \(reader)")
                            let offset = from - 1
                            let batch = try log.readOffsets(from: offset, belowOffset: .max, maxBytes: 1000)
                            Self.check(batch, "reader \(reader) by offset")
                        } catch let error as SegmentedLogError {
                            // The prefix may have been trimmed since its index was asked for.
                            #expect(error.code == .outOfRange, "\(error)")
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        try log.sync()
        #expect(log.durableIndex == log.lastIndex)
        let again = try SegmentedLog.open(
            directory: directory, fileSystem: files, options: SegmentedLogTests.smallOptions())
        #expect(again.lastIndex == log.lastIndex && again.recovery.lastTerm == log.lastTerm)
    }

    /// Frames of a header only, so that new ones take exactly the places of those that were cut, and the middle of a
    /// read of 31 of them and the segment's first mark lies between two frames.
    static func evenBatch(from first: UInt64, count: UInt64, term: UInt64) -> FrameBatch {
        var batch = FrameBatch()
        for index in first..<first + count {
            batch.append(kind: .noop, index: index, term: term, baseOffset: 0, recordCount: 0, payload: [])
        }
        return batch
    }

    @Test func anAnswerNeverJoinsBeforeAndAfterATruncation() throws {
        for cut in 1...31 as ClosedRange<UInt64> {
            let files = HookedFileSystem(SimulatedFileSystem(seed: 1))
            let log = try SegmentedLog.open(directory: "log", fileSystem: files)
            try log.append(Self.evenBatch(from: 1, count: 31, term: 1), durability: .process)
            files.inTheMiddleOfTheNextRead {
                #expect(throws: Never.self) {
                    // The truncation looks for the cut itself; that read has no hook any more.
                    try log.truncate(from: cut)
                    try log.append(Self.evenBatch(from: cut, count: 32 - cut, term: 2), durability: .process)
                }
            }
            let batch = try log.read(from: 1, through: 31, maxBytes: 100_000)
            #expect(batch.headers.map(\.term) == (1...31).map { $0 < cut ? 1 : 2 }, "cut \(cut)")
        }
    }

    @Test func aSegmentTrimmedUnderAReaderIsOutOfRange() throws {
        let files = HookedFileSystem(SimulatedFileSystem(seed: 1))
        let options = SegmentedLogTests.smallOptions(.index)
        let log = try SegmentedLog.open(directory: "log", fileSystem: files, options: options)
        for round in 0..<10 as Range<UInt64> {
            try log.append(Self.evenBatch(from: round * 5 + 1, count: 5, term: 1), durability: .process)
        }
        files.inTheMiddleOfTheNextRead {
            #expect(throws: Never.self) { try log.trim(before: 40) }
        }
        // The file was open already, so its content is still good; the next reader is told.
        #expect(try log.read(from: 1, through: 3, maxBytes: 100_000).lastIndex == 3)
        let error = #expect(throws: SegmentedLogError.self) { try log.read(from: 1, through: 3, maxBytes: 100_000) }
        #expect(error?.code == .outOfRange)
    }
}
