// The log on a real disk: what was appended is read back, by index and by offset, across segments, truncations, trims,
// resets and reopenings.
import FileIO
import PosixIO
import SegmentedLog
import Testing

@Suite struct SegmentedLogTests {
    /// Small segments, so that a few appends close some.
    static func smallOptions(_ naming: SegmentedLog.Naming = .offset) -> SegmentedLog.Options {
        var options = SegmentedLog.Options()
        options.segmentBytes = 1000
        options.indexIntervalBytes = 200
        options.naming = naming
        return options
    }

    @Test(arguments: [WriteDurability.power, .process])
    func appendsAreReadBack(durability: WriteDurability) throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            var model = LogModel()
            for round in 0..<40 {
                let batch = model.grow(frames: round % 3 + 1, seed: UInt64(round))
                try log.append(batch, durability: durability)
            }
            #expect(log.lastIndex == model.lastIndex)
            #expect(log.nextOffset == model.nextOffset)
            if durability == .power { #expect(log.durableIndex == log.lastIndex) }
            try model.check(log)
            try log.sync()
            #expect(log.durableIndex == log.lastIndex)

            let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            #expect(again.recovery.segmentCount > 3)
            #expect(again.recovery.tornBytesCut == 0)
            #expect(again.recovery.lastIndex == model.lastIndex)
            #expect(again.recovery.nextOffset == model.nextOffset)
            #expect(again.durableIndex == model.lastIndex)
            try model.check(again)
            #expect(again.recovery.termStarts.map(\.index) == model.termStarts.map(\.index))
            #expect(again.recovery.termStarts.map(\.term) == model.termStarts.map(\.term))
            try again.append(model.grow(frames: 2, seed: 99), durability: .power)
            try model.check(again)
        }
    }

    @Test func namesFollowTheOffset() throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            var model = LogModel()
            for seed in 0..<30 { try log.append(model.grow(frames: 1, seed: UInt64(seed)), durability: .process) }
            let names = try files.list(folder).filter { $0.hasSuffix(".log") }
            #expect(names.first == "00000000000000000000.log")
            for name in names.dropFirst() {
                let offset = try #require(UInt64(name.dropLast(4)))
                #expect(model.frames.contains { $0.header.baseOffset == offset })
            }
        }
    }

    @Test func truncationDropsASuffixAcrossSegments() throws {
        for cut in [1, 2, 7, 20, 39, 40, 41] as [UInt64] {
            try withTemporaryFolder { folder, files in
                let options = Self.smallOptions(.index)
                let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: options)
                var model = LogModel()
                for seed in 0..<40 { try log.append(model.grow(frames: 1, seed: UInt64(seed)), durability: .power) }
                try log.truncate(from: cut)
                model.truncate(from: cut)
                try model.check(log)
                #expect(log.durableIndex == model.lastIndex)
                try log.append(model.grow(frames: 3, seed: 1000), durability: .power)
                try model.check(log)
                let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: options)
                try model.check(again)
            }
        }
    }

    @Test func trimDropsWholeSegmentsOnly() throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            var model = LogModel()
            for seed in 0..<60 { try log.append(model.grow(frames: 1, seed: UInt64(seed)), durability: .power) }
            try log.trim(before: 30)
            #expect(log.firstIndex > 1 && log.firstIndex <= 30)
            model.trim(before: log.firstIndex)
            try model.check(log)
            #expect(log.term(at: log.firstIndex - 1) != nil)
            #expect(throws: SegmentedLogError.self) { try log.read(from: 1, through: 5, maxBytes: 100) }
            #expect(throws: SegmentedLogError.self) { try log.readOffsets(from: 0, belowOffset: 9, maxBytes: 100) }
            let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            try model.check(again)
            try again.trim(before: .max)
            #expect(again.lastIndex == model.lastIndex)
        }
    }

    @Test func resetGoesOnBehindASnapshot() throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            var model = LogModel()
            for seed in 0..<20 { try log.append(model.grow(frames: 1, seed: UInt64(seed)), durability: .power) }
            try log.reset(to: 500, term: 9, nextOffset: 7000)
            #expect(log.firstIndex == 501 && log.lastIndex == 500 && log.lastTerm == 9 && log.nextOffset == 7000)
            #expect(log.term(at: 500) == 9 && log.term(at: 499) == nil)
            let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            #expect(again.recovery.lastIndex == 500 && again.recovery.previousTerm == 9)
            #expect(again.recovery.nextOffset == 7000)
            var batch = FrameBatch()
            batch.append(kind: .noop, index: 501, term: 9, baseOffset: 7000, recordCount: 0, payload: [])
            try again.append(batch, durability: .power)
            #expect(try again.read(from: 501, through: 501, maxBytes: 0).headers == batch.headers)
        }
    }

    @Test func aBatchThatDoesNotContinueIsRefused() throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            var model = LogModel()
            try log.append(model.grow(frames: 2, seed: 1), durability: .power)
            let end = (index: model.lastIndex, offset: model.nextOffset)
            for (index, term, offset) in [
                (end.index, 9, end.offset), (end.index + 2, 9, end.offset), (end.index + 1, 0, end.offset),
                (end.index + 1, 9, end.offset + 1),
            ] as [(UInt64, UInt64, UInt64)] {
                var batch = FrameBatch()
                batch.append(kind: .noop, index: index, term: term, baseOffset: offset, recordCount: 0, payload: [])
                let error = #expect(throws: SegmentedLogError.self) { try log.append(batch, durability: .power) }
                #expect(error?.code == .notContiguous)
            }
            try log.append(model.grow(frames: 1, seed: 2), durability: .power)
            try model.check(log)
        }
    }

    @Test func indexFilesAreDerived() throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            var model = LogModel()
            for seed in 0..<60 { try log.append(model.grow(frames: 1, seed: UInt64(seed)), durability: .power) }
            let names = try files.list(folder).filter { $0.hasSuffix(".index") }
            #expect(names.count > 3)
            var originals: [[UInt8]] = []
            for (position, name) in names.enumerated() {
                let path = folder + "/" + name
                let original = try #require(try files.readFile(path))
                originals.append(original)
                switch position % 3 {
                case 0: try files.remove(path)
                case 1: try files.open(path, .readWrite).truncate(to: UInt64(original.count / 2))
                default: try files.open(path, .readWrite).write(bytes: [0xFF], at: 40)
                }
            }
            let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            try model.check(again)
            #expect(again.recovery.termStarts.map(\.index) == model.termStarts.map(\.index))
            for (name, original) in zip(names, originals) {
                #expect(try files.readFile(folder + "/" + name) == original)
            }
        }
    }

    @Test func zerosWrittenAheadAreNotFrames() throws {
        try withTemporaryFolder { folder, files in
            var options = Self.smallOptions()
            options.preallocateBytes = 4096
            options.segmentBytes = 10_000
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: options)
            var model = LogModel()
            for seed in 0..<200 {
                try log.append(model.grow(frames: 2, seed: UInt64(seed)), durability: .power)
                if seed % 50 == 0 {
                    let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: options)
                    #expect(again.recovery.tornBytesCut == 0)
                    try model.check(again)
                }
            }
            try model.check(log)
            let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: options)
            #expect(again.recovery.segmentCount > 1)
            try model.check(again)
        }
    }

    @Test func controlFramesAreNamedByRecovery() throws {
        try withTemporaryFolder { folder, files in
            let options = Self.smallOptions(.index)
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: options)
            for index in 1...50 as ClosedRange<UInt64> {
                let kind: FrameKind = index % 10 == 0 ? .membership : index % 17 == 0 ? .prefixTrim : .command
                var batch = FrameBatch()
                batch.append(
                    kind: kind, index: index, term: 1, baseOffset: 0, recordCount: 0,
                    payload: [UInt8](repeating: UInt8(index), count: 40))
                try log.append(batch, durability: .process)
            }
            let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: options)
            #expect(again.recovery.segmentCount > 2)
            #expect(again.recovery.controlFrames.map(\.index) == [10, 17, 20, 30, 34, 40, 50])
            #expect(try again.header(at: 34)?.kind == .prefixTrim)
            #expect(try again.header(at: 51) == nil)
        }
    }

    @Test func anotherNamingIsRefused() throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions(.offset))
            var model = LogModel()
            for seed in 0..<20 { try log.append(model.grow(frames: 1, seed: UInt64(seed)), durability: .power) }
            let error = #expect(throws: SegmentedLogError.self) {
                try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions(.index))
            }
            #expect(error?.code == .unsupported)
        }
    }

    /// Gaps can take more offsets than a segment's index has room for: the log goes on in a new segment.
    @Test func hugeGapsRoll() throws {
        try withTemporaryFolder { folder, files in
            let log = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            var offset: UInt64 = 0
            for index in 1...6 as ClosedRange<UInt64> {
                var batch = FrameBatch()
                batch.append(
                    kind: .gap, index: index, term: 1, baseOffset: offset, recordCount: 3 << 30, payload: [UInt8(index)]
                )
                offset += 3 << 30
                try log.append(batch, durability: .power)
            }
            #expect(try files.list(folder).count { $0.hasSuffix(".log") } > 2)
            var batch = FrameBatch()
            for index in 7...9 as ClosedRange<UInt64> {
                batch.append(
                    kind: .gap, index: index, term: 1, baseOffset: offset, recordCount: 3 << 30, payload: [])
                offset += 3 << 30
            }
            let large = batch
            let error = #expect(throws: SegmentedLogError.self) { try log.append(large, durability: .power) }
            #expect(error?.code == .tooLarge)
            let again = try SegmentedLog.open(directory: folder, fileSystem: files, options: Self.smallOptions())
            #expect(again.lastIndex == 6 && again.nextOffset == 18 << 30)
            #expect(try again.readOffsets(from: 0, belowOffset: .max, maxBytes: 1 << 20).headers.count <= 6)
            #expect(try again.read(from: 1, through: .max, maxBytes: 1 << 20).headers.map(\.index).first == 1)
        }
    }
}
