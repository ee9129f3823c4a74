// Term and vote on disk: what was stored is loaded, a torn slot leaves the other one, and nothing is ever invented.
import CEngine
import FileIO
import PosixIO
import SegmentedLog
import Testing

@Suite struct HardStateFileTests {
    @Test func storesAreLoaded() throws {
        try withTemporaryFolder { folder, files in
            try files.createDirectory(folder)
            let path = folder + "/group.state"
            #expect(try HardStateFile.open(path: path, fileSystem: files).load() == nil)
            #expect(try HardStateFile.open(path: path, fileSystem: files).load() == nil)
            for term in 1...5 as ClosedRange<UInt64> {
                let file = try HardStateFile.open(path: path, fileSystem: files)
                try file.store(term: term, vote: term * 10)
                try file.store(term: term, vote: term * 10 + 1)
                #expect(try #require(file.load()) == (term, term * 10 + 1))
                #expect(try #require(HardStateFile.open(path: path, fileSystem: files).load()) == (term, term * 10 + 1))
            }
        }
    }

    @Test func eachFlippedByteLeavesOneSlot() throws {
        try withTemporaryFolder { folder, files in
            try files.createDirectory(folder)
            let path = folder + "/group.state"
            let file = try HardStateFile.open(path: path, fileSystem: files)
            try file.store(term: 1, vote: 7)
            try file.store(term: 2, vote: 8)
            let raw = try files.open(path, .readWrite)
            let good = try raw.read(count: 1024, at: 0)
            #expect(good.count == 1024)
            for position in good.indices {
                try raw.write(bytes: [good[position] ^ 0x10], at: UInt64(position))
                let loaded = try #require(HardStateFile.open(path: path, fileSystem: files).load())
                #expect(loaded == (1, 7) || loaded == (2, 8))
                try raw.write(bytes: [good[position]], at: UInt64(position))
            }
            try raw.write(bytes: [0xFF], at: 20)
            try raw.write(bytes: [0xFF], at: 512 + 20)
            let error = #expect(throws: SegmentedLogError.self) {
                try HardStateFile.open(path: path, fileSystem: files)
            }
            #expect(error?.code == .corruption)
        }
    }

    /// What was stored behind the last number was forgotten at the next start.
    @Test func whatCannotBeReadAgainIsNotStored() throws {
        try withTemporaryFolder { folder, files in
            try files.createDirectory(folder)
            let path = folder + "/group.state"
            try HardStateFile.open(path: path, fileSystem: files).store(term: 1, vote: 7)
            let raw = try files.open(path, .readWrite)
            var slot = try raw.read(count: 72, at: 512)
            withUnsafeBytes(of: ((UInt64(1) << 62) - 1).littleEndian) { slot.replaceSubrange(8..<16, with: $0) }
            withUnsafeBytes(of: strata_crc32c(0, slot, 68).littleEndian) { slot.replaceSubrange(68..<72, with: $0) }
            try raw.write(bytes: slot, at: 512)
            let file = try HardStateFile.open(path: path, fileSystem: files)
            #expect(try #require(file.load()) == (1, 7))
            #expect(throws: SegmentedLogError.self) { try file.store(term: 2, vote: 8) }
            #expect(try #require(HardStateFile.open(path: path, fileSystem: files).load()) == (1, 7))
        }
    }

    /// A slot that counts further than any store can is damage, whatever its checksum says.
    @Test func aSlotThatCannotBeIsLeftOut() throws {
        try withTemporaryFolder { folder, files in
            try files.createDirectory(folder)
            let path = folder + "/group.state"
            try HardStateFile.open(path: path, fileSystem: files).store(term: 1, vote: 7)
            let raw = try files.open(path, .readWrite)
            var slot = try raw.read(count: 72, at: 0)
            slot.replaceSubrange(8..<16, with: [UInt8](repeating: 0xFF, count: 8))
            withUnsafeBytes(of: strata_crc32c(0, slot, 68).littleEndian) { slot.replaceSubrange(68..<72, with: $0) }
            try raw.write(bytes: slot, at: 0)
            let file = try HardStateFile.open(path: path, fileSystem: files)
            #expect(try #require(file.load()) == (1, 7))
            try file.store(term: 2, vote: 8)
            #expect(try #require(file.load()) == (2, 8))
        }
    }

    /// Slots of the version before, which knew term and vote only: `SLV1`, 1, sequence 5, term 3, vote 9.
    @Test func aFileOfTheVersionBeforeIsRead() throws {
        try withTemporaryFolder { folder, files in
            try files.createDirectory(folder)
            let path = folder + "/group.state"
            var slot: [UInt8] = Array("SLV1".utf8) + [1, 0, 0, 0]
            for word in [5, 3, 9] as [UInt64] {
                withUnsafeBytes(of: word.littleEndian) { slot.append(contentsOf: $0) }
            }
            withUnsafeBytes(of: strata_crc32c(0, slot, 32).littleEndian) { slot.append(contentsOf: $0) }
            slot += [UInt8](repeating: 0, count: 512 - slot.count)
            try files.open(path, .create).write(bytes: slot + slot, at: 0)
            #expect(!HardStateFile.keepsFloor(path: path, fileSystem: files))
            let file = try HardStateFile.open(path: path, fileSystem: files)
            #expect(file.record == HardStateRecord(term: 3, vote: 9))
            let record = HardStateRecord(
                term: 4, vote: 1, commit: 7, isRecovering: true, floor: LogFloor(index: 8, term: 3, head: 2))
            try file.store(record)
            #expect(try HardStateFile.open(path: path, fileSystem: files).record == record)
            #expect(HardStateFile.keepsFloor(path: path, fileSystem: files))
        }
    }

    /// Once both slots hold the same, damage to either of them takes nothing along.
    @Test func aSettledFileSurvivesDamageToEitherSlot() throws {
        try withTemporaryFolder { folder, files in
            try files.createDirectory(folder)
            let path = folder + "/group.state"
            let record = HardStateRecord(term: 9, vote: 2, floor: LogFloor(index: 4, term: 9))
            try HardStateFile.open(path: path, fileSystem: files).settle(record)
            for position in [20, 532] as [UInt64] {
                let raw = try files.open(path, .readWrite)
                let byte = try raw.read(count: 1, at: position)
                try raw.write(bytes: [byte[0] ^ 1], at: position)
                #expect(try HardStateFile.open(path: path, fileSystem: files).record == record)
                try raw.write(bytes: byte, at: position)
            }
        }
    }

    @Test func anEmptiedFileIsDamageAndNotANewOne() throws {
        try withTemporaryFolder { folder, files in
            try files.createDirectory(folder)
            let path = folder + "/group.state"
            try HardStateFile.open(path: path, fileSystem: files).store(term: 3, vote: 1)
            try files.open(path, .readWrite).truncate(to: 0)
            let error = #expect(throws: SegmentedLogError.self) {
                try HardStateFile.open(path: path, fileSystem: files)
            }
            #expect(error?.code == .corruption)
        }
    }
}
