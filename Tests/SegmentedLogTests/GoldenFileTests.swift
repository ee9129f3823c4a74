// Golden files of the segmented log and of term and vote: read as ever, written as ever.
import CEngine
import FileIO
import SegmentedLog
import SimulatedIO
import TestSupport
import Testing

@Suite struct GoldenFileTests {
    private static func model() -> (LogModel, [FrameBatch]) {
        var model = LogModel()
        let batches = (0..<12).map { step in model.grow(frames: step % 3 + 1, seed: UInt64(step)) }
        return (model, batches)
    }

    private static func make() throws -> [(name: String, bytes: [UInt8])] {
        let disk = SimulatedFileSystem(seed: 1)
        let log = try SegmentedLog.open(
            directory: "log", fileSystem: disk, options: SegmentedLogTests.smallOptions())
        for (number, batch) in model().1.enumerated() {
            try log.append(batch, durability: number % 2 == 0 ? .power : .process)
        }
        try log.sync()
        let state = try HardStateFile.open(path: "log/group.state", fileSystem: disk)
        try state.store(term: 3, vote: 1)
        try state.store(term: 4, vote: 2)
        return try disk.list("log").map { ($0, try disk.readFile("log/" + $0) ?? []) }
    }

    @Test func isReadAndWrittenAsEver() throws {
        let fixture = Fixture("SegmentedLog")
        if Fixture.isRewriting { try fixture.save(Self.make()) }
        let files = try fixture.load()
        #expect(files.count { $0.name.hasSuffix(".log") } > 1 && files.contains { $0.name.hasSuffix(".index") })
        let disk = SimulatedFileSystem(seed: 2)
        try disk.createDirectory("log")
        for file in files { try disk.open("log/" + file.name, .create).write(bytes: file.bytes, at: 0) }
        let options = SegmentedLogTests.smallOptions()
        #expect(try SegmentedLog.verify(directory: "log", fileSystem: disk, options: options) == [])
        let log = try SegmentedLog.open(directory: "log", fileSystem: disk, options: options)
        try Self.model().0.check(log)
        #expect(try #require(HardStateFile.open(path: "log/group.state", fileSystem: disk).load()) == (4, 2))
        let made = try Self.make()
        #expect(made.map(\.name) == files.map(\.name))
        for (one, other) in zip(made, files) {
            #expect(one.bytes == other.bytes, "\(other.name) is written differently: is it another format version?")
        }
    }

    /// An index whose checksum holds but that no segment has: it is made anew.
    @Test func indexesThatLieAreRebuilt() throws {
        let files = try Fixture("SegmentedLog").load()
        let name = try #require(files.first { $0.name.hasSuffix(".index") }).name
        // In the first entry: offset, index, position; in the footer: end offset and last index.
        for (position, value) in [(32, 200), (36, 0), (40, 0), (-32, 255), (-24, 0)] {
            let disk = SimulatedFileSystem(seed: 2)
            try disk.createDirectory("log")
            for file in files {
                var bytes = file.bytes
                if file.name == name {
                    bytes[position < 0 ? bytes.count + position : position] = UInt8(value)
                    let sum = strata_crc32c(0, bytes, bytes.count - 4)
                    withUnsafeBytes(of: sum.littleEndian) { bytes.replaceSubrange((bytes.count - 4)..., with: $0) }
                }
                try disk.open("log/" + file.name, .create).write(bytes: bytes, at: 0)
            }
            let log = try SegmentedLog.open(
                directory: "log", fileSystem: disk, options: SegmentedLogTests.smallOptions())
            try Self.model().0.check(log)
        }
    }

    @Test func segmentsAreDumpedUpToTheDamage() throws {
        let disk = SimulatedFileSystem(seed: 2)
        try disk.createDirectory("log")
        let files = try Fixture("SegmentedLog").load().filter { $0.name.hasSuffix(".log") }
        for file in files { try disk.open("log/" + file.name, .create).write(bytes: file.bytes, at: 0) }
        var entries: [FrameHeader] = []
        for file in files {
            let dump = try SegmentedLog.dump(segment: "log/" + file.name, fileSystem: disk, limit: .max)
            #expect(dump.fault == nil && dump.end == UInt64(file.bytes.count) && dump.end == dump.fileBytes)
            #expect(dump.frames.first?.header.kind == .mark)
            entries += dump.frames.map(\.header).filter { $0.kind != .mark }
        }
        #expect(entries == Self.model().0.frames.map(\.header))
        let name = "log/" + files[0].name
        let all = try SegmentedLog.dump(segment: name, fileSystem: disk, limit: .max).frames
        let some = try SegmentedLog.dump(segment: name, fileSystem: disk, limit: 2)
        #expect(some.frames == Array(all.prefix(2)) && some.omitted == all.count - 2)
        // Zeros that were written ahead are no damage.
        let file = try disk.open(name, .readWrite)
        try file.truncate(to: UInt64(files[0].bytes.count) + 1000)
        #expect(try SegmentedLog.dump(segment: name, fileSystem: disk, limit: .max).fault == nil)
        try disk.damage(name, at: all[3].position + 10, mask: 1)
        let broken = try SegmentedLog.dump(segment: name, fileSystem: disk, limit: .max)
        #expect(broken.frames == Array(all.prefix(3)) && broken.fault?.contains("byte \(all[3].position)") == true)
    }
}
